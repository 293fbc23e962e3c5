"""Questions to cleaned questions: AstroMLab 4, section 4.1.

Every question is asked about once. Those that need one paper's content are rejects with the model's
reason; those that only point to it are rewritten, with the original beside. What cannot be read is
a reject, too: a question nobody has checked is not a checked one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from core.hashing import sha256_file, sha256_value
from core.llm import GenerateRequest, Generation
from core.llm.cache import prompt_digest
from core.llm.stage import LlmStage
from core.recipe.cleaning import Cleaning
from core.rejects import Reason, Reject
from core.schema import QUESTION_CLEANED
from core.sources import SourceIndex
from core.stage import ShardResult, StageContext, Unit
from eval.cleaning.prompt import PROMPT_FILE, Prompter
from eval.cleaning.verdict import VerdictError, doubts, read_verdict
from eval.items import Item, load_items
from eval.items.files import question_file

UNIT_QUESTIONS = 512
"""Questions of one unit of work; AstroMLab-1 is nine."""


def clean_questions(
    items: Sequence[Item],
    requests: Sequence[GenerateRequest],
    answers: Sequence[Generation],
    section: Cleaning,
    model: str,
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Turns a model's answers into rows of :data:`core.schema.QUESTION_CLEANED` and rejects.

    Args:
        items: the questions.
        requests: what was asked about each.
        answers: what the model wrote.
        section: when a rewritten question is used.
        model: name for the rows.
    """
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for item, request, answer in zip(items, requests, answers, strict=True):
        try:
            verdict = read_verdict(answer, item.question)
        except VerdictError as error:
            text = question_text(item, verdict=answer.text)
            rejects.append(Reject(item.item_id, Reason.UNPARSED_VERDICT, str(error), text))
            continue
        if verdict.kind == "remove":
            text = question_text(item)
            rejects.append(Reject(item.item_id, Reason.PAPER_SPECIFIC, verdict.reason, text))
            continue
        rewritten = verdict.kind == "rewrite"
        found = doubts(item.question, verdict.question, section) if rewritten else []
        used = rewritten and section.rewrite and not found
        rows.append(
            {
                "item_id": item.item_id,
                "question": verdict.question if used else item.question,
                "choices": list(item.choices),
                "answer": item.answer,
                "topic": item.topic,
                "verdict": verdict.kind,
                "reason": verdict.reason,
                "original": item.question,
                "proposed": verdict.question if rewritten else None,
                "doubts": found,
                "model": model,
                "prompt_sha256": prompt_digest(request),
            }
        )
    return rows, rejects


def question_text(item: Item, **more: str) -> str:
    """Returns a question with all it has as the text of a reject."""
    shown = {
        "question": item.question,
        "choices": item.choices,
        "answer": item.answer,
        "topic": item.topic,
        **more,
    }
    return json.dumps(shown, ensure_ascii=False)


def counts_of(rows: Sequence[dict[str, Any]]) -> dict[str, int | float]:
    """Returns how many questions stay as they are, are rewritten, or wait for a person."""
    found = Counter(
        "kept"
        if row["verdict"] == "keep"
        else "rewritten"
        if row["question"] == row["proposed"]
        else "to_review"
        for row in rows
    )
    by_doubt = Counter(f"doubt_{doubt.replace(' ', '_')}" for r in rows for doubt in r["doubts"])
    named = {name: found[name] for name in ("kept", "rewritten", "to_review")}
    return {**named, **dict(sorted(by_doubt.items()))}


class QuestionsCleanStage(LlmStage):
    """A file of questions to those that stand without their paper."""

    name = "eval.questions_clean"
    description: ClassVar[str] = "Questions checked by a language model for leaning on one paper"
    row_unit = "question"
    schema = QUESTION_CLEANED

    def __init__(self, section: Cleaning) -> None:
        """Takes the recipe section ``eval.cleaning``."""
        super().__init__(section.engine, section.workers, ())
        self._section = section
        self._prompter: Prompter | None = None

    def config(self) -> dict[str, Any]:
        """Returns the section but its workers, with the hash of our prompt."""
        section = self._section
        return {
            **section.model_dump(mode="json", exclude={"workers", "engine"}),
            "engine": section.engine.identity(),
            "prompt_sha256": None if section.prompt else sha256_file(PROMPT_FILE),
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the questions, the model's files and a prompt of the user's."""
        own = [ctx.path(self._section.prompt)] if self._section.prompt else []
        return [*super().source_files(ctx), self._file(ctx), *own]

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per :data:`UNIT_QUESTIONS` questions; one at least."""
        items, _ = load_items(self._file(ctx))
        content = sources.digest(self.source_files(ctx))
        starts = range(0, max(1, len(items)), UNIT_QUESTIONS)
        return [
            Unit(index, {"start": start}, sha256_value([content, start, self._models(ctx)]))
            for index, start in enumerate(starts)
        ]

    def setup(self, ctx: StageContext) -> None:
        """Reads the prompt, then opens the engine."""
        self._prompter = Prompter(self._section, ctx)
        super().setup(ctx)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Checks one unit's questions; the first unit accounts for records that are none."""
        assert self._prompter is not None, "setup comes first"
        start = unit.payload["start"]
        items, unread = load_items(self._file(ctx))
        mine = items[start : start + UNIT_QUESTIONS]
        rejects = unread if start == 0 else []
        rows_in = len(mine) + len(rejects)
        requests = [self._prompter.request(item) for item in mine]
        answers = self.ask(requests, unit, ctx)
        rows, faults = clean_questions(mine, requests, answers, self._section, self.engine.label)
        metrics = {
            **counts_of(rows),
            "removed": sum(f.reason is Reason.PAPER_SPECIFIC for f in faults),
            **self.usage(),
        }
        kept = pa.Table.from_pylist(rows, schema=QUESTION_CLEANED)
        return ShardResult(kept, [*rejects, *faults], rows_in, metrics=metrics)

    def _file(self, ctx: StageContext) -> Path:
        return question_file(self._section.path, "eval.cleaning.path", ctx)

    def _models(self, ctx: StageContext) -> list[str]:
        """Returns the content of a model that this run trains; its label alone does not change."""
        from core.manifest import Manifest

        return [Manifest.require(ctx.folder(name), name).digest for name in self.inputs]
