"""Pack token runs into fixed sequences with restarting positions and lineage.

::

    runs          aaaaaaaaaaa bbbbb ccc dddd            sequences of 8 tokens
    concat        aaaaaaaa | aaabbbbb | cccdddd_        1 run cut, 1 token of padding
    best_fit      aaaaaaaa | aaabbbbb | cccdddd_        only a run longer than a sequence is cut
    whole         (for runs that fit a sequence)        in order, none is cut

``concat`` is what the papers do: runs are laid end to end and cut every ``sequence_length`` tokens.
``best_fit`` cuts as little as can be (Ding et al. 2024, "Fewer Truncations Improve Language
Modeling"): a run longer than a sequence gives full sequences, and what is left of it is packed
with the shorter runs, the longest first, each into the fullest sequence that has room for it.

A run that goes on in another sequence restarts its positions there, since its earlier tokens are
out of sight. What is left over is padded, and padding is never trained.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.schema import SPAN, token_sequence

Layout = Literal["concat", "best_fit", "whole"]

_ROW_GROUP_TOKENS = 1 << 19


def row_group_rows(sequence_length: int) -> int:
    """Returns how many sequences a row group holds.

    The trainer reads sequences in random order, one row group at a time: at 8,192 tokens a cold
    read took 0.011 s from groups of 64 sequences and 1.15 s from groups of 2,048.
    """
    return max(1, _ROW_GROUP_TOKENS // sequence_length)


@dataclass(frozen=True)
class TokenRun:
    """The tokens of one document or conversation.

    Args:
        doc_id: its id.
        ids: the tokens, at least one.
        mask: 1 where a token is trained; None: everywhere.
    """

    doc_id: str
    ids: Sequence[int] | npt.NDArray[np.int32]
    mask: Sequence[int] | None = None


@dataclass(frozen=True)
class Packed:
    """Sequences and what packing cost.

    Args:
        table: rows of :func:`core.schema.token_sequence`.
        tokens: tokens of all runs.
        trained_tokens: positions with loss mask 1.
        padding_tokens: positions that hold nothing.
        runs_cut: runs that lie in more than one sequence.
    """

    table: pa.Table
    tokens: int
    trained_tokens: int
    padding_tokens: int
    runs_cut: int

    @property
    def metrics(self) -> dict[str, int | float]:
        """The counts, for a manifest."""
        return {
            "sequences": self.table.num_rows,
            "tokens": self.tokens,
            "trained_tokens": self.trained_tokens,
            "padding_tokens": self.padding_tokens,
            "runs_cut": self.runs_cut,
        }


class Piece(NamedTuple):
    """A stretch of a run that lies in one sequence."""

    run: int
    start: int
    length: int


def pack(
    runs: Iterable[TokenRun], sequence_length: int, pad_id: int, layout: Layout = "concat"
) -> Packed:
    """Packs runs; the same runs in the same order give the same sequences.

    Args:
        runs: token runs, none empty.
        sequence_length: tokens per sequence.
        pad_id: fills what is left over.
        layout: ``concat``, ``best_fit``, or ``whole``: in order and never cut (for conversations);
            no run may then be longer than a sequence.
    """
    runs = list(runs)
    lengths = [len(run.ids) for run in runs]
    plan = {"concat": _end_to_end, "best_fit": _best_fit, "whole": _in_order}[layout]
    sequences = plan(lengths, sequence_length)
    table, trained = _fill(runs, sequences, sequence_length, pad_id)
    pieces = np.bincount([p.run for s in sequences for p in s], minlength=len(runs))
    tokens = sum(lengths)
    return Packed(
        table=table,
        tokens=tokens,
        trained_tokens=trained,
        padding_tokens=len(sequences) * sequence_length - tokens,
        runs_cut=int((pieces > 1).sum()),
    )


def _end_to_end(lengths: Sequence[int], room: int) -> list[list[Piece]]:
    sequences: list[list[Piece]] = []
    left = 0
    for run, length in enumerate(lengths):
        start = 0
        while start < length:
            if left == 0:
                sequences.append([])
                left = room
            count = min(left, length - start)
            sequences[-1].append(Piece(run, start, count))
            start += count
            left -= count
    return sequences


def _in_order(lengths: Sequence[int], room: int) -> list[list[Piece]]:
    sequences: list[list[Piece]] = []
    left = 0
    for run, length in enumerate(lengths):
        if length > left:
            sequences.append([])
            left = room
        sequences[-1].append(Piece(run, 0, length))
        left -= length
    return sequences


def _best_fit(lengths: Sequence[int], room: int) -> list[list[Piece]]:
    sequences: list[list[Piece]] = []
    rest: list[Piece] = []
    for run, length in enumerate(lengths):
        full = length - length % room
        sequences += [[Piece(run, start, room)] for start in range(0, full, room)]
        if full < length:
            rest.append(Piece(run, full, length - full))
    # Python's sort keeps the order of equals, so the result is one and the same always.
    rest.sort(key=lambda piece: -piece.length)
    open_by_left: dict[int, list[list[Piece]]] = {}
    lefts: list[int] = []  # the keys of open_by_left, ascending
    for piece in rest:
        at = bisect_left(lefts, piece.length)
        if at == len(lefts):
            sequence: list[Piece] = []
            sequences.append(sequence)
            left = room
        else:
            left = lefts[at]
            sequence = open_by_left[left].pop()
            if not open_by_left[left]:
                del open_by_left[left], lefts[at]
        sequence.append(piece)
        left -= piece.length
        if left and left not in open_by_left:
            insort(lefts, left)
        if left:
            open_by_left.setdefault(left, []).append(sequence)
    # Back to the order of the runs: neighbours stay neighbours.
    for sequence in sequences:
        sequence.sort()
    return sorted(sequences)


def _fill(
    runs: Sequence[TokenRun], sequences: list[list[Piece]], length: int, pad_id: int
) -> tuple[pa.Table, int]:
    """Returns the table of sequences and its trained tokens; columns are filled in place."""
    total = len(sequences) * length
    ids = np.full(total, pad_id, dtype=np.int32)
    mask = np.zeros(total, dtype=np.uint8)
    position = np.zeros(total, dtype=np.int32)
    count_up = np.arange(length, dtype=np.int32)
    starts: list[int] = []
    for number, sequence in enumerate(sequences):
        at = number * length
        for run, start, count in sequence:
            starts.append(at - number * length)
            ids[at : at + count] = runs[run].ids[start : start + count]
            given = runs[run].mask
            mask[at : at + count] = 1 if given is None else given[start : start + count]
            # The first token of a stretch has no context in its sequence: it is not trained.
            mask[at] = 0
            position[at : at + count] = count_up[:count]
            at += count
        # Positions restart at the padding, so it is a run of its own that nothing attends to.
        left = (number + 1) * length - at
        position[at : at + left] = count_up[:left]
    schema = token_sequence(length)
    columns = [
        pa.FixedSizeListArray.from_arrays(pa.array(values), length)
        for values in (ids, mask, position)
    ]
    table = pa.Table.from_arrays([*columns, _spans(runs, sequences, starts)], schema=schema)
    return table, int(mask.sum(dtype=np.int64))


def _spans(
    runs: Sequence[TokenRun], sequences: list[list[Piece]], starts: list[int]
) -> pa.ListArray:
    pieces = [piece for sequence in sequences for piece in sequence]
    ends = np.cumsum([0, *(len(sequence) for sequence in sequences)])
    values = [
        pa.array([runs[piece.run].doc_id for piece in pieces], pa.string()),
        pa.array([piece.start for piece in pieces], pa.int64()),
        pa.array(starts, pa.int32()),
        pa.array([piece.length for piece in pieces], pa.int32()),
    ]
    spans = pa.StructArray.from_arrays(values, fields=list(SPAN))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), spans)
