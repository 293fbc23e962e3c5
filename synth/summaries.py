"""Summaries of documents: AstroMLab 3, section III.1 ("synthetic summaries for all of the papers").

A document that fits one prompt is summarised at once. A longer one in parts, and the parts'
summaries are combined, in as many rounds as it takes::

    document   [part 1] [part 2] [part 3] [part 4]     round 1, all documents of the shard at once
    summaries      s1       s2       s3       s4
                    `--------+--------'        |       round 2, where four do not fit one prompt
                            s123               s4
                             `-------+---------'       last round: summary and short version
                                 summary

Each round of a shard is one batch. What a model writes is checked (:mod:`synth.summary_checks`);
a document without a usable summary is a reject with what the model wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.llm import GenerateRequest, Generation
from core.llm.cache import prompt_digest
from core.llm.stage import LlmStage
from core.model_folder import TOKENIZER_NAMES
from core.recipe.summaries import Summaries
from core.rejects import Reason, Reject
from core.schema import SUMMARY
from core.sections import section_name
from core.shards import read_shard
from core.stage import STAGE_PREFIXES, ShardResult, StageContext, Unit
from core.tokenizer import load_tokenizer
from synth.chunks import CountTokens, token_counter
from synth.summary_checks import NotUsedError, check_summary, read_answer
from synth.summary_parts import groups_of, parts_of
from synth.summary_requests import SummaryRequests, built_in_hashes, own_files

COLUMNS = ["doc_id", "source", "title", "text"]
"""What is read of a document."""

AskAll = Callable[[Sequence[GenerateRequest]], list[Generation]]

_DOCUMENTS_AT_ONCE = 64
"""Documents cut at a time: their paragraphs are Python strings."""


@dataclass
class Draft:
    """A document on its way to a summary.

    ``pieces`` are what the next round asks about: the document's parts, then their summaries, each
    with the number of parts that it speaks for.
    """

    doc_id: str
    title: str
    text: str
    pieces: list[tuple[str, int]]
    parts: int
    row: dict[str, Any] | None = None
    reject: Reject | None = None
    asked: list[tuple[GenerateRequest, int]] = field(default_factory=list)
    """Requests of this round, each with the number of parts it speaks for."""
    lost: int = 0
    """Parts without a usable summary."""

    @property
    def open(self) -> bool:
        """Whether it has neither a summary nor a reject yet."""
        return self.row is None and self.reject is None


class Summarizer:
    """Summarises the documents of one shard.

    Args:
        section: the recipe's.
        requests: makes the prompts.
        count: counts tokens.
        model: name for the column ``model``.
    """

    def __init__(
        self, section: Summaries, requests: SummaryRequests, count: CountTokens, model: str
    ) -> None:
        self._section = section
        self._requests = requests
        self._count = count
        self._model = model
        self.metrics: dict[str, int | float] = {
            "requests": 0,
            "documents_in_parts": 0,
            "parts": 0,
            "parts_lost": 0,
        }

    def run(self, documents: pa.Table, ask_all: AskAll) -> tuple[pa.Table, list[Reject]]:
        """Returns rows of :data:`core.schema.SUMMARY` and rejects: one of both per document.

        Args:
            documents: with doc_id, source, title and text.
            ask_all: answers a round's requests.
        """
        drafts = self._drafts(documents)
        first = True
        while waiting := [draft for draft in drafts if draft.open]:
            for draft in waiting:
                draft.asked = self._first(draft) if first else self._next(draft)
            batch = [request for draft in waiting for request, _ in draft.asked]
            self.metrics["requests"] += len(batch)
            answers = iter(ask_all(batch))
            for draft in waiting:
                self._take(draft, [next(answers) for _ in draft.asked])
            first = False
        rows = [draft.row for draft in drafts if draft.row is not None]
        rejects = [draft.reject for draft in drafts if draft.reject is not None]
        return pa.Table.from_pylist(rows, schema=SUMMARY), rejects

    def _drafts(self, documents: pa.Table) -> list[Draft]:
        drafts: list[Draft] = []
        skip = frozenset(map(section_name, self._section.skip_sections))
        columns = documents.select(COLUMNS)
        for batch in columns.to_batches(max_chunksize=_DOCUMENTS_AT_ONCE):
            docs = batch.to_pylist()
            wanted = [d for d in docs if self._is_wanted(d["source"])]
            cut = iter(
                parts_of(
                    [d["text"] or "" for d in wanted],
                    self._count,
                    self._section.part_tokens,
                    skip,
                )
            )
            for doc in docs:
                if not self._is_wanted(doc["source"]):
                    detail = f"source '{doc['source']}' is not in synth.summaries.sources"
                    drafts.append(_left_out(doc, Reason.NOT_SAMPLED, detail))
                    continue
                parts = next(cut)
                least = self._section.min_tokens
                if not parts.texts:
                    drafts.append(_left_out(doc, Reason.EMPTY_TEXT, "no text to summarise"))
                    continue
                if parts.tokens < least:
                    detail = f"{parts.tokens} tokens, at least {least}"
                    drafts.append(_left_out(doc, Reason.TOO_SHORT, detail))
                    continue
                pieces = [(text, 1) for text in parts.texts]
                title = doc["title"] or ""
                drafts.append(Draft(doc["doc_id"], title, doc["text"], pieces, len(pieces)))
                if len(pieces) > 1:
                    self.metrics["documents_in_parts"] += 1
                    self.metrics["parts"] += len(pieces)
        return drafts

    def _is_wanted(self, source: str) -> bool:
        return self._section.sources is None or source in self._section.sources

    def _first(self, draft: Draft) -> list[tuple[GenerateRequest, int]]:
        if draft.parts == 1:
            return [(self._requests.whole(draft.title, draft.pieces[0][0]), 1)]
        return [
            (self._requests.part(draft.title, text, number, draft.parts), 1)
            for number, (text, _) in enumerate(draft.pieces, 1)
        ]

    def _next(self, draft: Draft) -> list[tuple[GenerateRequest, int]]:
        """Combines the summaries: all of them where they fit a prompt, else neighbours."""
        sizes = self._count([text for text, _ in draft.pieces])
        groups = groups_of(sizes, self._section.part_tokens)
        asked = []
        for group in groups:
            texts = [draft.pieces[place][0] for place in group]
            parts = sum(draft.pieces[place][1] for place in group)
            request = self._requests.combine(draft.title, texts, last=len(groups) == 1)
            asked.append((request, parts))
        return asked

    def _take(self, draft: Draft, answers: list[Generation]) -> None:
        """Takes a round's answers: a finished document, a reject, or pieces for the next round."""
        last = len(answers) == 1 and bool(draft.asked[0][0].inputs["short"])
        pieces: list[tuple[str, int]] = []
        fault: Reject | None = None
        for (request, parts), answer in zip(draft.asked, answers, strict=True):
            try:
                summary, short = read_answer(answer, short=last)
                if last:
                    check_summary(summary, short, draft.text, self._section)
                    draft.row = self._row(draft, summary, short, request)
                    return
                pieces.append((summary, parts))
            except NotUsedError as error:
                fault = fault or Reject(draft.doc_id, error.reason, error.detail, answer.text)
                draft.lost += parts
                self.metrics["parts_lost"] += 0 if last else parts
        kept_share = 1 - draft.lost / draft.parts
        if fault is not None and (last or kept_share < self._section.min_parts_share):
            detail = fault.detail
            if not last:
                detail = f"{draft.lost} of {draft.parts} parts without a summary, first: {detail}"
            draft.reject = Reject(draft.doc_id, fault.reason, detail, fault.text)
        draft.pieces = pieces

    def _row(
        self, draft: Draft, summary: str, short: str, request: GenerateRequest
    ) -> dict[str, Any]:
        return {
            "doc_id": draft.doc_id,
            "title": draft.title or None,
            "short": short,
            "summary": summary,
            "model": self._model,
            "prompt_sha256": prompt_digest(request),
        }


def _left_out(doc: dict[str, Any], reason: Reason, detail: str) -> Draft:
    # The document stays in the corpus, so its text need not be kept here once more.
    reject = Reject(doc["doc_id"], reason, detail)
    return Draft(doc["doc_id"], "", "", [], 0, reject=reject)


class SummariesStage(LlmStage):
    """Documents to summaries."""

    name = "synth.summaries"
    description = "A summary of each document, written by a language model."
    row_unit = "document"
    schema = SUMMARY
    reconcile = (
        "A summary per document. A document that the recipe leaves out here (not_sampled, "
        "too_short) has no summary, but stays in the corpus."
    )

    def __init__(self, section: Summaries, documents: str, tokenizer: str) -> None:
        """Makes the stage.

        Args:
            section: the recipe section.
            documents: stage with documents.
            tokenizer: stage or folder of the model whose tokens are counted.
        """
        super().__init__(section.engine, section.workers, (documents,))
        if tokenizer.startswith(STAGE_PREFIXES):
            self.inputs = tuple(dict.fromkeys([*self.inputs, tokenizer]))
        self._section = section
        self._tokenizer = tokenizer

    def config(self) -> dict[str, Any]:
        """Returns the section (not what conversations are made of it), engine, prompts' hashes."""
        section = self._section.model_dump(mode="json", exclude={"workers", "engine", "questions"})
        return {
            **section,
            "engine": self._section.engine.identity(),
            "tokenizer": self._tokenizer,
            "prompts_sha256": built_in_hashes(self._section.prompts),
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the user's model, tokenizer and prompts."""
        tokenizer = [f for f in ctx.model_files(self._tokenizer) if f.name in TOKENIZER_NAMES]
        own = own_files(self._section.prompts, ctx)
        return sorted({*super().source_files(ctx), *tokenizer, *own})

    def read(self, unit: Unit, ctx: StageContext) -> list[pa.Table]:
        """Returns the columns of the unit's documents that are summarised."""
        return [read_shard(ctx.folder(self.aligned[0]) / unit.payload["shard"], COLUMNS)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Summarises one shard."""
        (table,) = self.read(unit, ctx)
        count = token_counter(load_tokenizer(ctx.model_path(self._tokenizer)))
        requests = SummaryRequests(self._section, ctx)
        summarizer = Summarizer(self._section, requests, count, self.engine.label)
        kept, rejects = summarizer.run(table, lambda batch: self.ask(batch, unit, ctx))
        return ShardResult(kept, rejects, table.num_rows, metrics=summarizer.metrics)
