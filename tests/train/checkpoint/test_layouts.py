"""What one layout of workers wrote, another one reads: without engines, every cut by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.errors import InputError
from train.checkpoint.files import Snapshot
from train.checkpoint.format import rank_name
from train.checkpoint.reader import CheckpointReader
from train.engine import STATE_KINDS, StateFragment

SHAPES = {"a.weight": (6, 8), "b.weight": (4, 12), "norm.weight": (7,)}
CUTS = {"a.weight": 0, "b.weight": 1, "norm.weight": None}
"""Dimension that tensor parallelism cuts: rows, columns, or nothing."""


def state(name: str, kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(f"{name} {kind}".encode()))
    return torch.randn(SHAPES[name], generator=generator)


def pieces(tensor: int, data: int) -> Iterator[tuple[int, StateFragment]]:
    """Yields (rank, fragment) for a number of tensor-parallel and of data-parallel workers."""
    for name, shape in SHAPES.items():
        dim = CUTS[name] if tensor > 1 else None
        for index in range(tensor if dim is not None else 1):
            slices = {
                kind: state(name, kind).chunk(tensor, dim)[index]
                if dim is not None
                else state(name, kind)
                for kind in STATE_KINDS
            }
            length = slices["weight"].numel()
            # Uneven on purpose: ZeRO cuts where its flat buffer happens to end.
            ends = [0, *(min(length, (i + 1) * length // data + i) for i in range(data))]
            ends[-1] = length
            for part, (start, end) in enumerate(itertools.pairwise(ends)):
                if start < end:
                    values = {k: v.reshape(-1)[start:end].clone() for k, v in slices.items()}
                    count = tensor if dim is not None else 1
                    yield (
                        index * data + part,
                        StateFragment(name, shape, dim, index, count, start, values),
                    )


def write(folder: Path, tensor: int, data: int) -> CheckpointReader:
    folder.mkdir()
    found = list(pieces(tensor, data))
    for rank in range(tensor * data):
        snapshot = Snapshot.take(fragment for owner, fragment in found if owner == rank)
        saved = snapshot.write(folder / rank_name(rank))
        assert saved.bytes == (folder / rank_name(rank)).stat().st_size
    return CheckpointReader(folder)


@pytest.mark.parametrize(("tensor", "data"), [(1, 1), (1, 3), (2, 1), (2, 2)])
def test_every_layout_is_read_into_every_other(tmp_path: Path, tensor: int, data: int) -> None:
    reader = write(tmp_path / "saved", tensor, data)
    assert reader.shapes == SHAPES
    for name, kind in itertools.product(SHAPES, STATE_KINDS):
        assert torch.equal(reader(name, kind), state(name, kind))
    for other in ((1, 1), (1, 2), (2, 1), (2, 3)):
        for _, fragment in pieces(*other):
            cut = None
            if fragment.slice_dim is not None:
                cut = (fragment.slice_dim, fragment.slice_index, fragment.slice_count)
            for kind, values in fragment.values.items():
                got = reader.part(fragment.name, kind, fragment.start, len(values), cut)
                assert torch.equal(got, values), (fragment.name, other)


def test_a_snapshot_is_a_copy(tmp_path: Path) -> None:
    live = torch.arange(4.0)
    fragment = StateFragment("a", (4,), None, 0, 1, 0, dict.fromkeys(STATE_KINDS, live))
    snapshot = Snapshot.take([fragment])
    live.zero_()
    snapshot.write(tmp_path / rank_name(0))
    assert CheckpointReader(tmp_path)("a", "weight").tolist() == [0, 1, 2, 3]


def test_a_missing_part_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "saved", 1, 3)
    (tmp_path / "saved" / rank_name(1)).unlink()
    reader = CheckpointReader(tmp_path / "saved")
    with pytest.raises(InputError, match=r"does not hold all of 'a\.weight'"):
        reader("a.weight", "weight")
    with pytest.raises(InputError, match="does not hold all of 'other'"):
        reader("other", "weight")
    # What the other files hold can be read all the same.
    assert reader.part("a.weight", "weight", 0, 10).tolist() == pytest.approx(
        state("a.weight", "weight").reshape(-1)[:10].tolist()
    )
