"""Names in a checkpoint, and its marker."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.atomic import write_json

FORMAT = 1
"""Raised when older checkpoints can no longer be read."""

MARKER_NAME = "checkpoint.json"
WRITING = ".writing-"
_FOLDER = re.compile(r"step-(\d{8,})")


def folder_name(step: int) -> str:
    """Returns the folder of a step's checkpoint: ``step-00000120``."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int | None:
    """Returns the step of a checkpoint's folder, or None where it is something else."""
    match = _FOLDER.fullmatch(folder.name)
    return int(match[1]) if match else None


def rank_name(rank: int) -> str:
    """Returns the file of a worker's fragments."""
    return f"rank-{rank:05d}.safetensors"


@dataclass(frozen=True)
class SavedFile:
    """A file of a checkpoint."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Marker:
    """What a complete checkpoint says of itself.

    Args:
        step: optimizer steps done.
        total_steps: of the whole run.
        epoch, sequence: the cursor: how many sequences of which epoch have been trained on.
        identity: what must be the same where training goes on: see
            :class:`train.spec.LoopSpec`.
        left_out: steps that are not trained, because their loss jumped.
        layout: the workers that wrote it; for the reader of the file, not for the program.
        files: every other file of the folder.
    """

    step: int
    total_steps: int
    epoch: int
    sequence: int
    identity: dict[str, Any]
    layout: dict[str, Any]
    files: list[SavedFile] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        """Writes the marker, atomically."""
        write_json(folder / MARKER_NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Marker | None:
        """Returns the marker of a folder, or None where there is no readable one."""
        try:
            data: dict[str, Any] = json.loads((folder / MARKER_NAME).read_text(encoding="utf-8"))
            if data.get("format") != FORMAT:
                return None
            files = [SavedFile(**file) for file in data.pop("files")]
            return cls(files=files, **data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
