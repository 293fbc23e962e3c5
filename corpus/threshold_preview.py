"""What each threshold would cut, and what the text on both sides of the line looks like.

Files beside ``threshold.json``: ``preview.json`` with all numbers, ``preview.html`` made from it
(:mod:`corpus.threshold_page`). Scores are read once, texts only of the documents that a sample is
taken from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from core.shards import read_shard
from corpus.quantiles import Floats, Ints, Scored, ScoredCorpus

QUANTILES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares that a preview shows, besides the recipe's own."""

BINS_PER_DECADE = 20
MAX_DECADES = 12
"""The histogram ends at 10^12, the highest perplexity of AstroMLab 3, Figure 1."""

POOL = 60
"""Paragraphs nearest to the line that a sample is drawn from."""

SHOWN = 5
"""Paragraphs shown of each kind."""

SAMPLE_CHARS = 700

_UNITS = ("paragraphs", "tokens", "chars")
_GROUPS = ("highest", "above", "below", "lowest")


class _Pool:
    """The ``POOL`` paragraphs with the smallest keys seen so far; ties go by place."""

    def __init__(self) -> None:
        self._best: npt.NDArray[np.float64] = np.empty((0, 3))

    def add(self, keys: Floats, shard: int, rows: Ints) -> None:
        """Takes note of paragraphs; those with an infinite key never belong."""
        near = np.isfinite(keys)
        if not near.any():
            return
        new = np.column_stack([keys[near], np.full(int(near.sum()), shard), rows[near]])
        both = np.concatenate([self._best, new])
        self._best = both[np.lexsort((both[:, 2], both[:, 1], both[:, 0]))[:POOL]]

    def places(self) -> list[tuple[int, int]]:
        """Returns (shard, row), the smallest key first."""
        return [(int(shard), int(row)) for _, shard, row in self._best]


class _Tally:
    """Sums over all scored paragraphs, per source."""

    def __init__(self, sources: int, steps: Floats, chosen: Floats) -> None:
        self._steps, self._chosen = steps, chosen
        self.scored = np.zeros((sources, 3), dtype=np.int64)
        self.above = np.zeros((sources, 3), dtype=np.int64)
        self.dropped = np.zeros((sources, steps.shape[1], 3), dtype=np.int64)
        self.histogram = np.zeros((sources, BINS_PER_DECADE * MAX_DECADES), dtype=np.int64)
        self.pools = {name: _Pool() for name in _GROUPS}

    def add(self, scored: Scored) -> None:
        """Counts one shard."""
        units = np.column_stack([np.ones_like(scored.tokens), scored.tokens, scored.chars])
        values, source = scored.perplexity, scored.source
        line = self._chosen[source]
        np.add.at(self.scored, source, units)
        np.add.at(self.above, source[values > line], units[values > line])
        for step in range(self._steps.shape[1]):
            cut = values > self._steps[source, step]
            np.add.at(self.dropped[:, step], source[cut], units[cut])
        log = np.log(values)
        place = np.floor(log / math.log(10) * BINS_PER_DECADE).astype(np.int64)
        np.add.at(self.histogram, (source, np.minimum(place, self.histogram.shape[1] - 1)), 1)
        with np.errstate(invalid="ignore"):
            distance = log - np.log(line)
        keys = {
            "highest": -log,
            "above": np.where(distance > 0, distance, np.inf),
            "below": np.where(distance <= 0, -distance, np.inf),
            "lowest": log,
        }
        for name, pool in self.pools.items():
            pool.add(keys[name], scored.shard, scored.row)


def make_preview(
    corpus: ScoredCorpus,
    quantiles: Sequence[float],
    steps: Floats,
    chosen: Floats,
    seed: int,
) -> dict[str, Any]:
    """Returns what ``preview.json`` holds.

    Args:
        corpus: the scored paragraphs.
        quantiles: shares to show.
        steps: (sources, quantiles): the line of each source at each share.
        chosen: (sources,): the line that counts.
        seed: of the samples.
    """
    tally = _Tally(len(corpus.sources), steps, chosen)
    for scored in corpus:
        tally.add(scored)
    grid = []
    for step, quantile in enumerate(quantiles):
        lines = {name: _finite(steps[row, step]) for row, name in enumerate(corpus.sources)}
        one = set(lines.values())
        grid.append(
            {
                "quantile": quantile,
                "threshold": one.pop() if len(one) == 1 else None,
                **_units(tally.dropped[:, step].sum(axis=0)),
                "sources": {
                    name: {"threshold": lines[name], **_units(tally.dropped[row, step])}
                    for row, name in enumerate(corpus.sources)
                },
            }
        )
    return {
        "scored": _units(tally.scored.sum(axis=0)),
        "above": _units(tally.above.sum(axis=0)),
        "sources": {
            name: {
                "line": _finite(chosen[row]),
                "scored": _units(tally.scored[row]),
                "above": _units(tally.above[row]),
                "histogram": tally.histogram[row].tolist(),
            }
            for row, name in enumerate(corpus.sources)
        },
        "bins_per_decade": BINS_PER_DECADE,
        "grid": grid,
        "samples": _samples(corpus, tally.pools, chosen, seed),
    }


def _units(counts: npt.NDArray[np.int64]) -> dict[str, int]:
    return {unit: int(count) for unit, count in zip(_UNITS, counts, strict=True)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _samples(
    corpus: ScoredCorpus, pools: dict[str, _Pool], chosen: Floats, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Returns some paragraphs of each pool with their text, ordered by perplexity."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[tuple[int, int]]] = {}
    for name, pool in pools.items():
        places = pool.places()
        few = np.sort(rng.permutation(len(places))[:SHOWN])
        # At the extremes the very first are what one wants to see.
        few = np.arange(len(places))[:SHOWN] if name in ("highest", "lowest") else few
        drawn[name] = [places[n] for n in few]
    found: dict[tuple[int, int], dict[str, Any]] = {}
    every = {place for places in drawn.values() for place in places}
    for shard in sorted({shard for shard, _ in every}):
        rows = sorted(row for other, row in every if other == shard)
        for row, sample in zip(rows, _texts(corpus, shard, rows), strict=True):
            found[shard, row] = sample
    for sample in found.values():
        sample["line"] = _finite(chosen[corpus.sources.index(sample["source"])])
    return {
        name: sorted((found[place] for place in places), key=lambda s: -float(s["perplexity"]))
        for name, places in drawn.items()
    }


def _texts(corpus: ScoredCorpus, shard: int, rows: list[int]) -> list[dict[str, Any]]:
    """Reads a few paragraphs of one shard."""
    columns = ["doc_id", "paragraph", "start_char", "end_char", "tokens", "perplexity"]
    scores = read_shard(corpus.scores[shard], columns).take(rows).to_pylist()
    ids = pa.array({row["doc_id"] for row in scores}, pa.string())
    documents = read_shard(corpus.documents[shard], ["doc_id", "source", "title", "text"])
    documents = documents.filter(pc.is_in(documents["doc_id"], value_set=ids))
    by_id = {document["doc_id"]: document for document in documents.to_pylist()}
    samples = []
    for row in scores:
        document = by_id[row["doc_id"]]
        text = document["text"][row.pop("start_char") : row.pop("end_char")]
        about = {"source": document["source"], "title": document["title"] or ""}
        samples.append({**row, **about, "chars": len(text), "text": _clipped(text)})
    return samples


def _clipped(text: str) -> str:
    if len(text) <= SAMPLE_CHARS:
        return text
    half = SAMPLE_CHARS // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters …]\n{text[-half:]}"


def preview_table(folder: Path) -> Table:
    """Returns the preview of a finished threshold stage as a table for the terminal.

    Args:
        folder: the stage's, with ``preview.json``.
    """
    preview = json.loads((folder / "preview.json").read_text(encoding="utf-8"))
    line, scored = preview["line"], preview["scored"]
    fixed = line["max_perplexity"] is not None
    table = Table(title="What each threshold cuts", caption=_caption(preview))
    for name in ("worst", "perplexity above", "paragraphs", "tokens", "of all tokens"):
        table.add_column(name, justify="right")
    for step in preview["grid"]:
        mine = not fixed and step["quantile"] == line["drop_quantile"]
        above = "own lines"
        if not line["per_source"] and step["threshold"] is not None:
            above = f"{step['threshold']:,.1f}"
        table.add_row(
            f"{100 * step['quantile']:g}%",
            above,
            f"{step['paragraphs']:,}",
            f"{step['tokens']:,}",
            _share(step["tokens"], scored["tokens"]),
            style="bold" if mine else None,
        )
    return table


def _caption(preview: dict[str, Any]) -> str:
    line, scored, above = preview["line"], preview["scored"], preview["above"]
    quantile = 100 * line["drop_quantile"]
    if line["max_perplexity"] is not None:
        chosen = f"the recipe's fixed {line['max_perplexity']:,.1f}"
    elif line["per_source"]:
        chosen = f"the worst {quantile:g}% of each source's {line['quantile_of']}"
    else:
        chosen = f"the worst {quantile:g}% of {line['quantile_of']}"
    return (
        f"Line: {chosen}. It cuts {above['paragraphs']:,} of {scored['paragraphs']:,} scored "
        f"paragraphs ({_share(above['paragraphs'], scored['paragraphs'])}) and "
        f"{_share(above['tokens'], scored['tokens'])} of their tokens."
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "0%"
