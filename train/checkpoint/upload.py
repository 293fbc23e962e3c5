"""Copies of checkpoints elsewhere, made by a thread while training goes on.

Every worker copies its share of the files; worker 0 waits until all are there and copies the marker
last, so the copy is complete exactly when its marker is there. A file that is there with its full
size is not copied again, so an upload that was cut off goes on where it was.
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from core.errors import InputError
from train.checkpoint.format import MARKER_NAME, Marker
from train.checkpoint.store import CheckpointStore

log = logging.getLogger(__name__)

_TRIES = 3
_WAIT_SECONDS = 0.5
_PATIENCE_SECONDS = 1800
"""How long worker 0 waits for the files of the others."""

_CHUNK_BYTES = 8 * 2**20


class Uploader:
    """Copies complete checkpoints to a folder or a URL such as ``s3://bucket/run``."""

    def __init__(self, store: CheckpointStore, target: str, rank: int, ranks: int) -> None:
        """Starts the thread.

        Args:
            store: where the checkpoints are.
            target: absolute folder, or URL that PyArrow (or fsspec, as ``fsspec+...``) can write.
            rank: which share of the files this worker copies.
            ranks: into how many shares they are dealt.

        Raises:
            InputError: the target is no folder or URL that can be written.
        """
        self._store, self._rank, self._ranks = store, rank, ranks
        try:
            self._system, self._root = fs.FileSystem.from_uri(target)
        except (pa.ArrowException, OSError, ImportError, ValueError) as error:
            raise InputError(
                f"checkpoints cannot be copied there: {str(error).splitlines()[0]}",
                where=f"checkpoint.upload_to: {target}",
                remedy="give a folder, or a URL such as s3://bucket/run",
            ) from error
        self._waiting: set[int] = set()
        self._lock = threading.Lock()
        self._queue: queue.Queue[int | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="upload")
        self._thread.start()

    @property
    def waiting(self) -> set[int]:
        """Steps whose checkpoint is still needed here."""
        with self._lock:
            return set(self._waiting)

    def add(self, step: int) -> None:
        """Queues the checkpoint of a step."""
        with self._lock:
            self._waiting.add(step)
        self._queue.put(step)

    def close(self, wait: bool) -> None:
        """Ends the thread.

        Args:
            wait: until all that is queued has been copied; otherwise the next start goes on.
        """
        if wait:
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (step := self._queue.get()) is not None:
            for attempt in range(1, _TRIES + 1):
                try:
                    self._copy(step)
                    break
                except (OSError, TimeoutError) as error:
                    # A copy that fails must not end the training that it is to protect.
                    log.warning("upload of step %d, attempt %d: %s", step, attempt, error)
                    time.sleep(_WAIT_SECONDS * 4**attempt)
            with self._lock:
                self._waiting.discard(step)

    def _copy(self, step: int) -> None:
        folder = self._store.at(step)
        marker = _wait_for_marker(folder)
        target = f"{self._root.rstrip('/')}/{folder.name}"
        self._system.create_dir(target, recursive=True)
        for file in marker.files[self._rank :: self._ranks]:
            self._copy_file(folder / file.name, f"{target}/{file.name}", file.bytes)
        if self._rank == 0:
            self._wait_for_files(target, marker)
            self._copy_file(folder / MARKER_NAME, f"{target}/{MARKER_NAME}", -1)

    def _copy_file(self, source: Path, target: str, size: int) -> None:
        if self._system.get_file_info(target).size == size:
            return
        with source.open("rb") as reader, self._system.open_output_stream(target) as writer:
            shutil.copyfileobj(reader, writer, _CHUNK_BYTES)

    def _wait_for_files(self, target: str, marker: Marker) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            infos = self._system.get_file_info([f"{target}/{file.name}" for file in marker.files])
            if all(i.size == file.bytes for i, file in zip(infos, marker.files, strict=True)):
                return
            if time.monotonic() > end:
                raise TimeoutError(f"files of other workers are not in {target}")
            time.sleep(_WAIT_SECONDS)


def _wait_for_marker(folder: Path) -> Marker:
    """Returns the marker of a checkpoint that worker 0 is just about to commit."""
    for _ in range(60):
        marker = Marker.load(folder)
        if marker is not None:
            return marker
        time.sleep(_WAIT_SECONDS)
    raise TimeoutError(f"{folder.name} has no marker")
