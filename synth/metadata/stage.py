"""Stage ``synth.metadata``: questions about papers' metadata, AstroMLab 3, section III.1.

"A series of custom rules and random selections result in diverse questions about titles, dates of
publication, arXiv IDs, and first author names from the papers in the CPT dataset."
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.hashing import sha256_file, sha256_value
from core.manifest import Manifest
from core.recipe.summaries import Metadata
from core.schema import CONVERSATION
from core.shards import read_shard, shard_paths
from core.sources import SourceIndex, find_files
from core.stage import ShardResult, ShardStage, StageContext, Unit
from synth.metadata.index import CorpusIndex
from synth.metadata.made_up import MAX_PARTS, MadeUp, Pool, halves, outside, read_real
from synth.metadata.paper import COLUMNS, Paper, read_papers
from synth.metadata.questions import Outside, Questioner
from synth.metadata.wording import MetadataWording, read_wording

WORDING_FILE = Path(__file__).parent.parent / "prompts" / "metadata.yaml"


def metadata_conversations(
    documents: pa.Table, questioner: Questioner, per_document: int, seed: int
) -> pa.Table:
    """Returns the conversations about a shard's papers, in order.

    Args:
        documents: columns :data:`synth.metadata.paper.COLUMNS`.
        questioner: with an index of the whole corpus.
        per_document: questions about each paper.
        seed: the recipe's.
    """
    rows = [
        row
        for paper in read_papers(documents)
        if paper.kind == "paper"
        for row in questioner.about(paper, per_document, seed)
    ]
    return pa.Table.from_pylist(rows, schema=CONVERSATION)


class MetadataStage(ShardStage):
    """Documents to questions about their titles, dates, identifiers and first authors."""

    name = "synth.metadata"
    description = "Questions about papers' titles, dates, arXiv numbers and first authors."
    row_unit = "conversation"
    schema = CONVERSATION
    reconcile = (
        "Counts the conversations made; documents are not used up. A document that is no arXiv "
        "paper makes none (documents_of_other_kinds), nor does a paper of which too little is "
        "known (documents_without_metadata)."
    )

    def __init__(self, section: Metadata, documents: str, system_prompt: str | None) -> None:
        self.inputs = self.aligned = (documents,)
        self.actors = section.workers
        self._section = section
        self._system_prompt = system_prompt
        self._wording: MetadataWording | None = None
        self._index: CorpusIndex | None = None
        self._made_up: MadeUp | None = None
        self._real: list[Paper] = []

    def config(self) -> dict[str, Any]:
        """Returns section, system prompt and the built-in wording's hash."""
        section = self._section.model_dump(mode="json", exclude={"workers"})
        built_in = sha256_file(WORDING_FILE) if self._section.wording is None else None
        return {**section, "system_prompt": self._system_prompt, "wording_sha256": built_in}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the user's wording and the files of papers outside the corpus."""
        files = [] if self._section.wording is None else [ctx.path(self._section.wording)]
        return files + self._real_files(ctx)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns a unit per shard; each depends on all shards, whose names it must not collide."""
        whole = Manifest.require(ctx.folder(self.inputs[0]), self.inputs[0]).digest
        return [
            Unit(unit.index, unit.payload, sha256_value([unit.digest, whole]))
            for unit in super().plan(ctx, sources)
        ]

    def read(self, unit: Unit, ctx: StageContext) -> list[pa.Table]:
        """Returns the shard's columns that name papers; never the texts."""
        return [read_shard(ctx.folder(self.inputs[0]) / unit.payload["shard"], COLUMNS)]

    def setup(self, ctx: StageContext) -> None:
        """Reads the templates and the names of all papers.

        Raises:
            InputError: a file of the user's cannot be used.
        """
        own = self._section.wording
        self._wording = read_wording(
            ctx.path(own) if own else WORDING_FILE, MetadataWording, self._section.domain
        )
        parts = Pool(ctx.seed, MAX_PARTS)
        self._index = CorpusIndex(_all_papers(ctx.folder(self.inputs[0]), parts))
        self._made_up = MadeUp(parts.papers(), self._index)
        listed = [(path.name, path) for path in self._real_files(ctx)]
        self._real = outside(read_real(listed, ctx.seed), self._index)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Makes the conversations of one shard."""
        assert self._wording is not None, "setup comes first"
        assert self._index is not None
        assert self._made_up is not None
        (table,) = self.read(unit, ctx)
        section = self._section
        strangers = Outside(self._made_up, self._real, section.unknown_share, section.real_share)
        questioner = Questioner(self._wording, self._index, strangers, self._system_prompt)
        kept = metadata_conversations(table, questioner, section.questions_per_document, ctx.seed)
        metrics: dict[str, int | float] = {
            "documents": table.num_rows,
            "documents_of_other_kinds": table.num_rows - questioner.papers,
            **questioner.counts,
        }
        return ShardResult(kept, [], kept.num_rows, metrics=metrics)

    def _real_files(self, ctx: StageContext) -> list[Path]:
        listed = self._section.unknown_papers
        if not listed:
            return []
        return find_files(ctx.root, listed, (".jsonl", ".json"), "synth.metadata.unknown_papers")


def _all_papers(folder: Path, parts: Pool) -> Iterator[Paper]:
    """Yields all documents, and puts papers whose titles can be taken apart into the pool."""
    for path in shard_paths(folder):
        for paper in read_papers(read_shard(path, COLUMNS)):
            if paper.kind == "paper" and "title" in paper.facts and halves(paper.facts["title"]):
                parts.add(paper)
            yield paper
