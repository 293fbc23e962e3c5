"""What the loop calls: resume at its start, :meth:`Checkpoints.after` each step.

::

    step 119    step 120               step 121   ...   step 140
    train       train | copy state     train            train | commit
                        `-- thread: write, sync, hash ----'

Once per step the workers agree, by one all-reduce of six numbers, on what is to be done: whether
a checkpoint is due (worker 0 looks at the clock), whether the run is to stop or to go back, whether
all have written their file. So no worker waits for another one's disk, and a checkpoint is
committed at the same step everywhere.

A loss that jumps takes the run back to the latest checkpoint, and on without the sequences of that
step: :meth:`Checkpoints.leave_out`. Because a resumed run repeats its steps bit for bit, it does
not matter which checkpoint that is: the run ends as if that step had never been. Checkpoints hold
the steps that are left out.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path

from core.errors import StageError
from core.recipe.train import Trainer
from train.checkpoint.control import RunControl
from train.checkpoint.files import Snapshot, entry
from train.checkpoint.format import Marker, SavedFile, rank_name
from train.checkpoint.identity import require_same
from train.checkpoint.reader import CheckpointReader
from train.checkpoint.store import CheckpointStore, damage
from train.checkpoint.upload import Uploader
from train.engine import TrainEngine
from train.order import SequenceOrder
from train.spec import CARRIED, SPIKES_NAME, LoopSpec
from train.spikes import first_judged
from train.workers import Workers

log = logging.getLogger(__name__)

_MESSAGE_BYTES = 400


class Next(Enum):
    """What follows a step."""

    GO_ON = auto()
    STOP = auto()
    """The state is saved: end here."""
    REWIND = auto()
    """The loss jumped: :meth:`Checkpoints.leave_out`."""
    COMPLETE = auto()
    """It was the last one."""


class Checkpoints:
    """The checkpoints of a run, as one worker sees them. All workers make the same calls."""

    def __init__(
        self,
        spec: LoopSpec,
        section: Trainer,
        engine: TrainEngine,
        order: SequenceOrder,
        workers: Workers,
    ) -> None:
        """Opens the folder; nothing is read or written.

        Args:
            spec: where checkpoints and output are, and what the run is.
            section: when to save, what to keep.
            engine: whose state is saved.
            order: gives the cursor.
            workers: all of them.
        """
        self._spec, self._section, self._engine, self._order = spec, section, engine, order
        self._workers, self._rank, self._ranks = workers, workers.rank, workers.count
        self.left_out: frozenset[int] = frozenset()
        """Steps that are not trained, because their loss jumped."""
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
        self._start = f"{self._workers.from_first(uuid.uuid4().int >> 80):012x}"
        return self._load_latest(CARRIED)

    def rewind(self, before: int, carried: Sequence[str] = CARRIED) -> int:
        """Goes back to the latest checkpoint before a step, and returns its step.

        Later checkpoints are removed. The output's growing files are put back: open them anew.
        0: there is none, so nothing was loaded.

        Args:
            before: the first step that is to be trained again, at the latest.
            carried: files that are put back.
        """
        self.settle()
        if self._rank == 0:
            self._store.drop_from(before)
        return self._load_latest(carried)

    def _load_latest(self, carried: Sequence[str]) -> int:
        """Loads the newest intact checkpoint, and puts files back; returns its step, or 0."""
        steps = self._store.steps() if self._rank == 0 else []
        while step := self._workers.from_first(steps.pop(0) if steps else 0):
            if self._load(step):
                break
        if self._rank == 0:
            self._carry_back(self._store.at(step) if step else None, carried)
        if self._uploader and step:
            self._uploader.add(step)
        return step

    def leave_out(self, step: int) -> int:
        """Goes back before a step that is not to be trained; returns the checkpoint's step.

        Args:
            step: the one whose loss jumped; nothing of it has been saved.

        Raises:
            StageError: that has happened too often, or there is no intact checkpoint.
        """
        most = self._section.watch.max_rewinds
        if len(self.left_out) >= most:
            raise StageError(
                f"the loss jumped at step {step:,}, after {most} steps were left out for that "
                "reason (watch.max_rewinds)",
                where=f"{self._spec.stage}; the steps and their documents: "
                f"{self._out / SPIKES_NAME}",
                remedy="lower learning_rate, or look at the documents of those steps",
            )
        left_out = self.left_out | {step}
        # What is known of spikes since then stays known.
        done = self.rewind(step, [name for name in CARRIED if name != SPIKES_NAME])
        if not done:
            raise StageError(
                f"the loss jumped at step {step:,}, and there is no checkpoint to go back to",
                where=f"{self._spec.stage}, {self._store.folder}",
                remedy="run again: training starts from the beginning",
            )
        self.left_out = left_out
        return done

    def after(self, step: int, *, rewind: bool = False) -> Next:
        """Does what is due after a step; returns what follows.

        Args:
            step: that was done.
            rewind: its loss jumped and it is to be left out; worker 0's word counts.

        Raises:
            StageError: a worker could not write its file.
        """
        last = step == self._order.steps
        due, stop, exact = (False, False, False) if rewind else self._wishes(step, last)
        writing = self._writing
        busy = writing is not None and writing.busy
        failed = writing is not None and writing.error is not None
        due, stop, exact, busy, failed, rewind = self._workers.any(
            due, stop, exact, busy, failed, rewind
        )
        if failed:
            self._raise_failure()
        if rewind:
            return Next.REWIND
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
        return Next.STOP if stop else Next.GO_ON

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

    def _wishes(self, step: int, last: bool) -> tuple[bool, bool, bool]:
        """Returns whether to save, to stop, and to save no later, as worker 0 sees it."""
        if self._rank or last:
            return False, False, False
        want, now = self._section.checkpoint, time.monotonic()
        due = bool(want.every_steps and step % want.every_steps == 0)
        if want.every_minutes and now - self._saved_at >= want.every_minutes * 60:
            due = True
        if self._section.watch.on_spike == "rewind":
            # There is to be one before the first step whose loss can be judged.
            due |= step == first_judged(self._section.watch.spike_window_steps) - 1
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
        if self._workers.any(writing.error is not None)[0]:
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
            left_out=sorted(self.left_out),
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
        if self._workers.any(wrong is not None)[0] or marker is None:
            return False
        if (marker.epoch, marker.sequence) != self._order.cursor(step):
            raise StageError(
                f"the checkpoint of step {step} is at epoch {marker.epoch}, sequence "
                f"{marker.sequence:,}; this run's step {step} is at {self._order.cursor(step)}",
                where=f"{self._spec.stage}, {folder}",
                remedy=f"delete {folder.parent} to train from the beginning",
            )
        self.left_out = frozenset(marker.left_out)
        trained = step - sum(left <= step for left in self.left_out)
        self._engine.load_fragments(CheckpointReader(folder), trained)
        log.info("going on after step %d of %d", step, self._order.steps)
        return True

    def _carry_back(self, folder: Path | None, names: Sequence[str]) -> None:
        """Puts the output's growing files back to what they were at the checkpoint."""
        for name in names:
            (self._out / name).unlink(missing_ok=True)
            if folder is not None and (folder / name).exists():
                shutil.copyfile(folder / name, self._out / name)

    def _gather_files(self, own: list[SavedFile]) -> list[SavedFile]:
        """Returns the files of all workers. Only one of each has a name that others cannot know."""
        mine = next(file for file in own if file.name == rank_name(self._rank))
        rows = self._workers.gather(mine.bytes.to_bytes(8, "little") + bytes.fromhex(mine.sha256))
        files = [
            SavedFile(rank_name(rank), int.from_bytes(row[:8], "little"), row[8:].hex())
            for rank, row in enumerate(rows)
        ]
        return [*files, *(file for file in own if file.name != mine.name)]

    def _raise_failure(self) -> None:
        """Raises the error of the first worker that could not write, on all of them."""
        writing, self._writing = self._writing, None
        error = writing.error if writing else None
        text = "" if error is None else f"{type(error).__name__}: {error}"
        texts = self._workers.gather_texts(text, _MESSAGE_BYTES)
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
