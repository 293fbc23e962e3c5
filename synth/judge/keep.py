"""Which judged pairs stay: those that reach every minimum. AstroMLab 3 keeps perfect ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from core.recipe.judge import Judge, Keep
from core.rejects import Reason, Reject
from core.schema import QA_SCORED
from core.stage import ShardResult, ShardStage, StageContext, Unit
from synth.judge.stage import pair_text
from synth.judge.verdict import CRITERIA

ROUNDS_TO_PERFECT = 0.5
"""A mean score this far below the top rounds to it."""


def minimums(keep: Keep, scale: int) -> dict[str, float]:
    """Returns the least score of every criterion.

    Args:
        keep: the recipe section.
        scale: the judge's highest score, asked for where the section names none.
    """
    perfect = scale - (ROUNDS_TO_PERFECT if keep.by == "expected" else 0)
    given = {name: getattr(keep, name) for name in CRITERIA}
    return {name: perfect if least is None else least for name, least in given.items()}


def shortfalls(
    row: Mapping[str, Any], least: Mapping[str, float], by_expected: bool = False
) -> list[str]:
    """Returns what keeps a judged pair from staying, as ``correctness 3 < 5``; of a kept one, none.

    A criterion that the judge does not score (all but ``overall`` in the mode ``rating``) asks for
    nothing; a mean score that could not be had is a shortfall.
    """
    found = []
    for number, name in enumerate(CRITERIA):
        score = row[name]
        if score is None:
            continue
        if by_expected:
            means = row["expected_scores"]
            score = None if means is None else means[number]
        if score is None:
            found.append(f"no expected {name}")
        elif score < least[name]:
            found.append(f"{name} {score:.4g} < {least[name]:g}")
    return found


def split_pairs(
    scored: pa.Table, least: Mapping[str, float], by_expected: bool = False
) -> tuple[pa.Table, list[Reject]]:
    """Returns a shard's pairs that stay, and a reject for each that does not."""
    mask: list[bool] = []
    rejects: list[Reject] = []
    columns = ["qa_id", "question", "answer", *CRITERIA, "expected_scores"]
    for batch in scored.select(columns).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            short = shortfalls(row, least, by_expected)
            mask.append(not short)
            if short:
                shown = pair_text(row)
                rejects.append(Reject(row["qa_id"], Reason.LOW_SCORE, ", ".join(short), shown))
    return scored.filter(pa.array(mask, pa.bool_())), rejects


class PairsStage(ShardStage):
    """Judged pairs to the pairs that stay."""

    name = "synth.pairs"
    description = "The question-answer pairs whose scores reach the recipe's minimums."
    row_unit = "pair"
    schema = QA_SCORED

    def __init__(self, judge: Judge, judged: str) -> None:
        """Makes the stage.

        Args:
            judge: the recipe section.
            judged: stage of the judged pairs.
        """
        self.inputs = self.aligned = (judged,)
        self._by = judge.keep.by
        self._least = minimums(judge.keep, judge.scale)

    def config(self) -> dict[str, Any]:
        """Returns the least scores and what is compared with them."""
        return {"by": self._by, "least": self._least}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Keeps by score in one shard."""
        (scored,) = self.read(unit, ctx)
        kept, rejects = split_pairs(scored, self._least, self._by == "expected")
        rows = scored.num_rows
        return ShardResult(kept, rejects, rows)
