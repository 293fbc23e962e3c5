"""General text in files: the index of all of it, and the documents that replay takes from it.

Both stages read the same spans of the same files; see :mod:`corpus.replay` for what lies between.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from core.hashing import sha256_value
from core.manifest import Manifest
from core.recipe.replay import Replay
from core.rejects import Reject
from core.schema import DOCUMENT
from core.sources import SourceIndex, find_files
from core.stage import STAGE_PREFIXES, ShardResult, ShardStage, StageContext, Unit
from core.tokenizer import load_tokenizer
from corpus.documents import Document, documents_table
from corpus.encode import TextEncoder
from corpus.replay_plan import (
    INDEX,
    KEYS_AT_ONCE,
    SAMPLE_DOCUMENTS,
    load_plan,
    replay_key,
    text_id,
)
from corpus.text_rows import ENDINGS, SPAN_BYTES, Columns, Record, file_spans, read_span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SAMPLE_CHARS = 1 << 14
_DOCUMENTS_PER_GROUP = 256
_META = ("id", "dump", "date")
"""What is kept of a record besides text and address, where it has it."""


class _FilesStage(ShardStage):
    """What the two stages that read the general text share."""

    def __init__(self, section: Replay) -> None:
        self._section = section

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of general text."""
        return find_files(ctx.root, self._section.paths, ENDINGS, "corpus.replay.paths")

    def _spans(self, ctx: StageContext, sources: SourceIndex, digest: str) -> list[Unit]:
        units: list[Unit] = []
        for path in self.source_files(ctx):
            ((name, sha256),) = sources.hashes([path]).items()
            for start, end in file_spans(path, SPAN_BYTES):
                payload = {"file": name, "start": start, "end": end}
                units.append(Unit(len(units), payload, sha256_value([payload, sha256, digest])))
        return units

    def _records(self, unit: Unit, ctx: StageContext) -> Iterator[Record | Reject]:
        span = unit.payload
        path = ctx.path(span["file"])
        section = self._section
        columns = Columns(
            section.text_column, ("url", *_META), section.name, "corpus.replay.text_column"
        )
        return read_span(path, span["start"], span["end"], columns, span["file"])


class ReplayIndexStage(_FilesStage):
    """Files of general text to keys and lengths."""

    name = "corpus.replay_index"
    description = "Key and length of every document of general text."
    schema = INDEX
    row_group_rows = KEYS_AT_ONCE

    def __init__(self, section: Replay, tokenizer: str) -> None:
        """Makes the stage.

        Args:
            section: the recipe section.
            tokenizer: train stage or model folder whose tokenizer is used.
        """
        super().__init__(section)
        self._tokenizer = tokenizer
        self.inputs = (tokenizer,) if tokenizer.startswith(STAGE_PREFIXES) else ()

    def config(self) -> dict[str, Any]:
        """Returns what names and finds the documents."""
        section = self._section.model_dump(include={"paths", "name", "text_column"})
        return {**section, "tokenizer": self._tokenizer}

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns a unit per span of a file."""
        inputs = [Manifest.require(ctx.folder(name), name).digest for name in self.inputs]
        return self._spans(ctx, sources, sha256_value(inputs))

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads one span."""
        tokenizer = load_tokenizer(ctx.model_path(self._tokenizer))
        outcomes = self._records(unit, ctx)
        table, rejects = index_records(outcomes, self._section.name, ctx.seed, tokenizer)
        count = table.num_rows
        size = pc.sum(table["bytes"]).as_py() or 0
        metrics: dict[str, int | float] = {"documents": count, "bytes": size}
        return ShardResult(table, rejects, rows_in=count + len(rejects), metrics=metrics)


def index_records(
    outcomes: Iterable[Record | Reject],
    name: str,
    seed: int,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[pa.Table, list[Reject]]:
    """Returns the index of some records, and the rejects among them.

    The beginnings of the :data:`SAMPLE_DOCUMENTS` documents with the smallest keys are tokenized:
    wherever the smallest keys of all lie, they are among those of their shard.
    """
    keys: list[int] = []
    sizes: list[int] = []
    rejects: list[Reject] = []
    sample: dict[int, tuple[int, str]] = {}  # key to row and beginning of the text
    largest: list[int] = []  # keys of the sample, negated: a heap has the smallest first
    for outcome in outcomes:
        if isinstance(outcome, Reject):
            rejects.append(outcome)
            continue
        key = replay_key(seed, text_id(name, outcome.text))
        if key not in sample and (len(sample) < SAMPLE_DOCUMENTS or key < -largest[0]):
            if len(sample) == SAMPLE_DOCUMENTS:
                del sample[-heapq.heappop(largest)]
            heapq.heappush(largest, -key)
            # Four bytes hold a character: no need to decode all of a long text.
            head = outcome.text[: 4 * _SAMPLE_CHARS].decode("utf-8", "ignore")
            sample[key] = len(keys), head[:_SAMPLE_CHARS]
        keys.append(key)
        sizes.append(len(outcome.text))
    sample_bytes: list[int | None] = [None] * len(keys)
    sample_tokens: list[int | None] = [None] * len(keys)
    encoded = TextEncoder(tokenizer).encode(text for _, text in sample.values())
    for (row, text), ids in zip(sample.values(), encoded, strict=True):
        sample_bytes[row], sample_tokens[row] = len(text.encode()), len(ids)
    columns = {"key": keys, "bytes": sizes}
    sampled = {"sample_bytes": sample_bytes, "sample_tokens": sample_tokens}
    return pa.Table.from_pydict({**columns, **sampled}, schema=INDEX), rejects


class ReplayDocumentsStage(_FilesStage):
    """Files of general text to the documents that some epoch sees, in the order of their keys."""

    name = "corpus.replay_documents"
    description = "Documents of general text that some epoch sees."
    schema = DOCUMENT
    row_group_rows = _DOCUMENTS_PER_GROUP
    reconcile = (
        "Counts the documents that are used; the rejects among the rest are those of the index. "
        "The same text twice is here twice: the first copy is tokenized, the second rejected there."
    )

    def __init__(self, section: Replay, plan: str) -> None:
        """Makes the stage.

        Args:
            section: the recipe section.
            plan: stage that makes the plan.
        """
        super().__init__(section)
        self._plan = plan
        self.inputs = (plan,)

    def config(self) -> dict[str, Any]:
        """Returns what names and finds the documents."""
        return self._section.model_dump(include={"paths", "name", "text_column", "license"})

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns a unit per span of a file."""
        return self._spans(
            ctx, sources, Manifest.require(ctx.folder(self._plan), self._plan).digest
        )

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads one span again and keeps what is used."""
        # Epochs take keys from the smallest on, so what is used lies below one limit.
        limit = max(int(part.last, 16) for part in load_plan(ctx, self._plan).parts)
        found: list[tuple[int, Document]] = []
        for record in self._records(unit, ctx):
            if isinstance(record, Reject):
                continue
            doc_id = text_id(self._section.name, record.text)
            key = replay_key(ctx.seed, doc_id)
            if key <= limit:
                found.append((key, self._document(doc_id, record, unit.payload["file"])))
        found.sort(key=lambda pair: pair[0])
        table = documents_table([document for _, document in found])
        return ShardResult(table, rows_in=table.num_rows)

    def _document(self, doc_id: str, record: Record, file: str) -> Document:
        url = record.facts.get("url")
        meta = {name: str(record.facts[name]) for name in _META if name in record.facts}
        return Document(
            doc_id,
            self._section.name,
            text=record.text.decode(),
            license=self._section.license,
            url=url if isinstance(url, str) else None,
            meta={**meta, "file": file},
        )
