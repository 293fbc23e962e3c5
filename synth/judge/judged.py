"""A judged folder on disk, and the rule by which its pairs stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import UsageError
from core.manifest import Manifest
from core.recipe.judge import SCORE_SCALE
from core.shards import shard_paths
from synth.judge.keep import shortfalls
from synth.judge.verdict import CRITERIA


@dataclass(frozen=True)
class Judged:
    """A folder of :data:`core.schema.QA_SCORED`.

    Args:
        folder: where it is.
        scale: the judge's highest score.
        least: the least score of every criterion for a pair to stay.
        by_expected: whether mean scores are compared with them.
        documents: folder of the documents that the pairs were written from, where it is known.
    """

    folder: Path
    scale: int
    least: Mapping[str, float]
    by_expected: bool = False
    documents: Path | None = None

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Tells whether a judged pair stays."""
        return not shortfalls(row, self.least, self.by_expected)

    def kept_expression(self) -> pl.Expr:
        """Returns :meth:`keeps` for Polars."""
        tests = []
        for number, name in enumerate(CRITERIA):
            score = pl.col(name).cast(pl.Float64)
            if self.by_expected:
                mean = pl.col("expected_scores").list.get(number, null_on_oob=True)
                score = pl.when(pl.col(name).is_null()).then(None).otherwise(mean.fill_null(0.0))
            tests.append(score.is_null() | (score >= self.least[name]))
        return pl.all_horizontal(tests)


def open_judged(path: Path, step: str = "judge") -> Judged:
    """Opens a run's judged pairs, or a folder of them.

    The rule is that of ``synth.pairs`` beside it where that has run; else only perfect pairs stay.

    Args:
        path: a run, or a stage folder such as ``runs/x/synth/judge``.
        step: for a run: ``judge`` or ``judge_second``.

    Raises:
        UsageError: there are no judged pairs.
    """
    folder = path / "synth" / step if (path / "synth").is_dir() else path
    shards = shard_paths(folder)
    if not shards or not set(CRITERIA) <= set(pl.read_parquet_schema(shards[0])):
        raise UsageError(
            "there are no judged pairs here",
            where=str(folder),
            remedy="name a run whose stage synth.judge has run, or its folder synth/judge",
        )
    manifest = Manifest.load(folder)
    config = manifest.config if manifest is not None else {}
    scale = int(config["rating_scale"]) if config.get("mode") == "rating" else SCORE_SCALE
    least: dict[str, float] = dict.fromkeys(CRITERIA, float(scale))
    by_expected = False
    pairs = Manifest.load(folder.parent / "pairs")
    if pairs is not None and manifest is not None and manifest.stage in pairs.inputs:
        least = {name: float(value) for name, value in pairs.config["least"].items()}
        by_expected = pairs.config["by"] == "expected"
    return Judged(folder, scale, least, by_expected, _documents(folder, config))


def _documents(folder: Path, config: Mapping[str, Any]) -> Path | None:
    """Returns the folder of the documents, if the run has it."""
    named = config.get("documents")
    qa = Manifest.load(folder.parent / "qa")
    if named is None and qa is not None:
        named = next(iter(qa.inputs), None)
    if not isinstance(named, str):
        return None
    found = folder.parent.parent.joinpath(*named.split("."))
    return found if shard_paths(found) else None
