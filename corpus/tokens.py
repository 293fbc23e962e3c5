"""Tokenize and pack: documents joined into fixed sequences (AstroMLab 3: 8,192 tokens).

Each document is ``<begin of text> tokens <end of text>``. Ids come from the model's own fast
tokenizer; special-token text inside a document is encoded as plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from core.packing import Packed, TokenRun, pack, row_group_rows
from core.rejects import Reason, Reject
from core.schema import token_sequence
from core.stage import STAGE_PREFIXES, ShardResult, ShardStage, StageContext, Unit
from core.tokenizer import load_tokenizer, pad_token_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def pack_documents(
    table: pa.Table, tokenizer: PreTrainedTokenizerBase, sequence_length: int
) -> tuple[Packed, list[Reject]]:
    """Tokenizes and packs a shard's documents; those without a token are rejects."""
    texts = table["text"].to_pylist()
    encoded = (
        tokenizer(
            texts, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False
        )["input_ids"]
        if texts
        else []
    )
    runs, rejects = [], []
    for doc_id, ids in zip(table["doc_id"].to_pylist(), encoded, strict=True):
        if not ids:
            rejects.append(Reject(doc_id, Reason.EMPTY_TEXT, "no token"))
            continue
        begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        ids = [*begin, *ids, tokenizer.eos_token_id]
        runs.append(TokenRun(doc_id, ids, [1] * len(ids)))
    return pack(runs, sequence_length, pad_token_id(tokenizer)), rejects


class TokensStage(ShardStage):
    """Documents to token sequences."""

    description = "Documents tokenized and packed into sequences of fixed length."
    reconcile = "Counts documents; rows are sequences."

    def __init__(self, name: str, documents: str, tokenizer: str, sequence_length: int) -> None:
        """Makes the stage.

        Args:
            name: its name; a recipe may pack more than one data set.
            documents: stage that makes the documents.
            tokenizer: train stage or model folder whose tokenizer is used.
            sequence_length: tokens per sequence.
        """
        self.name = name
        self.aligned = (documents,)
        from_stage = tokenizer.startswith(STAGE_PREFIXES)
        self.inputs = (documents, tokenizer) if from_stage else (documents,)
        self._tokenizer = tokenizer
        self._sequence_length = sequence_length
        self.schema = token_sequence(sequence_length)
        self.row_group_rows = row_group_rows(sequence_length)

    def config(self) -> dict[str, Any]:
        """Returns the tokenizer's name and the sequence length."""
        return {"tokenizer": self._tokenizer, "sequence_length": self._sequence_length}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Packs one shard."""
        (table,) = self.read(unit, ctx)
        tokenizer = load_tokenizer(ctx.model_path(self._tokenizer))
        packed, rejects = pack_documents(table, tokenizer, self._sequence_length)
        rows = table.num_rows
        return ShardResult(
            packed.table, rejects, rows, rows_out=rows - len(rejects), metrics=packed.metrics
        )
