"""Tokenize and pack: documents joined into fixed sequences (AstroMLab 3: 8,192 tokens).

Each document is ``<begin of text> tokens <end of text>``. Ids come from the model's own fast
tokenizer; special-token text inside a document is encoded as plain text. Every shard is packed on
its own: its last sequence is half padding on average, less than 0.1% of a shard of 5 million
tokens, and counted with the rest of the padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.errors import InputError
from core.packing import Packed, TokenRun, pack, row_group_rows
from core.recipe.packing import Strategy
from core.rejects import Reason, Reject
from core.schema import token_sequence
from core.shards import read_shard
from core.stage import STAGE_PREFIXES, ShardResult, ShardStage, StageContext, Unit
from core.tokenizer import load_tokenizer, pad_token_id
from corpus.encode import TextEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXTS_AT_ONCE = 64
"""Rows taken out of Arrow at a time: Python strings are short-lived copies."""


def document_rows(table: pa.Table) -> Iterator[tuple[str, str]]:
    """Yields (doc_id, text) of a table's rows, a few at a time; a text that is null is empty."""
    for batch in table.select(["doc_id", "text"]).to_batches(max_chunksize=_TEXTS_AT_ONCE):
        doc_ids, texts = (batch.column(name).to_pylist() for name in ("doc_id", "text"))
        yield from ((doc_id, text or "") for doc_id, text in zip(doc_ids, texts, strict=True))


def token_runs(
    rows: Iterable[tuple[str, str]], tokenizer: PreTrainedTokenizerBase
) -> Iterator[TokenRun | Reject]:
    """Yields each document's tokens between begin and end of text; without a token, a reject.

    Raises:
        InputError: the tokenizer has no end-of-text token.
    """
    if tokenizer.eos_token_id is None:
        raise InputError(
            "the tokenizer has no end-of-text token to join documents with",
            where=str(tokenizer.name_or_path),
            remedy="set eos_token in its tokenizer_config.json",
        )
    bos = tokenizer.bos_token_id
    begin = np.array([] if bos is None else [bos], dtype=np.int32)
    end = np.array([tokenizer.eos_token_id], dtype=np.int32)
    doc_ids: list[str] = []

    def texts() -> Iterator[str]:
        for doc_id, text in rows:
            doc_ids.append(doc_id)
            yield text

    for number, ids in enumerate(TextEncoder(tokenizer).encode(texts())):
        if len(ids) == 0:
            yield Reject(doc_ids[number], Reason.EMPTY_TEXT, "no token")
            continue
        yield TokenRun(doc_ids[number], np.concatenate([begin, ids, end]))


def pack_documents(
    table: pa.Table,
    tokenizer: PreTrainedTokenizerBase,
    sequence_length: int,
    strategy: Strategy = "concat",
) -> tuple[Packed, list[Reject]]:
    """Tokenizes and packs a shard's documents; those without a token are rejects."""
    runs: list[TokenRun] = []
    rejects: list[Reject] = []
    for outcome in token_runs(document_rows(table), tokenizer):
        if isinstance(outcome, Reject):
            rejects.append(outcome)
        else:
            runs.append(outcome)
    return pack(runs, sequence_length, pad_token_id(tokenizer), strategy), rejects


class TokensStage(ShardStage):
    """Documents to token sequences."""

    description = "Documents tokenized and packed into sequences of fixed length."
    reconcile = "Counts documents; rows are sequences."

    def __init__(
        self,
        name: str,
        documents: str,
        tokenizer: str,
        sequence_length: int,
        strategy: Strategy = "concat",
    ) -> None:
        """Makes the stage.

        Args:
            name: its name; a recipe may pack more than one data set.
            documents: stage that makes the documents.
            tokenizer: train stage or model folder whose tokenizer is used.
            sequence_length: tokens per sequence.
            strategy: how documents are laid into sequences.
        """
        self.name = name
        self.aligned = (documents,)
        from_stage = tokenizer.startswith(STAGE_PREFIXES)
        self.inputs = (documents, tokenizer) if from_stage else (documents,)
        self._tokenizer = tokenizer
        self._sequence_length = sequence_length
        self._strategy: Strategy = strategy
        self.schema = token_sequence(sequence_length)
        self.row_group_rows = row_group_rows(sequence_length)

    def config(self) -> dict[str, Any]:
        """Returns the tokenizer's name, the sequence length and the strategy."""
        return {
            "tokenizer": self._tokenizer,
            "sequence_length": self._sequence_length,
            "strategy": self._strategy,
        }

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Packs one shard."""
        (documents,) = self.aligned
        path = ctx.folder(documents) / unit.payload["shard"]
        table = read_shard(path, columns=["doc_id", "text"])
        tokenizer = load_tokenizer(ctx.model_path(self._tokenizer))
        packed, rejects = pack_documents(table, tokenizer, self._sequence_length, self._strategy)
        rows = table.num_rows
        return ShardResult(
            packed.table, rejects, rows, rows_out=rows - len(rejects), metrics=packed.metrics
        )
