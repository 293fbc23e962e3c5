"""A judge against pairs with planted faults.

``samples/judge/planted.jsonl`` has good pairs, and pairs with a wrong answer, with a question that
needs its source, and with a question that nobody gains from. A good judge keeps the first and drops
the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError
from core.llm.engine import Engine
from core.recipe.judge import Judge
from core.stage import StageContext
from synth.judge.keep import minimums, shortfalls
from synth.judge.prompt import Asked, Prompter
from synth.judge.stage import judge_pairs

GOOD = "none"

_KEYS = ("pair_id", "fault", "title", "passage", "question", "answer")


@dataclass(frozen=True)
class Planted:
    """One pair with a known fault, or without one."""

    pair_id: str
    fault: str
    title: str
    passage: str
    question: str
    answer: str


@dataclass(frozen=True)
class Outcome:
    """What a judge made of one pair.

    Args:
        pair: the pair.
        kept: whether it would stay.
        why: what kept it from staying; the reason where the verdict could not be read.
        parsed: whether it could.
    """

    pair: Planted
    kept: bool
    why: str
    parsed: bool


@dataclass(frozen=True)
class Measured:
    """A judge's result on the planted pairs. A verdict that cannot be read drops its pair."""

    judge: str
    outcomes: Sequence[Outcome]

    def count(self, fault: str | None = None, kept: bool | None = None) -> int:
        """Returns how many pairs have a fault (``none``: a good pair) and were kept or dropped."""
        return sum(
            (fault is None or one.pair.fault == fault) and (kept is None or one.kept == kept)
            for one in self.outcomes
        )

    @property
    def faults(self) -> list[str]:
        """The kinds of fault, in the order of the file."""
        return list(dict.fromkeys(o.pair.fault for o in self.outcomes if o.pair.fault != GOOD))

    @property
    def precision(self) -> tuple[int, int]:
        """Good pairs among the kept ones: (good and kept, kept)."""
        return self.count(GOOD, kept=True), self.count(kept=True)

    @property
    def recall(self) -> tuple[int, int]:
        """Kept pairs among the good ones: (good and kept, good)."""
        return self.count(GOOD, kept=True), self.count(GOOD)

    def caught(self, fault: str) -> tuple[int, int]:
        """Dropped pairs among those with a fault: (dropped, all)."""
        return self.count(fault, kept=False), self.count(fault)

    @property
    def unparsed(self) -> int:
        """Verdicts that could not be read."""
        return sum(not one.parsed for one in self.outcomes)

    def record(self) -> Mapping[str, object]:
        """Returns the result as JSON values."""
        return {
            "judge": self.judge,
            "pairs": len(self.outcomes),
            "unparsed": self.unparsed,
            "precision": self.precision,
            "recall": self.recall,
            "caught": {fault: self.caught(fault) for fault in self.faults},
            "wrong": [
                {"pair_id": o.pair.pair_id, "fault": o.pair.fault, "kept": o.kept, "why": o.why}
                for o in self.outcomes
                if o.kept != (o.pair.fault == GOOD)
            ],
        }


def read_planted(path: Path) -> list[Planted]:
    """Reads the planted pairs.

    Raises:
        InputError: the file is missing or a line has not the keys.
    """
    found = []
    number = 0
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        for number, line in enumerate(lines, 1):  # noqa: B007 - the error names it
            row = json.loads(line)
            values = [row[key] for key in _KEYS]
            if not all(isinstance(value, str) and value for value in values):
                raise ValueError("every value is a text that is not empty")
            found.append(Planted(*values))
        if not found:
            raise ValueError("the file is empty")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"these are no planted pairs: {type(error).__name__}: {error}",
            where=f"{path}, line {number}",
            remedy=f"JSON lines with {', '.join(_KEYS)}, as in samples/judge/planted.jsonl",
        ) from error
    return found


def measure(
    judge: Judge, ctx: StageContext, engine: Engine, planted: Sequence[Planted]
) -> Measured:
    """Asks a judge about the planted pairs and applies the recipe's rule.

    Args:
        judge: the recipe section.
        ctx: where its files are.
        engine: the judge, opened.
        planted: the pairs; their passages are shown if the section says so.
    """
    prompter = Prompter(judge, ctx)
    pairs = [{"qa_id": p.pair_id, "question": p.question, "answer": p.answer} for p in planted]
    requests = [prompter.request(Asked(p.question, p.answer, p.title, p.passage)) for p in planted]
    rows, rejects = judge_pairs(pairs, requests, engine.generate(requests), judge, engine)
    least = minimums(judge.keep, judge.scale)
    short = {
        row["qa_id"]: ", ".join(shortfalls(row, least, judge.keep.by == "expected")) for row in rows
    }
    unread = {reject.doc_id: reject.detail for reject in rejects}
    return Measured(
        engine.label,
        [
            Outcome(p, False, f"no verdict: {unread[p.pair_id]}", False)
            if p.pair_id in unread
            else Outcome(p, not short[p.pair_id], short[p.pair_id], True)
            for p in planted
        ],
    )
