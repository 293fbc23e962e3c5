"""Conversations to token sequences: Llama-3.1 chat template, loss on the assistant's turns only.

A conversation stays whole in one sequence; one longer than a sequence is a reject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from core.chat import BadTurnsError, render_tokens
from core.packing import Packed, TokenRun, pack, row_group_rows
from core.recipe.chat import Chat
from core.rejects import Reason, Reject
from core.schema import token_sequence
from core.stage import ShardResult, ShardStage, StageContext, Unit
from core.tokenizer import load_tokenizer, pad_token_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def pack_conversations(
    conversations: pa.Table, tokenizer: PreTrainedTokenizerBase, chat: Chat
) -> tuple[Packed, list[Reject]]:
    """Renders, masks and packs a shard's conversations."""
    runs: list[TokenRun] = []
    rejects: list[Reject] = []
    for row in conversations.select(["conv_id", "messages"]).to_pylist():
        try:
            ids, mask = render_tokens(tokenizer, row["messages"], chat.date_string)
        except BadTurnsError as error:
            shown = " | ".join(str(m["content"]) for m in row["messages"])
            rejects.append(Reject(row["conv_id"], Reason.BAD_TURNS, str(error), shown))
            continue
        if len(ids) > chat.sequence_length:
            shown = " | ".join(str(m["content"]) for m in row["messages"])
            detail = f"{len(ids)} tokens, at most {chat.sequence_length}"
            rejects.append(Reject(row["conv_id"], Reason.TOO_LONG, detail, shown))
            continue
        runs.append(TokenRun(row["conv_id"], ids, mask))
    return pack(runs, chat.sequence_length, pad_token_id(tokenizer), "whole"), rejects


class ChatTokensStage(ShardStage):
    """Conversations to token sequences."""

    description = "Conversations rendered, masked and packed into sequences of fixed length."
    row_unit = "conversation"
    reconcile = "Counts conversations; rows are sequences."

    def __init__(self, name: str, conversations: str, tokenizer: str, chat: Chat) -> None:
        """Makes the stage.

        Args:
            name: its name; a recipe may render more than one data set.
            conversations: stage that makes the conversations.
            tokenizer: train stage whose tokenizer is used.
            chat: the recipe section.
        """
        self.name = name
        self.aligned = (conversations,)
        self.inputs = (conversations, tokenizer)
        self._tokenizer = tokenizer
        self._chat = chat
        self.schema = token_sequence(chat.sequence_length)
        self.row_group_rows = row_group_rows(chat.sequence_length)

    def config(self) -> dict[str, Any]:
        """Returns the sequence length and the pinned date."""
        return {
            "tokenizer": self._tokenizer,
            **self._chat.model_dump(mode="json", exclude={"system_prompt"}),
        }

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Packs one shard."""
        (table,) = self.read(unit, ctx)
        tokenizer = load_tokenizer(ctx.model_path(self._tokenizer))
        packed, rejects = pack_conversations(table, tokenizer, self._chat)
        rows = table.num_rows
        return ShardResult(
            packed.table, rejects, rows, rows_out=rows - len(rejects), metrics=packed.metrics
        )
