"""Replay: general text for every epoch of continued pretraining (AstroMLab 4, section 2.1).

Four stages, so that each is a pass over shards on any number of workers::

    replay_index      key and length of every document of general text; what is no document is a
                      reject
    replay_plan       which keys each epoch sees (:mod:`corpus.replay_plan`)
    replay_documents  those documents, as document rows; a stage that cleans or decontaminates
                      documents may follow
    replay            their token sequences, each with the ``epoch`` that it is for

The trainer takes the corpus's sequences together with those of the epoch it is in. Same seed, same
text: same bytes, in whatever files and order the text comes.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.atomic import write_json
from core.errors import InputError
from core.hashing import sha256_value
from core.manifest import Manifest
from core.packing import TokenRun, pack, row_group_rows
from core.recipe.packing import Strategy
from core.recipe.replay import Replay
from core.rejects import Reason, Reject
from core.schema import token_sequence
from core.shards import read_shard, shard_paths, stream_batches
from core.sources import SourceIndex
from core.stage import (
    STAGE_PREFIXES,
    JobResult,
    JobStage,
    ShardResult,
    ShardStage,
    StageContext,
    Unit,
)
from core.tokenizer import load_tokenizer, pad_token_id
from corpus.replay_plan import (
    INDEX,
    KEYS_AT_ONCE,
    PLAN_NAME,
    Plan,
    epoch_budgets,
    load_order,
    load_plan,
    plan_epochs,
    replay_key,
    survey,
)
from corpus.tokens import token_runs

log = logging.getLogger(__name__)

EPOCH = pa.field("epoch", pa.int32(), nullable=False)


class ReplayPlanStage(JobStage):
    """Index to the documents of each epoch."""

    name = "corpus.replay_plan"
    description = "Which documents of general text each epoch sees."

    def __init__(
        self, section: Replay, index: str, tokens: str, tokenizer: str, epochs: float
    ) -> None:
        """Makes the stage.

        Args:
            section: the recipe section.
            index: stage that makes the index.
            tokens: stage that packs the corpus; its tokens are what replay is a share of.
            tokenizer: train stage or model folder whose tokenizer is used.
            epochs: of the training run.
        """
        self._section = section
        self._index = index
        self._tokens = tokens
        self._tokenizer = tokenizer
        self._epochs = epochs
        self.inputs = (index, tokens)
        if tokenizer.startswith(STAGE_PREFIXES):
            self.inputs += (tokenizer,)

    def config(self) -> dict[str, Any]:
        """Returns the share, the epochs and what to do when text runs out."""
        section = self._section.model_dump(include={"share", "when_exhausted"})
        return {**section, "epochs": self._epochs, "tokenizer": self._tokenizer}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the plan.

        Raises:
            InputError: there is no general text, or not enough.
        """
        corpus_tokens = int(
            Manifest.require(ctx.folder(self._tokens), self._tokens).metrics["tokens"]
        )
        tokenizer = load_tokenizer(ctx.model_path(self._tokenizer))
        budgets = epoch_budgets(corpus_tokens, self._section.share, self._epochs)
        special = 1 + (tokenizer.bos_token_id is not None)
        plan = self._plan(ctx.folder(self._index), budgets, special)
        write_json(out / PLAN_NAME, plan.to_json())
        metrics = {
            "corpus_tokens": corpus_tokens,
            "budget_tokens": budgets,
            "planned_tokens": [
                sum(p.tokens for p in plan.parts if p.epoch == epoch)
                for epoch in range(len(budgets))
            ],
            "planned_documents": sum(part.documents for part in plan.parts),
            "parts": len(plan.parts),
            "tokens_per_byte": plan.tokens_per_byte,
            "passes": plan.passes,
        }
        return JobResult(rows_in=plan.documents, rows_out=plan.documents, metrics=metrics)

    def _plan(self, index: Path, budgets: list[int], special_tokens: int) -> Plan:
        found = survey(stream_batches(index, INDEX.names, KEYS_AT_ONCE))
        if found.documents == 0:
            raise InputError(
                "there is no general text to replay",
                where="corpus.replay.paths",
                remedy=f"look at the rejects of {self._index}",
            )

        def batches() -> Iterator[pa.RecordBatch]:
            return stream_batches(index, ["key", "bytes"], KEYS_AT_ONCE)

        order = load_order(batches, found, budgets, special_tokens)
        parts = plan_epochs(order, budgets)
        there = found.bytes * found.sample_tokens / found.sample_bytes
        passes = sum(budgets) / (there + special_tokens * found.documents)
        if sum(part.documents for part in parts) > len(order.keys):
            self._exhausted(sum(budgets), order.tokens)
        return Plan(
            parts=parts,
            tokens_per_byte=round(found.sample_tokens / found.sample_bytes, 6),
            budget_tokens=budgets,
            documents=found.documents,
            bytes=found.bytes,
            passes=round(passes, 6),
        )

    def _exhausted(self, needed: int, there: int) -> None:
        what = (
            f"{self._epochs:g} epochs need about {needed:,} tokens of "
            f"general text, there are about {there:,}"
        )
        if self._section.when_exhausted == "error":
            raise InputError(
                what,
                where="corpus.replay",
                remedy="add files to corpus.replay.paths, lower corpus.replay.share, or let later "
                "epochs see documents again with corpus.replay.when_exhausted=repeat",
            )
        log.warning("%s: documents are seen again", what)


class ReplayStage(ShardStage):
    """Documents of general text to token sequences, each for one epoch."""

    name = "corpus.replay"
    description = "General text for each epoch, tokenized and packed into sequences."
    reconcile = "Counts documents, a document that is seen again once more; rows are sequences."

    def __init__(
        self,
        documents: str,
        plan: str,
        tokenizer: str,
        sequence_length: int,
        strategy: Strategy = "concat",
    ) -> None:
        """Makes the stage.

        Args:
            documents: stage that makes the documents, in the order of their keys.
            plan: stage that makes the plan.
            tokenizer: train stage or model folder whose tokenizer is used.
            sequence_length: tokens per sequence.
            strategy: how documents are laid into sequences.
        """
        self._documents, self._plan, self._tokenizer = documents, plan, tokenizer
        self.inputs = (documents, plan)
        if tokenizer.startswith(STAGE_PREFIXES):
            self.inputs += (tokenizer,)
        self._sequence_length = sequence_length
        self._strategy: Strategy = strategy
        self.schema = token_sequence(sequence_length).append(EPOCH)
        self.row_group_rows = row_group_rows(sequence_length)

    def config(self) -> dict[str, Any]:
        """Returns the tokenizer's name, the sequence length and the strategy."""
        return {
            "tokenizer": self._tokenizer,
            "sequence_length": self._sequence_length,
            "strategy": self._strategy,
        }

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns a unit per part of an epoch, in the order of the epochs."""
        inputs = [Manifest.require(ctx.folder(name), name).digest for name in self.inputs]
        parts = [vars(part) for part in load_plan(ctx, self._plan).parts]
        return [Unit(i, part, sha256_value([part, inputs])) for i, part in enumerate(parts)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Packs one part."""
        first, last = (int(unit.payload[name], 16) for name in ("first", "last"))
        rows = read_range(ctx.folder(self._documents), ctx.seed, first, last)
        tokenizer = load_tokenizer(ctx.model_path(self._tokenizer))
        runs: list[TokenRun] = []
        rejects: list[Reject] = []
        for outcome in token_runs(_distinct(rows, rejects), tokenizer):
            if isinstance(outcome, Reject):
                rejects.append(outcome)
            else:
                runs.append(outcome)
        packed = pack(runs, self._sequence_length, pad_token_id(tokenizer), self._strategy)
        epoch = int(unit.payload["epoch"])
        column = pa.array([epoch] * packed.table.num_rows, pa.int32())
        counts: dict[str, int | float] = {
            f"epoch {epoch}/{name}": packed.metrics[name] for name in ("sequences", "tokens")
        }
        return ShardResult(
            packed.table.append_column(EPOCH, column),
            rejects,
            rows_in=len(rows),
            rows_out=len(runs),
            metrics={**packed.metrics, **counts},
        )


def read_range(folder: Path, seed: int, first: int, last: int) -> list[tuple[str, str]]:
    """Returns (doc_id, text) of the documents with keys from ``first`` to ``last``, in key order.

    Args:
        folder: documents whose shards are each sorted by key.
        seed: of the keys.
        first: smallest key.
        last: largest key.
    """

    def key(doc_id: str) -> int:
        return replay_key(seed, doc_id)

    rows: list[tuple[str, str]] = []
    for path in shard_paths(folder):
        doc_ids = read_shard(path, columns=["doc_id"])["doc_id"].to_pylist()
        low, high = bisect_left(doc_ids, first, key=key), bisect_right(doc_ids, last, key=key)
        if low < high:
            rows += zip(doc_ids[low:high], _texts(path, low, high), strict=True)
    return sorted(rows, key=lambda row: (key(row[0]), row[0]))


def _texts(path: Path, low: int, high: int) -> list[str]:
    """Returns the texts of the rows from ``low`` to ``high``; other row groups are not read."""
    with pq.ParquetFile(path) as file:
        groups, at, start = [], 0, None
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if at < high and at + rows > low:
                start = at if start is None else start
                groups.append(group)
            at += rows
        texts = file.read_row_groups(groups, columns=["text"])["text"]
    assert start is not None
    return [text or "" for text in texts.slice(low - start, high - low).to_pylist()]


def _distinct(rows: Iterable[tuple[str, str]], rejects: list[Reject]) -> Iterator[tuple[str, str]]:
    """Passes rows on, copies of the one before as rejects."""
    before = None
    for doc_id, text in rows:
        if doc_id == before:
            rejects.append(Reject(doc_id, Reason.DUPLICATE_ID, "the same text again", text))
            continue
        before = doc_id
        yield doc_id, text
