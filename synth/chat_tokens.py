"""Conversations to token sequences: Llama-3.1 chat template, loss on the assistant's turns only.

A conversation stays whole in one sequence; one longer than a sequence is a reject, or loses its
last turns where the recipe says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from core.chat import (
    BadTurnsError,
    RenderedTokens,
    check_complete,
    render_batch,
    require_chat_tokens,
    with_switch,
)
from core.packing import Packed, TokenRun, pack, row_group_rows
from core.recipe.chat import Chat
from core.rejects import Reason, Reject
from core.schema import token_sequence
from core.stage import ShardResult, ShardStage, StageContext, Unit
from core.tokenizer import load_tokenizer, pad_token_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH_ROWS = 256
"""Conversations tokenized in one call; offsets of more would take memory for no speed."""

_COLUMNS = ["conv_id", "dataset", "messages", "reasoning"]


def pack_conversations(
    conversations: pa.Table, tokenizer: PreTrainedTokenizerBase, chat: Chat
) -> tuple[Packed, list[Reject], dict[str, int]]:
    """Renders, masks and packs a shard's conversations.

    Args:
        conversations: rows of :data:`core.schema.CONVERSATION`.
        tokenizer: a Llama-3 tokenizer.
        chat: the recipe section.

    Returns:
        The sequences; the conversations that are in none; counts of switches written
        (``reasoning_on``, ``reasoning_off``) and of what was cut (``conversations_cut``,
        ``turns_cut``).
    """
    runs: list[TokenRun] = []
    rejects: list[Reject] = []
    counts = Counter(conversations_cut=0, turns_cut=0, reasoning_on=0, reasoning_off=0)
    for batch in conversations.select(_COLUMNS).to_batches(_BATCH_ROWS):
        rows = list(_renderable(batch.to_pylist(), chat, rejects, counts))
        rendered = render_batch(tokenizer, [row["messages"] for row in rows], chat.date_string)
        for row, tokens in zip(rows, rendered, strict=True):
            fitted = _fit(tokens, chat, counts)
            if fitted is None:
                detail = f"{len(tokens.input_ids)} tokens, at most {chat.sequence_length}"
                rejects.append(_reject(row, Reason.TOO_LONG, detail))
            else:
                runs.append(TokenRun(row["conv_id"], *fitted))
    packed = pack(runs, chat.sequence_length, pad_token_id(tokenizer), "whole")
    return packed, rejects, dict(counts)


def _renderable(
    rows: list[dict[str, Any]], chat: Chat, rejects: list[Reject], counts: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yields the rows that can be rendered, with their switch."""
    for row in rows:
        messages = row["messages"] or []
        try:
            switched = with_switch(messages, row["reasoning"], row["dataset"], chat.reasoning)
            check_complete(switched)
        except BadTurnsError as error:
            rejects.append(_reject(row, Reason.BAD_TURNS, str(error)))
            continue
        if chat.reasoning and chat.reasoning.prompt(bool(row["reasoning"]), row["dataset"]):
            counts["reasoning_on" if row["reasoning"] else "reasoning_off"] += 1
        yield {**row, "messages": switched}


def _fit(
    tokens: RenderedTokens, chat: Chat, counts: Counter[str]
) -> tuple[list[int], list[int]] | None:
    """Returns the ids and mask that fit a sequence; None where none do."""
    room = chat.sequence_length
    if len(tokens.input_ids) <= room:
        return tokens.input_ids, tokens.loss_mask
    fitting = [end for end in tokens.answer_ends if end <= room]
    if chat.too_long == "reject" or not fitting:
        return None
    counts["conversations_cut"] += 1
    counts["turns_cut"] += 2 * (len(tokens.answer_ends) - len(fitting))
    return tokens.input_ids[: fitting[-1]], tokens.loss_mask[: fitting[-1]]


def _reject(row: dict[str, Any], reason: Reason, detail: str) -> Reject:
    shown = " | ".join(str(message["content"]) for message in row["messages"] or [])
    return Reject(row["conv_id"], reason, detail, shown)


class ChatTokensStage(ShardStage):
    """Conversations to token sequences."""

    description = "Conversations rendered, masked and packed into sequences of fixed length."
    code_version = 2
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
        """Returns the recipe section, but for what the conversations hold already."""
        return {
            "tokenizer": self._tokenizer,
            **self._chat.model_dump(mode="json", exclude={"system_prompt"}),
        }

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Packs one shard.

        Raises:
            InputError: the tokenizer does not know the chat template's control tokens.
        """
        (table,) = self.read(unit, ctx)
        tokenizer = load_tokenizer(ctx.model_path(self._tokenizer))
        require_chat_tokens(tokenizer, self._tokenizer)
        packed, rejects, counts = pack_conversations(table, tokenizer, self._chat)
        rows = table.num_rows
        metrics = {**packed.metrics, **counts}
        return ShardResult(packed.table, rejects, rows, rows - len(rejects), metrics=metrics)
