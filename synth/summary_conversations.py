"""Conversations that ask for summaries: AstroMLab 3, section III.1.

"A user prompt asking to summarize a certain paper, with the assistant completion being a small
preamble followed by the summary. The user prompt was created through a series of random choices
about the way the question is asked, a small preamble, and the way in which the paper is
referenced". Every name of a paper has its title or arXiv number, as authors and year may mean more
papers than one. What is drawn depends on seed and document alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from core.hashing import sha256_file
from core.recipe.summaries import Summaries
from core.rejects import Reason, Reject
from core.schema import CONVERSATION
from core.shards import read_shard
from core.stage import ShardResult, ShardStage, StageContext, Unit
from synth.metadata.paper import COLUMNS, Paper, read_papers
from synth.metadata.wording import Chance, SummaryWording, ask, fill, read_wording, usable

WORDING_FILE = Path(__file__).parent / "prompts" / "summary_questions.yaml"


def summary_messages(
    paper: Paper, summary: str, short: str, wording: SummaryWording, short_share: float, key: str
) -> list[dict[str, str]] | None:
    """Returns question and answer, or None where the document has no name to ask for it by.

    Args:
        paper: what is known of the document.
        summary: its summary.
        short: one or two sentences.
        wording: the templates.
        short_share: share of conversations that ask for ``short``.
        key: what the draws depend on.
    """
    names = usable(wording.names.get(paper.kind, []), paper.facts)
    if not names:
        return None
    chance = Chance(key)
    brief = chance.happens(short_share)
    asked, text = (wording.short, short) if brief else (wording.long, summary)
    facts = {**paper.facts, "paper": chance.one(names).format_map(paper.facts)}
    question = ask(chance.one(wording.preambles), chance.one(asked.questions), facts)
    opening = fill(chance.one(usable(asked.answers, facts)), facts)
    # A line of its own before a paragraph, the same line before a sentence.
    joint = " " if brief else "\n\n"
    answer = f"{opening}{joint}{text}" if opening else text
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def summary_conversations(
    summaries: pa.Table,
    papers: dict[str, Paper],
    section: Summaries,
    wording: SummaryWording,
    system_prompt: str | None,
    seed: int,
) -> tuple[pa.Table, list[Reject]]:
    """Returns a shard's conversations, and a reject for each that has no name to ask by.

    Args:
        summaries: rows of :data:`core.schema.SUMMARY`.
        papers: what is known of their documents, by doc_id.
        section: the recipe's.
        wording: the templates.
        system_prompt: of every conversation, or None.
        seed: the recipe's.
    """
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    questions = section.questions
    for row in summaries.to_pylist():
        doc_id, summary = row["doc_id"], row["summary"]
        paper = papers.get(doc_id) or Paper(doc_id, "text")
        for number in range(questions.per_document):
            key = f"{seed}|summary|{doc_id}|{number}"
            share = questions.short_share
            messages = summary_messages(paper, summary, row["short"], wording, share, key)
            if messages is None:
                detail = f"no title to ask for the {paper.kind} by"
                rejects.append(Reject(doc_id, Reason.NO_TITLE, detail, summary))
                continue
            rows.append(
                {
                    "conv_id": f"summary:{doc_id}:{number}",
                    "dataset": "summaries",
                    "messages": [*system, *messages],
                    "reasoning": False,
                    "doc_ids": [doc_id],
                }
            )
    return pa.Table.from_pylist(rows, schema=CONVERSATION), rejects


class SummaryConversationsStage(ShardStage):
    """Summaries to conversations."""

    name = "synth.summary_conversations"
    description = "Conversations that ask for a document's summary."
    row_unit = "conversation"
    schema = CONVERSATION
    reconcile = "Counts conversations: as many per summary as the recipe says."

    def __init__(
        self, section: Summaries, summaries: str, documents: str, system_prompt: str | None
    ) -> None:
        """Makes the stage.

        Args:
            section: the recipe section.
            summaries: stage with summaries.
            documents: the stage that they were made from.
            system_prompt: of every conversation, or None.
        """
        self.inputs = self.aligned = (summaries, documents)
        self._section = section
        self._system_prompt = system_prompt

    def config(self) -> dict[str, Any]:
        """Returns the questions' section, system prompt and the built-in wording's hash."""
        questions = self._section.questions
        return {
            **questions.model_dump(mode="json"),
            "system_prompt": self._system_prompt,
            "wording_sha256": sha256_file(WORDING_FILE) if questions.wording is None else None,
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the user's wording."""
        own = self._section.questions.wording
        return [] if own is None else [ctx.path(own)]

    def read(self, unit: Unit, ctx: StageContext) -> list[pa.Table]:
        """Returns the shard's summaries and its documents' columns that name them."""
        shard = unit.payload["shard"]
        summaries, documents = (ctx.folder(name) / shard for name in self.aligned)
        return [read_shard(summaries), read_shard(documents, COLUMNS)]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Makes the conversations of one shard."""
        summaries, documents = self.read(unit, ctx)
        own = self._section.questions.wording
        wording = read_wording(
            ctx.path(own) if own else WORDING_FILE, SummaryWording, self._section.questions.domain
        )
        papers = {paper.doc_id: paper for paper in read_papers(documents)}
        kept, rejects = summary_conversations(
            summaries, papers, self._section, wording, self._system_prompt, ctx.seed
        )
        return ShardResult(kept, rejects, kept.num_rows + len(rejects))
