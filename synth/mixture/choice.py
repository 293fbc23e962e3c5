"""Who stays: conversations put in rank, duplicates among them, and how often each is taken.

Rank: what holds a benchmark item comes first, then the recipe's order of sets, then each row's
random key. So of conversations that say the same

* none stays where one of them holds a benchmark item: a near copy of it asks the same;
* else the one of the best set stays, and within a set the one that a sample takes first: a sample
  is the first rows of its set. It takes nearly the same rows when the set grows, and a smaller one
  takes rows of the larger one only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from core.minhash.search import find_near
from core.recipe.mixture import Mixture
from core.shards import count_rows
from synth.mixture.rows import HASH_BYTES
from synth.mixture.sets import Flags, Ints, entry_of_sets, times_taken

Keys = npt.NDArray[np.uint64]

_BATCH_ROWS = 8_192
_COLUMNS = [
    *("conv_id", "dataset", "key", "id_hash", "said_hash", "bytes", "tokens", "contaminated"),
]


class Fate(IntEnum):
    """What becomes of a conversation."""

    TAKEN = 0
    CONTAMINATED = 1
    EXACT_DUPLICATE = 2
    NEAR_DUPLICATE = 3
    NOT_SAMPLED = 4


@dataclass
class Rows:
    """What is known of all conversations; arrays in the order of shards and rows.

    Args:
        shards: files of rows, as :class:`synth.mixture.rows.MixtureRowsStage` makes them.
        offsets: rows before each shard, and of all.
        sets: names of sets, in order of appearance.
        in_set: number of each row's set.
        key, id_hash, said_hash (as two numbers), bytes, tokens: its columns.
        items: the benchmark items of the rows that hold any.
        conv_ids: a piece per batch of rows.
    """

    shards: list[Path]
    offsets: Ints
    sets: list[str]
    in_set: npt.NDArray[np.int16]
    key: Keys
    id_hash: Keys
    said_hash: Keys
    bytes: Ints
    tokens: npt.NDArray[np.int32]
    items: dict[int, list[str]] = field(default_factory=dict)
    conv_ids: pa.ChunkedArray | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.offsets[-1])


def read_rows(shards: list[Path]) -> Rows:
    """Reads all that fits in about 100 bytes per row; signatures stay on disk."""
    counts = [count_rows(path) for path in shards]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(offsets[-1])
    rows = Rows(
        shards,
        offsets,
        [],
        in_set=np.empty(total, dtype=np.int16),
        key=np.empty(total, dtype=np.uint64),
        id_hash=np.empty(total, dtype=np.uint64),
        said_hash=np.empty((total, 2), dtype=np.uint64),
        bytes=np.empty(total, dtype=np.int64),
        tokens=np.empty(total, dtype=np.int32),
    )
    numbers: dict[str, int] = {}
    ids: list[pa.Array] = []
    for begin, batch in _batches(rows, _COLUMNS):
        part = slice(begin, begin + batch.num_rows)
        names = batch.column("dataset").dictionary_encode()
        of_name = [numbers.setdefault(n, len(numbers)) for n in names.dictionary.to_pylist()]
        rows.in_set[part] = np.array(of_name, dtype=np.int16)[names.indices.to_numpy()]
        for name in ("key", "id_hash", "bytes", "tokens"):
            getattr(rows, name)[part] = batch.column(name).to_numpy()
        packed = b"".join(batch.column("said_hash").to_pylist())
        rows.said_hash[part] = np.frombuffer(packed, dtype="<u8").reshape(-1, HASH_BYTES // 8)
        held = batch.column("contaminated")
        for at in np.flatnonzero(held.value_lengths().to_numpy(zero_copy_only=False)).tolist():
            rows.items[begin + at] = held[at].as_py()
        ids.append(batch.column("conv_id").cast(pa.large_string()))
    rows.sets = list(numbers)
    rows.conv_ids = pa.chunked_array(ids, pa.large_string())
    return rows


def _batches(rows: Rows, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields (number of its first row, batch) of all shards."""
    for path, begin in zip(rows.shards, rows.offsets[:-1].tolist(), strict=True):
        for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS, columns=columns):
            yield begin, batch
            begin += batch.num_rows


@dataclass(frozen=True)
class Choice:
    """What becomes of each conversation; arrays in the order of rows.

    Args:
        fate: a :class:`Fate`.
        times: how often it comes.
        survivor: which row stays instead, or holds the benchmark item; itself where there is none.
        similarity: to the survivor.
        listed: whether an entry of the recipe names its set.
        entry_of_set: number of the recipe's entry of each set, or -1.
        compared: pairs of signatures compared.
        left: times that a row was left uncompared with some of its group.
    """

    fate: npt.NDArray[np.int8]
    times: Ints
    survivor: Ints
    similarity: npt.NDArray[np.float64]
    listed: Flags
    entry_of_set: list[int]
    compared: int = 0
    left: int = 0


def choose(rows: Rows, section: Mixture, work: Path) -> Choice:
    """Decides what becomes of each conversation.

    Args:
        rows: all of them.
        section: the recipe section.
        work: folder for signatures; made here, the caller's to remove.

    Raises:
        RecipeError: an entry names no set.
        InputError: a set with a byte share has no row.
    """
    entry_of_set = entry_of_sets(rows.sets, section)
    entry = np.array([*entry_of_set, -1], dtype=np.int64)[rows.in_set]
    clean = np.ones(rows.count, dtype=np.bool_)
    clean[list(rows.items)] = False
    # Rows of no entry come last of all: none of them stays instead of another.
    last = np.where(entry < 0, len(section.entries), entry)
    place = np.lexsort((rows.key, last, clean, entry < 0))
    rank = np.empty_like(place)
    rank[place] = np.arange(rows.count)
    entry, clean = entry[place], clean[place]
    itself = np.arange(rows.count)

    equal = _equal(rows.said_hash[place])
    equal[entry < 0] = itself[entry < 0]
    survivor, similarity = equal, np.ones(rows.count)
    compared = left = 0
    without_near = np.array([each.without_near for each in section.entries] + [False])
    active = np.flatnonzero((equal == itself) & without_near[entry])
    if section.similarity is not None and len(active):
        batches = (
            (rank[begin : begin + batch.num_rows], batch.column(0))
            for begin, batch in _batches(rows, ["signature"])
        )
        near = find_near(batches, active, rows.count, section.slots, section.similarity, work)
        # Equal to one that is removed: as near to the one that stays.
        survivor, similarity = near.survivor[equal], near.similarity[equal]
        compared, left = near.compared, near.left
    fate = np.full(rows.count, Fate.TAKEN, dtype=np.int8)
    fate[survivor != itself] = Fate.NEAR_DUPLICATE
    fate[(survivor != itself) & (survivor == equal)] = Fate.EXACT_DUPLICATE
    fate[~clean | ~clean[survivor]] = Fate.CONTAMINATED
    fate[entry < 0] = Fate.NOT_SAMPLED
    times = times_taken(entry, fate == Fate.TAKEN, rows.bytes[place], section)
    fate[(fate == Fate.TAKEN) & (times == 0)] = Fate.NOT_SAMPLED
    return Choice(
        fate[rank],
        times[rank],
        place[survivor][rank],
        similarity[rank],
        (entry >= 0)[rank],
        entry_of_set,
        compared,
        left,
    )


def _equal(hashes: Keys) -> Ints:
    """Returns for each rank the best rank with equal hashes."""
    # Stable: equal ones stay in order of rank.
    order = np.lexsort((hashes[:, 0], hashes[:, 1]))
    ordered = hashes[order]
    first = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(order)]
    survivor = np.empty(len(order), dtype=np.int64)
    survivor[order] = order[first][np.cumsum(first) - 1]
    return survivor


def copy_numbers(id_hash: Keys) -> Ints:
    """Returns for each row of the mixture how many before it have its id."""
    order = np.argsort(id_hash, kind="stable")
    ordered = id_hash[order]
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(order)]
    starts = np.flatnonzero(first)
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.arange(len(order)) - starts[np.cumsum(first) - 1]
    return numbers


def shuffled(keys: Keys, seed: int) -> Ints:
    """Returns the place of each row in an order that the seed gives, whatever the rows' order.

    Not numpy's generator: what that draws may change from version to version.
    """
    mixed = keys + np.uint64((2 * seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    places = np.empty(len(keys), dtype=np.int64)
    places[np.argsort(mixed, kind="stable")] = np.arange(len(keys))
    return places
