from __future__ import annotations

import time

import torch
from torch import distributed

from tests.train.ranks import run_ranks
from train.workers import WaitingForOthers, Workers

LATE_SECONDS = 0.2
ROUNDS = 6
"""On a busy machine anybody may be late now and then: what counts is the calmest round."""


def _exchange() -> dict[str, object]:
    workers = Workers()
    rank = workers.rank
    plain = distributed.Work.wait
    own, waited = [], []
    for _ in range(ROUNDS):
        distributed.barrier()
        began = time.perf_counter()
        with WaitingForOthers() as waiting:
            time.sleep(LATE_SECONDS * rank)
            distributed.all_reduce(torch.ones(3))
        own.append(time.perf_counter() - began - waiting.seconds())
        waited.append(waiting.seconds())
    found = {
        "own": own,
        "waited": waited,
        "restored": distributed.Work.wait is plain,
        "any": workers.any(rank == 1, False),
        "first": workers.from_first(rank + 7),
        "texts": workers.gather_texts(f"host-{rank}-ä", 64),
        "numbers": workers.gather_number(rank / 3),
    }
    workers.close()
    return found


def test_workers_talk_and_know_how_long_they_wait() -> None:
    first, second = run_ranks(2, _exchange)
    assert max(first["waited"]) > 0.75 * LATE_SECONDS > min(first["own"])
    assert min(second["own"]) > 0.75 * LATE_SECONDS > min(second["waited"])
    for found in (first, second):
        assert found["restored"]
        assert found["any"] == (True, False)
        assert found["first"] == 7
        assert found["texts"] == ["host-0-ä", "host-1-ä"]
        assert found["numbers"] == [0.0, 1 / 3]
