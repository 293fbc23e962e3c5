"""Packed token sequences of a dataset folder, read a few row groups at a time."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from core.errors import InputError
from core.shards import shard_paths
from train.order import PADDING, IndexArray, SequenceOrder

IGNORE = -100
"""Label of a token that is not trained: the ``ignore_index`` of PyTorch's cross entropy."""

_COLUMNS = ["input_ids", "loss_mask", "position_ids"]
_CACHE_BYTES = 256 * 2**20

Rows = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class MicroBatch:
    """Sequences of one forward pass; every tensor is int64 of shape (B, L)."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor
    """:data:`IGNORE` where a token is not trained. Not shifted: label i is token i."""

    @property
    def trained_tokens(self) -> int:
        """Tokens with a loss; the first of a sequence has nothing to be predicted from."""
        return int((self.labels[:, 1:] != IGNORE).sum())

    def split(self, size: int) -> list[MicroBatch]:
        """Returns micro batches of ``size`` sequences, in order."""
        return [
            MicroBatch(self.input_ids[at], self.position_ids[at], self.labels[at])
            for at in (slice(i, i + size) for i in range(0, len(self.labels), size))
        ]


class SequenceDataset:
    """Random access to the sequences of a dataset folder, by position over all shards.

    Sequences of general text, in a folder of their own, follow those of the corpus.
    """

    def __init__(
        self, folder: Path, replay: Path | None = None, cache_bytes: int = _CACHE_BYTES
    ) -> None:
        """Reads the shards' footers.

        Args:
            folder: dataset of :func:`core.schema.token_sequence` rows.
            replay: dataset of such rows with a column ``epoch``, in the order of the epochs.
            cache_bytes: row groups kept in memory; at least one always is.

        Raises:
            InputError: no sequences, unreadable shards, or shards that do not agree in length.
        """
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[int, Rows] = OrderedDict()
        self._groups: list[tuple[Path, int]] = []
        self._rows: list[int] = []
        self._lengths: set[int] = set()
        self._add(folder)
        self.sequences = sum(self._rows)
        """Of the corpus."""
        self.replay: tuple[int, ...] = ()
        """Sequences of general text for each epoch."""
        if replay is not None:
            self._add(replay)
            self.replay = _per_epoch(replay)
        if len(self._lengths) > 1:
            raise InputError(
                f"shards hold sequences of different lengths: {sorted(self._lengths)} tokens",
                where=str(folder),
                remedy="delete the folder and run again",
            )
        self.sequence_length: int = self._lengths.pop()
        self._ends: IndexArray = np.cumsum(np.asarray(self._rows, dtype=np.int64))

    def _add(self, folder: Path) -> None:
        before = len(self._rows)
        for path in shard_paths(folder):
            metadata, length = _footer(path)
            self._lengths.add(length)
            for group in range(metadata.num_row_groups):
                self._groups.append((path, group))
                self._rows.append(metadata.row_group(group).num_rows)
        if sum(self._rows[before:]) == 0:
            raise InputError(
                "there is no token sequence to train on",
                where=str(folder),
                remedy="look at the rejects of the stages before; the corpus may be too small "
                "for one sequence",
            )

    def order(self, epochs: float, global_batch: int, seed: int) -> SequenceOrder:
        """Returns the order of a run over these sequences.

        Raises:
            InputError: the run has more epochs than there is general text for.
        """
        order = SequenceOrder(self.sequences, epochs, global_batch, seed, self.replay)
        if self.replay and order.started > len(self.replay):
            raise InputError(
                f"there is general text for {len(self.replay)} epochs, the run has {epochs:g}",
                where="corpus.replay",
                remedy="run corpus.replay again with the epochs of this run",
            )
        return order

    def __len__(self) -> int:
        """Returns the sequences over all shards."""
        return int(self._ends[-1])

    def read(self, indices: IndexArray) -> MicroBatch:
        """Returns the sequences at some positions, in that order.

        A document's first token gets no loss: what stands before it is another document.

        Args:
            indices: positions, :data:`PADDING` for a sequence without loss; shape (B,).

        Raises:
            InputError: a shard cannot be read.
        """
        shape = (len(indices), self.sequence_length)
        token = np.zeros(shape, dtype=np.int64)
        position = np.tile(np.arange(self.sequence_length, dtype=np.int64), (len(indices), 1))
        mask = np.zeros(shape, dtype=bool)
        group_of = np.searchsorted(self._ends, indices, side="right")
        for group in np.unique(group_of[indices != PADDING]):
            at = np.flatnonzero((group_of == group) & (indices != PADDING))
            start = int(self._ends[group - 1]) if group else 0
            row = indices[at] - start
            data = self._group(int(group))
            token[at] = data["input_ids"][row]
            position[at] = data["position_ids"][row]
            mask[at] = data["loss_mask"][row] != 0
        labels = np.where(mask & (position != 0), token, IGNORE)
        return MicroBatch(
            torch.from_numpy(token), torch.from_numpy(position), torch.from_numpy(labels)
        )

    def documents(self, indices: IndexArray) -> list[str]:
        """Returns the ids of the documents in some sequences, sorted.

        Args:
            indices: positions, :data:`PADDING` for none; shape (B,).

        Raises:
            InputError: a shard cannot be read.
        """
        found: set[str] = set()
        group_of = np.searchsorted(self._ends, indices, side="right")
        for group in np.unique(group_of[indices != PADDING]).tolist():
            start = int(self._ends[group - 1]) if group else 0
            rows = indices[(group_of == group) & (indices != PADDING)] - start
            spans = self._read_group(group, ["spans"])["spans"].take(pa.array(rows))
            found.update(spans.combine_chunks().flatten().field("doc_id").to_pylist())
        return sorted(found)

    def _read_group(self, group: int, columns: list[str]) -> pa.Table:
        path, number = self._groups[group]
        try:
            with pq.ParquetFile(path) as file:
                return file.read_row_group(number, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    def _group(self, group: int) -> Rows:
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        table = self._read_group(group, _COLUMNS)
        rows = {
            name: table[name].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
            for name in _COLUMNS
        }
        self._cache[group] = rows
        while len(self._cache) > 1 and self._held_bytes() > self._cache_bytes:
            self._cache.popitem(last=False)
        return rows

    def _held_bytes(self) -> int:
        return sum(array.nbytes for rows in self._cache.values() for array in rows.values())


def _footer(path: Path) -> tuple[pq.FileMetaData, int]:
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
            types = {schema.field(name).type for name in _COLUMNS}
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _unreadable(path, error) from error
    lengths = {t.list_size if pa.types.is_fixed_size_list(t) else None for t in types}
    length = lengths.pop()
    if lengths or length is None:
        raise _unreadable(path, ValueError("columns are not lists of one fixed length"))
    return metadata, int(length)


def _per_epoch(folder: Path) -> tuple[int, ...]:
    """Returns how many sequences there are for each epoch."""
    counts: Counter[int] = Counter()
    last = 0
    for path in shard_paths(folder):
        try:
            epochs = pq.ParquetFile(path).read(columns=["epoch"])["epoch"].to_numpy()
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _unreadable(path, error) from error
        if len(epochs) and (int(epochs[0]) < last or bool(np.any(np.diff(epochs) < 0))):
            raise _unreadable(path, ValueError("epochs are not in order"))
        counts.update(epochs.tolist())
        last = max([last, *counts])
    return tuple(counts[epoch] for epoch in range(last + 1))


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"cannot read token sequences: {str(error).splitlines()[0]}",
        where=str(path),
        remedy="the shard is truncated, corrupt or of another kind: delete it and run again",
    )


def rank_batches(
    dataset: SequenceDataset,
    order: SequenceOrder,
    *,
    rank: int,
    world_size: int,
    micro_batch: int,
    start_step: int = 1,
    left_out: Collection[int] = (),
) -> Iterator[list[MicroBatch]]:
    """Yields the micro batches of one worker, one list per optimizer step.

    Each worker takes an equal slice of the global batch. A step's slice is read at once, so a row
    group is decoded at most once per step however the order scatters over it.

    Args:
        dataset: the sequences.
        order: which of them make which step.
        rank: of this worker.
        world_size: workers.
        micro_batch: sequences per forward pass; divides the worker's slice.
        start_step: first step to yield, 1 for all.
        left_out: steps that are passed over.
    """
    share = order.global_batch // world_size
    for step in range(start_step, order.steps + 1):
        if step in left_out:
            continue
        mine = order.step(step)[rank * share : (rank + 1) * share]
        yield dataset.read(mine).split(micro_batch)
