"""The folder of a run's checkpoints: which are complete, which one is the latest, what is kept."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.atomic import replace_folder, sweep
from core.hashing import sha256_file
from train.checkpoint.format import WRITING, Marker, folder_name, step_of

DONE_NAME = "done"
"""Folder of the checkpoints that outlive their run."""


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is absent."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def at(self, step: int) -> Path:
        """Returns the folder of a step's checkpoint."""
        return self.folder / folder_name(step)

    def writing(self, step: int, start: str) -> Path:
        """Returns the folder that a start of the run fills before it is renamed.

        Args:
            step: of the checkpoint.
            start: name of this start: a killed one that is not quite dead writes elsewhere.
        """
        return self.folder / f"{folder_name(step)}{WRITING}{start}"

    def steps(self) -> list[int]:
        """Returns the steps of complete checkpoints, newest first."""
        found = [(step_of(path), path) for path in self.folder.iterdir()]
        return sorted(
            (step for step, path in found if step is not None and Marker.load(path)), reverse=True
        )

    def commit(self, writing: Path, marker: Marker) -> None:
        """Makes a written checkpoint complete: the marker, then the rename."""
        marker.save(writing)
        replace_folder(writing, self.at(marker.step))

    def clean(self) -> None:
        """Removes what killed starts left behind."""
        sweep(self.folder)
        for path in self.folder.glob(f"*{WRITING}*"):
            shutil.rmtree(path, ignore_errors=True)

    def prune(self, keep_last: int, keep_every_steps: int, needed: set[int]) -> None:
        """Removes checkpoints that are not kept.

        Args:
            keep_last: the newest ones that stay.
            keep_every_steps: those at multiples of it stay; 0: none for that reason.
            needed: steps that stay whatever the rest says.
        """
        for step in self.steps()[keep_last:]:
            if step in needed or (keep_every_steps and step % keep_every_steps == 0):
                continue
            shutil.rmtree(self.at(step), ignore_errors=True)

    def drop_from(self, step: int) -> None:
        """Removes the checkpoints of a step and of all later ones."""
        for found in self.steps():
            if found >= step:
                shutil.rmtree(self.at(found), ignore_errors=True)

    def finish(self, keep_last: int, keep_every_steps: int) -> None:
        """Removes all checkpoints of a complete run, but for those that are kept for good.

        They move to a folder of their own, so that training again does not go on from them.

        Args:
            keep_last: the newest ones that stay.
            keep_every_steps: those at multiples of it stay; 0: none for that reason.
        """
        self.clean()
        self.prune(keep_last, keep_every_steps, set())
        done = self.folder / DONE_NAME
        shutil.rmtree(done, ignore_errors=True)
        for step in self.steps():
            replace_folder(self.at(step), done / folder_name(step))
        if not done.exists():
            shutil.rmtree(self.folder, ignore_errors=True)


def damage(folder: Path, marker: Marker, rank: int = 0, ranks: int = 1) -> str | None:
    """Returns what is wrong with the files of a checkpoint, or None.

    Args:
        folder: of the checkpoint.
        marker: its own.
        rank: which share of the files is hashed here.
        ranks: into how many shares they are dealt.
    """
    for file in marker.files[rank::ranks]:
        path = folder / file.name
        if not path.is_file():
            return f"{file.name} is missing"
        if path.stat().st_size != file.bytes:
            return f"{file.name} has {path.stat().st_size:,} bytes instead of {file.bytes:,}"
        if sha256_file(path) != file.sha256:
            return f"{file.name} has another hash than when it was written"
    return None
