"""Held-out likelihoods added up: perplexity and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from core.recipe.eval import HeldoutSet
from core.shards import shard_paths
from eval.scores.rows import collect

_COLUMNS = ("tokens", "bytes", "negative_log_likelihood")


def heldout_scores(rows: pl.DataFrame) -> dict[str, Any]:
    """Sums likelihoods over the documents of one model and set.

    Args:
        rows: with the columns ``tokens, bytes, negative_log_likelihood``.

    Returns:
        ``documents``, ``tokens``, ``bytes``, ``perplexity`` = exp(nll / tokens) and
        ``bits_per_byte`` = nll / ln 2 / bytes; the last two None where there is nothing.
    """
    tokens, size_bytes = int(rows["tokens"].sum()), int(rows["bytes"].sum())
    # fsum: the same to the last bit however the rows were read.
    nll = math.fsum(rows["negative_log_likelihood"].drop_nulls().to_numpy())
    return {
        "documents": len(rows),
        "tokens": tokens,
        "bytes": size_bytes,
        "perplexity": _exp(nll / tokens) if tokens else None,
        "bits_per_byte": nll / math.log(2) / size_bytes if size_bytes else None,
    }


def _exp(value: float) -> float | None:
    # Beyond 700 nats a token exp() overflows; such a model is broken, and inf is no JSON.
    return math.exp(value) if value < 700 else None


def model_likelihoods(
    folder: Path | None, model: str, sets: Sequence[HeldoutSet]
) -> list[dict[str, Any]]:
    """Returns a model's scores on every set.

    Args:
        folder: of ``eval.heldout``, None where no text is held out.
        model: name in the tables.
        sets: of the recipe.
    """
    paths = shard_paths(folder) if folder else []
    entries = []
    for held in sets:
        rows = pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.Float64))
        if paths:
            mine = (pl.col("model") == model) & (pl.col("set") == held.name)
            rows = collect(pl.scan_parquet(paths).filter(mine).select(_COLUMNS), paths[0].parent)
        entries.append({"set": held.name, "group": held.group, **heldout_scores(rows)})
    return entries
