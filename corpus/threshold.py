"""The perplexity threshold: from a quantile over all scored paragraphs, or a fixed value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.atomic import write_json
from core.recipe.corpus import Perplexity
from core.shards import stream_batches
from core.stage import JobResult, JobStage, StageContext
from corpus.perplexity import LOG_MAX

THRESHOLD_NAME = "threshold.json"

_BINS = 65_536


def read_threshold(folder: Path) -> float:
    """Returns the threshold that the stage wrote; infinity where nothing was scored."""
    threshold = json.loads((folder / THRESHOLD_NAME).read_text(encoding="utf-8"))["threshold"]
    return math.inf if threshold is None else float(threshold)


def exact_threshold(
    chunks: Iterable[Iterable[npt.NDArray[np.float64]]], drop_quantile: float
) -> float | None:
    """Returns the perplexity above which the worst share of paragraphs lies, exactly.

    Cutting everything above it removes ``floor(drop_quantile * n)`` paragraphs (fewer where values
    tie). Memory does not grow with n: a first pass counts values in logarithmic bins, a second
    collects the one bin that holds the answer.

    Args:
        chunks: an iterable that gives the same stream of value arrays each of two times.
        drop_quantile: share to cut, 0 to below 1.

    Returns:
        The threshold, or None when there are no values.
    """
    first, second = chunks
    counts = np.zeros(_BINS, dtype=np.int64)
    for values in first:
        counts += np.bincount(_bin(values), minlength=_BINS)
    total = int(counts.sum())
    if total == 0:
        return None
    rank = total - math.floor(drop_quantile * total) - 1
    below = np.cumsum(counts)
    chosen = int(np.searchsorted(below, rank, side="right"))
    inside = [values[_bin(values) == chosen] for values in second]
    offset = rank - (int(below[chosen - 1]) if chosen else 0)
    return float(np.sort(np.concatenate(inside))[offset])


def _bin(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    scaled = np.log(np.maximum(values, 1.0)) * (_BINS / LOG_MAX)
    return np.asarray(np.minimum(scaled.astype(np.int64), _BINS - 1))


class ThresholdStage(JobStage):
    """The line between kept and cut paragraphs."""

    name = "corpus.threshold"
    description = "The perplexity threshold, from the quantile or value in the recipe."
    row_unit = "paragraph"
    reconcile = "Counts scored paragraphs; nothing is cut here."

    def __init__(self, perplexity: Perplexity, scores: str) -> None:
        self.inputs = (scores,)
        self._drop_quantile = perplexity.drop_quantile
        self._max_perplexity = perplexity.max_perplexity

    def config(self) -> dict[str, Any]:
        """Returns the quantile and the fixed value."""
        return {"drop_quantile": self._drop_quantile, "max_perplexity": self._max_perplexity}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Reads all scores, writes ``threshold.json``."""
        folder = ctx.folder(self.inputs[0])
        threshold = self._max_perplexity
        if threshold is None:
            passes = (_values(folder), _values(folder))
            threshold = exact_threshold(passes, self._drop_quantile)
        scored = sum(len(v) for v in _values(folder))
        above = sum(int((v > threshold).sum()) for v in _values(folder)) if threshold else 0
        metrics = {"threshold": threshold, "paragraphs_scored": scored, "paragraphs_above": above}
        write_json(out / THRESHOLD_NAME, metrics)
        return JobResult(rows_in=scored, rows_out=scored, metrics=metrics)


def _values(folder: Path) -> Iterator[npt.NDArray[np.float64]]:
    for batch in stream_batches(folder, ["perplexity"], batch_rows=65_536):
        yield batch.column(0).drop_null().to_numpy(zero_copy_only=False)
