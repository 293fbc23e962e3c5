"""What a judge gave: the distribution of its scores, what stays, its agreement with another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from core.atomic import atomic_file, write_json
from core.recipe.judge import Judge
from core.shards import shard_paths
from core.stage import JobResult, JobStage, StageContext
from synth.judge.agreement import agreement, agreement_record
from synth.judge.judged import Judged
from synth.judge.keep import minimums
from synth.judge.verdict import CRITERIA

REPORT_NAME = "scores.json"
PLOT_NAME = "scores.png"

_MILLION = 1_000_000


def distribution(judged: Judged) -> dict[str, Any]:
    """Returns how often each score was given, and how many pairs stay.

    Returns:
        ``pairs``, ``kept``, ``scale`` and ``criteria``: by name, ``counts`` of the scores 1, 2, ...
        and ``mean``; ``expected_mean`` where mean scores were asked for. Criteria that the judge
        does not score are left out.
    """
    paths = shard_paths(judged.folder)
    frame = pl.scan_parquet(paths, glob=False)
    kept = frame.select(pl.len(), judged.kept_expression().sum().alias("kept"))
    pairs, stay = kept.collect(engine="streaming").row(0)
    criteria: dict[str, Any] = {}
    for number, name in enumerate(CRITERIA):
        given = frame.select(
            pl.col(name).alias("score"),
            # Whole millionths: a sum of these is the same in any order.
            (pl.col("expected_scores").list.get(number, null_on_oob=True) * _MILLION)
            .round()
            .cast(pl.Int64)
            .alias("mean"),
        ).filter(pl.col("score").is_not_null())
        grouped = given.group_by("score").agg(
            pl.len().alias("n"), pl.col("mean").sum(), pl.col("mean").count().alias("means")
        )
        rows = grouped.sort("score").collect().rows()
        counts = dict.fromkeys(range(1, judged.scale + 1), 0) | {row[0]: row[1] for row in rows}
        total = sum(counts.values())
        if not total:
            continue
        means = sum(row[3] for row in rows)
        criteria[name] = {
            "counts": [counts[score] for score in range(1, judged.scale + 1)],
            "mean": sum(score * n for score, n in counts.items()) / total,
            "expected_mean": sum(row[2] for row in rows) / means / _MILLION if means else None,
        }
    return {"pairs": pairs, "kept": stay, "scale": judged.scale, "criteria": criteria}


def plot_scores(distributions: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draws the share of each score by criterion, one bar per judge, as a PNG.

    Args:
        distributions: by the judge's name, what :func:`distribution` gives; not empty.
        path: the picture, replaced.
    """
    # Here, since the command line must not wait a second for what few commands draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [n for n in CRITERIA if any(n in d["criteria"] for d in distributions.values())]
    figure = Figure(figsize=(3.2 * max(1, len(names)), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    width = 0.8 / len(distributions)
    top = max(given["scale"] for given in distributions.values())
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(1, len(names), place)
        for number, (judge, given) in enumerate(distributions.items()):
            counts = given["criteria"].get(name, {}).get("counts", [])
            total = sum(counts) or 1
            # A score of another scale stands at the same share of it.
            shift = (number - (len(distributions) - 1) / 2) * width
            places = [n / given["scale"] * top + shift for n in range(1, len(counts) + 1)]
            axes.bar(places, [c / total for c in counts], width=width, label=judge)
        axes.set_title(name.replace("_", "-"), fontsize="medium")
        axes.set_ylim(0, 1)
        axes.set_xlabel("score")
        axes.spines[["top", "right"]].set_visible(False)
        if place == 1:
            axes.set_ylabel("share of pairs")
            if len(distributions) > 1:
                axes.legend(fontsize="small", frameon=False)
    with atomic_file(path) as temporary:
        # The name and version of the program that drew it is left out.
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})


class JudgeReportStage(JobStage):
    """Score distributions, and the agreement of two judges."""

    name = "synth.judge_report"
    description = "How the judge scored, what stays, and how far a second judge agrees."
    row_unit = "pair"
    reconcile = "Counts the first judge's pairs; nothing is removed here."

    def __init__(self, judge: Judge, first: str, second: str | None) -> None:
        """Makes the stage.

        Args:
            judge: the recipe section.
            first: stage of the judged pairs.
            second: stage of the second judge's, if there is one.
        """
        self.inputs = (first,) if second is None else (first, second)
        self._scales = [judge.scale, judge.second.scale if judge.second else judge.scale]
        self._least = minimums(judge.keep, judge.scale)
        self._by_expected = judge.keep.by == "expected"

    def config(self) -> dict[str, Any]:
        """Returns the rule and the judges' scales."""
        return {"scales": self._scales, "least": self._least, "by_expected": self._by_expected}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes ``scores.json`` and ``scores.png``."""
        judges = [
            Judged(ctx.folder(self.inputs[0]), self._scales[0], self._least, self._by_expected)
        ]
        if len(self.inputs) > 1:
            # A second judge on the same scale is held to the same rule, by its integers.
            same = self._scales[0] == self._scales[1] and not self._by_expected
            top = dict.fromkeys(CRITERIA, float(self._scales[1]))
            least = self._least if same else top
            judges.append(Judged(ctx.folder(self.inputs[1]), self._scales[1], least))
        given = {
            name: distribution(judged) for name, judged in zip(self.inputs, judges, strict=True)
        }
        report: dict[str, Any] = {"judges": given}
        metrics: dict[str, Any] = {"kept": given[self.inputs[0]]["kept"]}
        both = all(entry["pairs"] for entry in given.values())
        if len(judges) > 1 and both:
            found = agreement(judges[0], judges[1])
            report["agreement"] = agreement_record(found)
            metrics |= {
                f"kappa_{one.name}": round(one.kappa, 6) for one in found if one.kappa is not None
            }
        write_json(out / REPORT_NAME, report)
        plot_scores(given, out / PLOT_NAME)
        pairs = given[self.inputs[0]]["pairs"]
        return JobResult(rows_in=pairs, rows_out=pairs, metrics=metrics)
