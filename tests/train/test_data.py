from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from core.errors import InputError
from train.data import IGNORE, MicroBatch, SequenceDataset, rank_batches
from train.order import PADDING, SequenceOrder
from train.prefetch import Prefetch

WriteTokens = Callable[..., Path]


def test_reads_the_rows_of_all_shards(tmp_path: Path, write_tokens: WriteTokens) -> None:
    folder = write_tokens(tmp_path / "tokens", [5, 0, 9])
    dataset = SequenceDataset(folder)
    table = pq.read_table(folder)
    assert (len(dataset), dataset.sequence_length) == (14, 32)

    order = np.array([13, 0, 6, 4, 5])
    batch = dataset.read(order)
    rows = table.take(order).to_pydict()
    assert batch.input_ids.tolist() == rows["input_ids"]
    assert batch.position_ids.tolist() == rows["position_ids"]
    for got, ids, mask, position in zip(
        batch.labels.tolist(),
        rows["input_ids"],
        rows["loss_mask"],
        rows["position_ids"],
        strict=True,
    ):
        # The first token of a document has no context of its own: never trained.
        expected = [
            i if m and p > 0 else IGNORE for i, m, p in zip(ids, mask, position, strict=True)
        ]
        assert got == expected


def test_padding_carries_no_loss(tmp_path: Path, write_tokens: WriteTokens) -> None:
    dataset = SequenceDataset(write_tokens(tmp_path / "tokens", [3]))
    batch = dataset.read(np.array([1, PADDING]))
    assert batch.trained_tokens == int((batch.labels[0, 1:] != IGNORE).sum())
    assert batch.labels[1].unique().tolist() == [IGNORE]


def test_memory_is_bounded_and_does_not_change_the_data(
    tmp_path: Path, write_tokens: WriteTokens
) -> None:
    folder = write_tokens(tmp_path / "tokens", [40, 40])
    roomy, tight = SequenceDataset(folder), SequenceDataset(folder, cache_bytes=0)
    order = SequenceOrder(80, 1, 8, seed=3)
    for step in range(1, order.steps + 1):
        assert torch.equal(roomy.read(order.step(step)).labels, tight.read(order.step(step)).labels)
    assert len(roomy._cache) == 20
    assert len(tight._cache) == 1


def test_every_epoch_sees_every_sequence_once_in_another_order() -> None:
    order = SequenceOrder(10, epochs=3, global_batch=4, seed=1)
    seen = np.concatenate([order.step(s) for s in range(1, order.steps + 1)])
    assert (order.samples, order.steps, order.padding) == (30, 8, 2)
    assert seen[-2:].tolist() == [PADDING, PADDING]
    epochs = [seen[i : i + 10].tolist() for i in (0, 10, 20)]
    assert all(sorted(e) == list(range(10)) for e in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order.epoch(5) == 2.0
    assert order.epoch(8) == 3.0


def test_a_fraction_of_an_epoch_sees_no_sequence_twice() -> None:
    order = SequenceOrder(30, epochs=0.1, global_batch=2, seed=1)
    seen = np.concatenate([order.step(s) for s in range(1, order.steps + 1)])
    assert (order.samples, order.steps, order.padding) == (3, 2, 1)
    assert len(set(seen[:3].tolist())) == 3


def test_two_and_a_half_epochs() -> None:
    order = SequenceOrder(8, epochs=2.5, global_batch=5, seed=9)
    seen = np.concatenate([order.step(s) for s in range(1, order.steps + 1)])
    counts = Counter(Counter(seen.tolist()).values())
    assert counts == {3: 4, 2: 4}
    assert order.padding == 0


@pytest.mark.parametrize(
    ("sequences", "epochs", "batch"), [(10, 3, 4), (30, 0.1, 2), (8, 2.5, 5), (7, 1 / 3, 3)]
)
def test_without_replay_the_order_is_the_permutations(
    sequences: int, epochs: float, batch: int
) -> None:
    """Checkpoints and runs of before replay: the same sequences, step for step."""
    order = SequenceOrder(sequences, epochs, batch, seed=6)
    generators = [np.random.Generator(np.random.PCG64([6, e])) for e in range(math.ceil(epochs))]
    flat = np.concatenate([g.permutation(sequences) for g in generators])
    samples = math.ceil(epochs * sequences - 1e-6)
    flat = np.concatenate([flat[:samples], np.full(batch, PADDING)])
    assert order.samples == samples
    for step in range(1, order.steps + 1):
        first = (step - 1) * batch
        assert order.step(step).tolist() == flat[first : first + batch].tolist()
        assert order.epoch(step) == min(step * batch, samples) / sequences


def _epochs(order: SequenceOrder, sizes: list[int]) -> list[list[int]]:
    steps = [order.step(s) for s in range(1, order.steps + 1)]
    flat: list[int] = np.concatenate(steps).tolist()
    ends = np.cumsum([0, *sizes]).tolist()
    assert flat[ends[-1] :] == [PADDING] * order.padding
    return [flat[a:b] for a, b in itertools.pairwise(ends)]


def test_every_epoch_mixes_in_its_own_replay() -> None:
    order = SequenceOrder(100, 2.5, 8, seed=3, replay=(10, 11, 5))
    assert (order.samples, order.replay_samples, order.distinct) == (276, 26, 126)
    epochs = _epochs(order, [110, 111, 55])
    corpus = list(range(100))
    assert sorted(epochs[0]) == [*corpus, *range(100, 110)]
    assert sorted(epochs[1]) == [*corpus, *range(110, 121)]
    assert sorted(epochs[2])[50:] == list(range(121, 126))
    # The half epoch sees the part of the corpus that it would see without replay.
    alone = _epochs(SequenceOrder(100, 2.5, 8, seed=3), [100, 100, 50])
    assert sorted(epochs[2])[:50] == sorted(alone[2])
    # Mixed: replay lies neither at the end nor in a row.
    for epoch in epochs:
        at = [i for i, sequence in enumerate(epoch) if sequence >= 100]
        assert at[0] < len(epoch) / 2 < at[-1]
        assert max(b - a for a, b in itertools.pairwise(at)) > 1


def test_progress_with_replay_counts_passes_over_the_corpus() -> None:
    order = SequenceOrder(100, 2.5, 5, seed=3, replay=(10, 20, 5))
    assert order.samples == 285
    assert order.epoch(11) == pytest.approx(55 / 110)
    assert order.epoch(22) == 1.0
    assert order.epoch(34) == pytest.approx(1 + 60 / 120)
    assert order.epoch(46) == 2.0
    assert order.epoch(57) == 2.5
    values = [order.epoch(step) for step in range(order.steps + 1)]
    assert values == sorted(values)


def test_an_epoch_without_replay_among_others() -> None:
    order = SequenceOrder(20, 2, 4, seed=3, replay=(0, 4))
    epochs = _epochs(order, [20, 24])
    assert epochs[0] == _epochs(SequenceOrder(20, 2, 4, seed=3), [20, 20])[0]
    assert sorted(epochs[1]) == list(range(24))


def test_the_seed_makes_the_order() -> None:
    def first(seed: int) -> list[int]:
        indices: list[int] = SequenceOrder(100, 1, 10, seed).step(1).tolist()
        return indices

    assert first(1) == first(1)
    assert first(1) != first(2)


@pytest.mark.parametrize("with_replay", [False, True])
@pytest.mark.parametrize(("world_size", "micro_batch"), [(1, 8), (2, 4), (4, 1), (8, 1)])
def test_the_order_does_not_depend_on_the_workers(
    tmp_path: Path,
    write_tokens: WriteTokens,
    world_size: int,
    micro_batch: int,
    with_replay: bool,
) -> None:
    folder = write_tokens(tmp_path / "tokens", [7, 13])
    # Its first tokens go on where the corpus's end, so they are positions in the dataset.
    epochs = [[0] * 5, [0, 0, 1, 1, 1]]
    other = write_tokens(tmp_path / "replay", [5, 5], epochs=epochs, first=20)
    replay = other if with_replay else None
    order = SequenceDataset(folder, replay).order(1.5, 8, seed=4)
    assert order.replay == ((7, 3) if with_replay else ())
    workers = [
        rank_batches(
            SequenceDataset(folder, replay),
            order,
            rank=rank,
            world_size=world_size,
            micro_batch=micro_batch,
        )
        for rank in range(world_size)
    ]
    for step, shares in enumerate(zip(*workers, strict=True), start=1):
        batches = [batch for share in shares for batch in share]
        assert all(len(b.input_ids) == micro_batch for b in batches)
        firsts = torch.cat([b.input_ids[:, 0] for b in batches])
        expected = order.step(step)
        real = expected != PADDING
        assert firsts[torch.from_numpy(real)].tolist() == expected[real].tolist()
    assert step == order.steps


def test_a_later_start_gives_the_same_steps(tmp_path: Path, write_tokens: WriteTokens) -> None:
    replay = write_tokens(tmp_path / "replay", [5], epochs=[[0, 0, 1, 1, 1]])
    dataset = SequenceDataset(write_tokens(tmp_path / "tokens", [20]), replay)
    order = dataset.order(2, 4, seed=4)
    assert order.steps == 12  # 45 sequences
    whole = list(rank_batches(dataset, order, rank=0, world_size=1, micro_batch=4))
    rest = list(rank_batches(dataset, order, rank=0, world_size=1, micro_batch=4, start_step=8))
    assert len(rest) == 5
    for a, b in zip(whole[7:], rest, strict=True):
        assert torch.equal(a[0].input_ids, b[0].input_ids)


def test_faults_of_replay_are_named(tmp_path: Path, write_tokens: WriteTokens) -> None:
    folder = write_tokens(tmp_path / "tokens", [20])
    replay = write_tokens(tmp_path / "replay", [4], epochs=[[0, 0, 1, 1]])
    with pytest.raises(InputError, match=r"general text for 2 epochs, the run has 2\.5"):
        SequenceDataset(folder, replay).order(2.5, 4, seed=1)
    # An epoch less is no fault.
    assert SequenceDataset(folder, replay).order(0.5, 4, seed=1).samples == 12
    with pytest.raises(InputError, match="cannot read token sequences"):
        SequenceDataset(folder, folder)
    mixed = write_tokens(tmp_path / "mixed", [2, 2], epochs=[[0, 1], [0, 1]])
    with pytest.raises(InputError, match="epochs are not in order"):
        SequenceDataset(folder, mixed)
    with pytest.raises(InputError, match="no token sequence") as error:
        SequenceDataset(folder, tmp_path / "absent")
    assert error.value.where == str(tmp_path / "absent")
    short = write_tokens(tmp_path / "short", [2], length=16, epochs=[[0, 0]])
    with pytest.raises(InputError, match=r"different lengths: \[16, 32\]"):
        SequenceDataset(folder, short)


def test_faults_are_named(tmp_path: Path, write_tokens: WriteTokens) -> None:
    with pytest.raises(InputError, match="no token sequence"):
        SequenceDataset(write_tokens(tmp_path / "empty", [0]))
    with pytest.raises(InputError, match="no token sequence"):
        SequenceDataset(tmp_path / "absent")

    mixed = write_tokens(tmp_path / "mixed", [2])
    other = write_tokens(tmp_path / "other", [2], length=16)
    (other / "part-00000.parquet").rename(mixed / "part-00001.parquet")
    with pytest.raises(InputError, match=r"different lengths: \[16, 32\]"):
        SequenceDataset(mixed)

    cut = write_tokens(tmp_path / "cut", [50])
    shard = cut / "part-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot read") as error:
        SequenceDataset(cut)
    assert error.value.where == str(shard)


def test_the_cursor_counts_epochs_and_their_sequences() -> None:
    order = SequenceOrder(10, 2.5, 4, seed=1)
    assert [order.cursor(step) for step in (0, 1, 2, 3, 5, 6, 7)] == [
        (0, 0), (0, 4), (0, 8), (1, 2), (2, 0), (2, 4), (3, 0),
    ]  # fmt: skip
    mixed = SequenceOrder(100, 2.5, 8, seed=3, replay=(10, 11, 5))
    assert mixed.cursor(14) == (1, 2)
    assert mixed.steps_per_epoch == pytest.approx(276 / 2.5 / 8)


def test_reading_ahead_gives_the_same_and_waits_less(
    tmp_path: Path, write_tokens: WriteTokens
) -> None:
    dataset = SequenceDataset(write_tokens(tmp_path / "tokens", [20]))
    order = dataset.order(2, 4, seed=4)
    plain = list(rank_batches(dataset, order, rank=0, world_size=1, micro_batch=2))
    read: list[int] = []

    def slowly() -> Iterator[list[MicroBatch]]:
        for number, batches in enumerate(plain):
            time.sleep(0.02)
            read.append(number)
            yield batches

    with Prefetch(slowly(), ahead=2) as ahead:
        waits = []
        for number, batches in enumerate(ahead):
            assert all(a is b for a, b in zip(batches, plain[number], strict=True))
            waits.append(ahead.wait_seconds)
            # A step that takes long enough for the next ones to be read.
            end = time.monotonic() + 120
            while len(read) < min(number + 3, order.steps):
                assert time.monotonic() < end, "nothing is read ahead"
                time.sleep(0.01)
            # Not more than it may hold: one here, two in the queue, one in the thread's hand.
            assert len(read) <= number + 4
        assert next(ahead, None) is None
    assert len(waits) == order.steps
    assert sorted(waits[1:])[len(waits) // 2] < 0.02


def test_what_goes_wrong_while_reading_ahead_is_raised_where_it_is_asked_for(
    tmp_path: Path, write_tokens: WriteTokens
) -> None:
    folder = write_tokens(tmp_path / "tokens", [20])
    dataset = SequenceDataset(folder, cache_bytes=0)
    order = dataset.order(2, 4, seed=4)
    (folder / "part-00000.parquet").unlink()
    batches = rank_batches(dataset, order, rank=0, world_size=1, micro_batch=2)
    with pytest.raises(InputError, match="cannot read token sequences"), Prefetch(batches) as ahead:
        next(ahead)


def test_reading_ahead_ends_with_the_loop(tmp_path: Path, write_tokens: WriteTokens) -> None:
    dataset = SequenceDataset(write_tokens(tmp_path / "tokens", [20]))
    order = dataset.order(50, 4, seed=4)
    batches = rank_batches(dataset, order, rank=0, world_size=1, micro_batch=2)
    with Prefetch(batches) as ahead:
        next(ahead)
    assert not ahead._thread.is_alive()
