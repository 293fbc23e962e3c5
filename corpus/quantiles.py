"""Exact quantiles of paragraph perplexity over a corpus of any size, in bounded memory.

A first pass adds up logarithmic bins per source, a second collects the few bins that hold an
answer. A quantile may count paragraphs, as AstroMLab 3 does, or their tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import InputError
from core.shards import read_shard, shard_paths

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Weight = Literal["paragraphs", "tokens"]

_FINE_LOG = 20.0
"""Below e^20 (5e8) bins are narrow, 0.03%: there lie all but a few paragraphs."""
_FINE_PER_LOG, _COARSE_PER_LOG = 3_000, 8
_FINE_BINS = int(_FINE_LOG * _FINE_PER_LOG)
_BINS = 65_536


@dataclass(frozen=True)
class Scored:
    """The scored paragraphs of one shard, a column each.

    Args:
        shard: number of the shard, in order of file names.
        row: row in the shard of scores.
        source: index into :attr:`ScoredCorpus.sources`.
        perplexity: of each paragraph.
        tokens: its length.
        chars: its length.
    """

    shard: int
    row: Ints
    source: Ints
    perplexity: Floats
    tokens: Ints
    chars: Ints

    def weight(self, weight: Weight) -> Ints:
        """Returns what each paragraph counts."""
        return self.tokens if weight == "tokens" else np.ones_like(self.tokens)


class ScoredCorpus:
    """The scored paragraphs of a corpus with their sources, shard by shard, as often as needed.

    Args:
        scores: folder of paragraph scores.
        documents: folder of the documents they are aligned with.
    """

    def __init__(self, scores: Path, documents: Path) -> None:
        self.scores = shard_paths(scores)
        self.documents = shard_paths(documents)
        if len(self.scores) != len(self.documents):
            raise InputError(
                f"{len(self.scores)} shards of scores beside {len(self.documents)} of documents",
                where=str(scores),
                remedy="run the scoring stage again",
            )
        names: set[str] = set()
        for path in self.documents:
            names.update(pc.unique(read_shard(path, ["source"])["source"]).to_pylist())
        self.sources = sorted(names)

    def __iter__(self) -> Iterator[Scored]:
        columns = ["doc_id", "start_char", "end_char", "tokens", "perplexity"]
        for number, (scores, documents) in enumerate(zip(self.scores, self.documents, strict=True)):
            table = read_shard(scores, columns)
            rows = pa.array(np.arange(table.num_rows, dtype=np.int64))
            found = pc.is_valid(table["perplexity"])
            table = table.append_column("row", rows).filter(found)
            yield Scored(
                shard=number,
                row=_ints(table["row"]),
                source=self._source(table["doc_id"], documents),
                perplexity=np.asarray(table["perplexity"].to_numpy(), dtype=np.float64),
                tokens=_ints(table["tokens"]),
                chars=_ints(pc.subtract(table["end_char"], table["start_char"])),
            )

    def _source(self, ids: pa.ChunkedArray, documents: Path) -> Ints:
        table = read_shard(documents, ["doc_id", "source"])
        place = pc.index_in(ids, value_set=table["doc_id"].combine_chunks())
        if place.null_count:
            raise InputError(
                "there are scores of documents that are not there",
                where=str(documents),
                remedy="run the scoring stage again",
            )
        codes = pc.index_in(table["source"], value_set=pa.array(self.sources, pa.string()))
        return _ints(codes.take(place))


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), dtype=np.int64)


def exact_thresholds(
    corpus: ScoredCorpus, quantiles: Sequence[float], weight: Weight = "paragraphs"
) -> npt.NDArray[np.float64]:
    """Returns the perplexities above which the worst shares of the corpus lie, exactly.

    The threshold of share ``q`` is the smallest perplexity of any paragraph such that all those
    above it weigh at most ``floor(q * total)``: that many where no values tie, fewer where they do.

    Args:
        corpus: read two times.
        quantiles: shares to cut, each from 0 to below 1.
        weight: what the shares are of.

    Returns:
        (sources + 1, quantiles): each source's own, and in the last row the whole corpus's. NaN
        where there is nothing scored.
    """
    sums = np.zeros((len(corpus.sources) + 1, _BINS), dtype=np.int64)
    for scored in corpus:
        np.add.at(sums, (scored.source, _bin(scored.perplexity)), scored.weight(weight))
    sums[-1] = sums[:-1].sum(axis=0)
    chosen = np.zeros((len(sums), len(quantiles)), dtype=np.int64)
    wanted = np.zeros_like(sums, dtype=bool)
    for row, weights in enumerate(sums):
        for column, quantile in enumerate(quantiles):
            fits = (weights > 0) & (_above(weights) <= math.floor(quantile * weights.sum()))
            chosen[row, column] = int(fits.argmax())
            wanted[row, chosen[row, column]] = weights.any()
    values, weigh, sources = _collect(corpus, wanted, weight)
    bins = _bin(values)
    answer = np.full(chosen.shape, np.nan)
    for row, weights in enumerate(sums):
        mine = np.ones_like(bins, dtype=bool) if row == len(sums) - 1 else sources == row
        for column, quantile in enumerate(quantiles):
            inside = mine & (bins == chosen[row, column])
            if not weights.any():
                continue
            budget = math.floor(quantile * weights.sum())
            above = int(_above(weights)[chosen[row, column]])
            answer[row, column] = _smallest(values[inside], weigh[inside], budget - above)
    return answer


def _smallest(values: Floats, weights: Ints, budget: int) -> float:
    """Returns the smallest of the values above which the others weigh at most ``budget``."""
    distinct, place = np.unique(values, return_inverse=True)
    sums = np.zeros(len(distinct), dtype=np.int64)
    np.add.at(sums, place, weights)
    return float(distinct[int((_above(sums) <= budget).argmax())])


def _above(sums: Ints) -> Ints:
    """Returns the sum of all later entries, for each entry."""
    return np.asarray(sums.sum() - np.cumsum(sums))


def _collect(
    corpus: ScoredCorpus, wanted: npt.NDArray[np.bool_], weight: Weight
) -> tuple[Floats, Ints, Ints]:
    """Returns perplexity, weight and source of the paragraphs in the wanted bins."""
    values: list[Floats] = [np.empty(0)]
    weights: list[Ints] = [np.empty(0, dtype=np.int64)]
    sources: list[Ints] = [np.empty(0, dtype=np.int64)]
    for scored in corpus:
        bins = _bin(scored.perplexity)
        keep = wanted[-1, bins] | wanted[scored.source, bins]
        values.append(scored.perplexity[keep])
        weights.append(scored.weight(weight)[keep])
        sources.append(scored.source[keep])
    return np.concatenate(values), np.concatenate(weights), np.concatenate(sources)


def _bin(values: Floats) -> Ints:
    log = np.log(np.maximum(values, 1.0))
    coarse = _FINE_BINS + (log - _FINE_LOG) * _COARSE_PER_LOG
    scaled = np.where(log < _FINE_LOG, log * _FINE_PER_LOG, coarse)
    return np.asarray(np.minimum(scaled.astype(np.int64), _BINS - 1))
