"""Small messages between all workers, and how long a worker waits for the others."""

from __future__ import annotations

import struct
import time
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
from torch import distributed

_PATIENCE = timedelta(hours=2)
"""How long a worker waits for the others: the slowest disk that is still no fault."""


class Workers:
    """All workers of a run, in a group of their own. All of them make the same calls.

    Messages go over the hosts' memory, whatever the engine uses: reading an answer must not wait
    for an accelerator.
    """

    def __init__(self) -> None:
        """Opens the group."""
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        self._group: Any = distributed.new_group(backend="gloo", timeout=_PATIENCE)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Returns which flags any worker has set."""
        numbers = torch.tensor(flags, dtype=torch.int64)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX, self._group)
        return tuple(bool(number) for number in numbers.tolist())

    def from_first(self, number: int) -> int:
        """Returns worker 0's number."""
        shared = torch.tensor([number], dtype=torch.int64)
        distributed.broadcast(shared, 0, self._group)
        return int(shared)

    def gather(self, row: bytes) -> list[bytes]:
        """Returns the bytes of every worker; all have the same number of them."""
        mine = torch.frombuffer(bytearray(row), dtype=torch.uint8)
        rows = [torch.empty_like(mine) for _ in range(self.count)]
        distributed.all_gather(rows, mine, self._group)
        return [bytes(row.tolist()) for row in rows]

    def gather_texts(self, text: str, room_bytes: int) -> list[str]:
        """Returns the text of every worker, cut after so many bytes."""
        rows = self.gather(text.encode()[:room_bytes].ljust(room_bytes, b"\0"))
        return [row.rstrip(b"\0").decode(errors="replace") for row in rows]

    def gather_number(self, number: float) -> list[float]:
        """Returns the number of every worker."""
        return [struct.unpack("<d", row)[0] for row in self.gather(struct.pack("<d", number))]

    def close(self) -> None:
        """Ends the group. Not called after an error: the other workers may be gone."""
        distributed.destroy_process_group(self._group)


class WaitingForOthers:
    """Adds up the time inside a ``with`` block that is spent waiting for other workers.

    Every blocking call of ``torch.distributed``, DeepSpeed's among them, waits by ``Work.wait``,
    which is replaced for the length of the block. On CPUs that call blocks; on accelerators it
    makes the stream wait, which two events around it measure.
    """

    def __init__(self) -> None:
        self._host_seconds = 0.0
        self._events: list[tuple[Any, Any]] = []

    def __enter__(self) -> WaitingForOthers:
        plain: Any = distributed.Work.wait
        self._plain = plain
        timed = self._timed_on_device if torch.cuda.is_available() else self._timed

        def wait(work: distributed.Work, *arguments: Any, **options: Any) -> Any:
            return timed(plain, work, *arguments, **options)

        distributed.Work.wait = wait  # type: ignore[method-assign, assignment]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        distributed.Work.wait = self._plain  # type: ignore[method-assign]

    def seconds(self) -> float:
        """Returns the time, once the block has ended."""
        if self._events:
            torch.cuda.synchronize()
        milliseconds = sum(float(before.elapsed_time(after)) for before, after in self._events)
        return self._host_seconds + milliseconds / 1000

    def _timed(self, plain: Any, *arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(*arguments, **options)
        finally:
            self._host_seconds += time.perf_counter() - began

    def _timed_on_device(self, plain: Any, *arguments: Any, **options: Any) -> Any:
        make: Any = torch.cuda.Event
        before, after = make(enable_timing=True), make(enable_timing=True)
        before.record()
        try:
            return plain(*arguments, **options)
        finally:
            after.record()
            self._events.append((before, after))
