"""The perplexity threshold: from a quantile over scored paragraphs, or a fixed value.

One line for the corpus, or one per source: what a model finds unlikely in an encyclopedia is
everyday in a paper full of formulas. ``threshold.json`` holds both kinds of line and says which
one counts; beside it lie ``preview.json`` and ``preview.html``, to choose another by.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic import write_json, write_text
from core.recipe.corpus import Perplexity
from core.stage import JobResult, JobStage, StageContext
from corpus.quantiles import Floats, ScoredCorpus, Weight, exact_thresholds
from corpus.threshold_page import render_page
from corpus.threshold_preview import QUANTILES, make_preview

THRESHOLD_NAME = "threshold.json"
PREVIEW_NAME = "preview.json"
PAGE_NAME = "preview.html"


@dataclass(frozen=True)
class Thresholds:
    """The lines that count.

    Args:
        corpus: of any source without a line of its own; infinity where nothing was scored.
        sources: by source, empty where all share one.
    """

    corpus: float
    sources: Mapping[str, float]

    def of(self, source: str) -> float:
        """Returns the perplexity above which a source's paragraphs are cut."""
        return self.sources.get(source, self.corpus)


def read_thresholds(folder: Path) -> Thresholds:
    """Returns the thresholds that the stage wrote."""
    found = json.loads((folder / THRESHOLD_NAME).read_text(encoding="utf-8"))
    own = found["sources"] if found.get("per_source") else {}
    return Thresholds(
        _line(found["threshold"]), {name: _line(entry["threshold"]) for name, entry in own.items()}
    )


def _line(value: float | None) -> float:
    return math.inf if value is None else float(value)


class ThresholdStage(JobStage):
    """The line between kept and cut paragraphs."""

    name = "corpus.threshold"
    description = "The perplexity threshold, from the quantile or value in the recipe."
    code_version = 2
    row_unit = "paragraph"
    reconcile = "Counts scored paragraphs; nothing is cut here."

    def __init__(
        self,
        perplexity: Perplexity,
        scores: str,
        documents: str,
        *,
        per_source: bool = False,
        quantile_of: Weight = "paragraphs",
    ) -> None:
        """Takes the recipe's section.

        Args:
            perplexity: the section.
            scores: stage of the paragraph scores.
            documents: stage of the documents they are aligned with.
            per_source: the quantile is taken in each source by itself.
            quantile_of: what the quantile is a share of.
        """
        self.inputs = (scores, documents)
        self._drop_quantile = perplexity.drop_quantile
        self._max_perplexity = perplexity.max_perplexity
        self._per_source = per_source
        self._quantile_of = quantile_of

    def config(self) -> dict[str, Any]:
        """Returns the quantile, what it is of, and the fixed value."""
        return {
            "drop_quantile": self._drop_quantile,
            "max_perplexity": self._max_perplexity,
            "per_source": self._per_source,
            "quantile_of": self._quantile_of,
        }

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Reads all scores; writes ``threshold.json`` and the preview."""
        scores, documents = (ctx.folder(name) for name in self.inputs)
        corpus = ScoredCorpus(scores, documents)
        quantiles = sorted({*QUANTILES, self._drop_quantile})
        grid = exact_thresholds(corpus, quantiles, self._quantile_of)
        lines = grid[:, quantiles.index(self._drop_quantile)]
        per_source = self._per_source and self._max_perplexity is None
        if self._max_perplexity is not None:
            lines = np.full_like(lines, self._max_perplexity)
        chosen = _in_force(lines, per_source)
        steps = np.stack([_in_force(grid[:, n], per_source) for n in range(len(quantiles))], axis=1)
        preview = make_preview(corpus, quantiles, steps, chosen, ctx.seed)
        cut = {name: entry["above"] for name, entry in preview["sources"].items()}
        totals = {name: entry["scored"] for name, entry in preview["sources"].items()}
        metrics = {
            "threshold": _json(lines[-1]),
            **{f"{unit}_scored": preview["scored"][unit] for unit in preview["scored"]},
            **{f"{unit}_above": preview["above"][unit] for unit in preview["above"]},
        }
        threshold = {
            **metrics,
            **self.config(),
            "per_source": per_source,
            "sources": {
                name: {
                    "threshold": _json(lines[row]),
                    **{f"{unit}_scored": count for unit, count in totals[name].items()},
                    **{f"{unit}_above": count for unit, count in cut[name].items()},
                }
                for row, name in enumerate(corpus.sources)
            },
        }
        write_json(out / THRESHOLD_NAME, threshold)
        write_json(out / PREVIEW_NAME, {**preview, "line": threshold})
        write_text(out / PAGE_NAME, render_page({**preview, "line": threshold}))
        scored = preview["scored"]["paragraphs"]
        return JobResult(rows_in=scored, rows_out=scored, metrics=metrics)


def _in_force(lines: Floats, per_source: bool) -> Floats:
    """Returns each source's line: its own or the corpus's; infinity where there is none."""
    chosen = lines[:-1] if per_source else np.full(len(lines) - 1, lines[-1])
    return np.where(np.isnan(chosen), math.inf, chosen)


def _json(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
