"""What the loop calls: resume at its start, :meth:`Checkpoints.after` each step.

::

    step 119    step 120               step 121   ...   step 140
    train       train | copy state     train            train | commit
                        `-- thread: write, sync, hash ----'

Once per step the workers agree, by one all-reduce of five numbers, on what is to be done: whether
a checkpoint is due (worker 0 looks at the clock), whether the run is to stop, whether all have
written their file. So no worker waits for another one's disk, and a checkpoint is committed at
the same step everywhere.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from core.errors import StageError
from core.recipe.train import Trainer
from train.checkpoint.control import RunControl
from train.checkpoint.files import Snapshot, entry
from train.checkpoint.format import Marker, SavedFile, rank_name
from train.checkpoint.identity import require_same
from train.checkpoint.reader import CheckpointReader
from train.checkpoint.store import CheckpointStore, damage
from train.checkpoint.upload import Uploader
from train.data import SequenceOrder
from train.engine import TrainEngine
from train.spec import CARRIED, LoopSpec

log = logging.getLogger(__name__)

_GROUP_PATIENCE = timedelta(hours=2)
"""How long a worker waits for the others: the slowest disk that is still no fault."""

_MESSAGE_BYTES = 400


class Checkpoints:
    """The checkpoints of a run, as one worker sees them. All workers make the same calls."""

    def __init__(self, spec: LoopSpec, section: Trainer, engine: TrainEngine, order: SequenceOrder):
        """Opens the folder; nothing is read or written.

        Args:
            spec: where checkpoints and output are, and what the run is.
            section: when to save, what to keep.
            engine: whose state is saved.
            order: gives the cursor.
        """
        self._spec, self._section, self._engine, self._order = spec, section, engine, order
        self._rank, self._ranks = distributed.get_rank(), distributed.get_world_size()
        # Of its own: the workers talk over the host's memory, whatever the engine uses.
        self._group = distributed.new_group(backend="gloo", timeout=_GROUP_PATIENCE)
        self._store = CheckpointStore(Path(spec.checkpoints))
        self._control = RunControl(Path(spec.checkpoints))
        self._uploader = (
            Uploader(self._store, spec.upload_to, self._rank, self._ranks)
            if spec.upload_to
            else None
        )
        self._out = Path(spec.out)
        self._due = False
        self._saved_at = time.monotonic()
        self._writing: _Writing | None = None
        self._start = ""

    def resume(self) -> int:
        """Loads the latest complete checkpoint; returns its step, 0 where there is none.

        Raises:
            StageError: it is of a run on other data, or with other settings.
        """
        if self._rank == 0:
            self._store.clean()
        self._start = f"{self._from_first(uuid.uuid4().int >> 80):012x}"
        return self._load_latest()

    def rewind(self, before: int) -> int:
        """Goes back to the latest checkpoint before a step, and returns its step.

        Later checkpoints are removed. The output's growing files are put back: open them anew.
        0: there is none, so nothing was loaded.

        Args:
            before: the first step that is to be trained again, at the latest.
        """
        self.settle()
        if self._rank == 0:
            self._store.drop_from(before)
        return self._load_latest()

    def _load_latest(self) -> int:
        steps = self._store.steps() if self._rank == 0 else []
        while step := self._from_first(steps.pop(0) if steps else 0):
            if self._load(step):
                break
        if self._rank == 0:
            self._carry_back(self._store.at(step) if step else None)
        if self._uploader and step:
            self._uploader.add(step)
        return step

    def after(self, step: int) -> bool:
        """Does what is due after a step; returns whether the run is to stop here.

        Raises:
            StageError: a worker could not write its file.
        """
        last = step == self._order.steps
        due, stop, exact = self._wishes(step, last)
        writing = self._writing
        busy = writing is not None and writing.busy
        failed = writing is not None and writing.error is not None
        due, stop, exact, busy, failed = self._agree(due, stop, exact, busy, failed)
        if failed:
            self._raise_failure()
        self._due |= due or stop
        # What is due while another one is written waits for a later step, but for these two.
        if self._writing and (not busy or stop or exact):
            self._commit()
        if self._due and not self._writing:
            self._due = False
            self._begin(step)
        if stop:
            self._commit()
            if self._rank == 0:
                self._control.note_stop(step, self._order.steps)
        return stop

    def settle(self) -> None:
        """Waits for what is being written."""
        self._commit()

    def close(self, complete: bool) -> None:
        """Ends the upload. Not called after an error: the other workers may be gone.

        Args:
            complete: the run has reached its last step: uploads are waited for.
        """
        self.settle()
        if self._uploader:
            self._uploader.close(wait=complete)
        distributed.destroy_process_group(self._group)

    def _wishes(self, step: int, last: bool) -> tuple[bool, bool, bool]:
        """Returns whether to save, to stop, and to save no later, as worker 0 sees it."""
        if self._rank or last:
            return False, False, False
        want, now = self._section.checkpoint, time.monotonic()
        due = bool(want.every_steps and step % want.every_steps == 0)
        if want.every_minutes and now - self._saved_at >= want.every_minutes * 60:
            due = True
        exact = bool(want.keep_every_steps and step % want.keep_every_steps == 0)
        stop = self._control.asked_to_stop()
        if want.stop_after_minutes:
            stop |= time.time() - self._spec.started >= want.stop_after_minutes * 60
        return due or exact, stop, exact

    def _begin(self, step: int) -> None:
        """Copies the state and lets a thread write it."""
        self._saved_at = time.monotonic()
        folder = self._store.writing(step, self._start)
        folder.mkdir(parents=True, exist_ok=True)
        carried = []
        if self._rank == 0:
            for name in CARRIED:
                if (self._out / name).exists():
                    carried.append(folder / name)
                    shutil.copyfile(self._out / name, folder / name)
        snapshot = Snapshot.take(self._engine.fragments())
        self._writing = _Writing(step, folder, snapshot, rank_name(self._rank), carried)

    def _commit(self) -> None:
        """Waits for the file of every worker, and makes the checkpoint complete."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        writing.join()
        if self._agree(writing.error is not None)[0]:
            self._writing = writing
            self._raise_failure()
        files = self._gather_files(writing.files)
        if self._rank == 0:
            self._store.commit(writing.folder, self._marker(writing.step, files))
            log.info("checkpoint of step %d is complete", writing.step)
            want = self._section.checkpoint
            needed = self._uploader.waiting if self._uploader else set()
            self._store.prune(want.keep_last, want.keep_every_steps, needed | {writing.step})
        if self._uploader:
            self._uploader.add(writing.step)

    def _marker(self, step: int, files: list[SavedFile]) -> Marker:
        epoch, sequence = self._order.cursor(step)
        section = self._section
        layout = {
            "engine": section.parallel.engine,
            "workers": self._ranks,
            "data_parallel": self._engine.data_size,
            "tensor_parallel": section.parallel.tensor_parallel_size,
            "pipeline_parallel": section.parallel.pipeline_parallel_size,
            "zero_stage": section.zero_stage,
        }
        return Marker(
            step=step,
            total_steps=self._order.steps,
            epoch=epoch,
            sequence=sequence,
            identity=self._spec.identity,
            layout=layout,
            files=files,
        )

    def _load(self, step: int) -> bool:
        """Loads a checkpoint where it is intact."""
        folder = self._store.at(step)
        marker = Marker.load(folder)
        if marker is not None:
            require_same(marker.identity, self._spec.identity, self._spec.stage, folder.parent)
        wrong = (
            "its marker cannot be read"
            if marker is None
            else damage(folder, marker, self._rank, self._ranks)
        )
        if wrong:
            log.warning("checkpoint %s is passed over: %s", folder, wrong)
        if self._agree(wrong is not None)[0] or marker is None:
            return False
        if (marker.epoch, marker.sequence) != self._order.cursor(step):
            raise StageError(
                f"the checkpoint of step {step} is at epoch {marker.epoch}, sequence "
                f"{marker.sequence:,}; this run's step {step} is at {self._order.cursor(step)}",
                where=f"{self._spec.stage}, {folder}",
                remedy=f"delete {folder.parent} to train from the beginning",
            )
        self._engine.load_fragments(CheckpointReader(folder), step)
        log.info("going on after step %d of %d", step, self._order.steps)
        return True

    def _carry_back(self, folder: Path | None) -> None:
        """Puts the output's growing files back to what they were at the checkpoint."""
        for name in CARRIED:
            (self._out / name).unlink(missing_ok=True)
            if folder is not None and (folder / name).exists():
                shutil.copyfile(folder / name, self._out / name)

    def _agree(self, *flags: bool) -> tuple[bool, ...]:
        """Returns which flags any worker has set."""
        numbers = torch.tensor(flags, dtype=torch.int64)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX, self._group)
        return tuple(bool(number) for number in numbers.tolist())

    def _from_first(self, number: int) -> int:
        """Returns worker 0's number."""
        shared = torch.tensor([number], dtype=torch.int64)
        distributed.broadcast(shared, 0, self._group)
        return int(shared)

    def _gather_files(self, own: list[SavedFile]) -> list[SavedFile]:
        """Returns the files of all workers. Only one of each has a name that others cannot know."""
        mine = next(file for file in own if file.name == rank_name(self._rank))
        rows = self._gather(mine.bytes.to_bytes(8, "little") + bytes.fromhex(mine.sha256))
        files = [
            SavedFile(rank_name(rank), int.from_bytes(row[:8], "little"), row[8:].hex())
            for rank, row in enumerate(rows)
        ]
        return [*files, *(file for file in own if file.name != mine.name)]

    def _gather(self, row: bytes) -> list[bytes]:
        """Returns the bytes of every worker; all have the same number of them."""
        mine = torch.frombuffer(bytearray(row), dtype=torch.uint8)
        rows = [torch.empty_like(mine) for _ in range(self._ranks)]
        distributed.all_gather(rows, mine, self._group)
        return [bytes(row.tolist()) for row in rows]

    def _raise_failure(self) -> None:
        """Raises the error of the first worker that could not write, on all of them."""
        writing, self._writing = self._writing, None
        error = writing.error if writing else None
        text = "" if error is None else f"{type(error).__name__}: {error}"
        row = text.encode()[:_MESSAGE_BYTES].ljust(_MESSAGE_BYTES, b"\0")
        texts = [found.rstrip(b"\0").decode(errors="replace") for found in self._gather(row)]
        rank, what = next((rank, text) for rank, text in enumerate(texts) if text)
        raise StageError(
            f"worker {rank} could not write its part of a checkpoint: {what}",
            where=f"{self._spec.stage}, {self._store.folder}",
            remedy="make room there, or keep fewer (checkpoint.keep_last); then run again",
        )


class _Writing:
    """A checkpoint that a thread writes."""

    def __init__(
        self, step: int, folder: Path, snapshot: Snapshot, name: str, carried: list[Path]
    ) -> None:
        self.step, self.folder = step, folder
        self.files: list[SavedFile] = []
        self.error: Exception | None = None
        self._thread = threading.Thread(
            target=self._write, args=(snapshot, name, carried), daemon=True, name="checkpoint"
        )
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def _write(self, snapshot: Snapshot, name: str, carried: list[Path]) -> None:
        try:
            self.files = [snapshot.write(self.folder / name), *(entry(path) for path in carried)]
        # Whatever it is, it is raised in the loop, at the next step.
        except Exception as error:
            self.error = error
