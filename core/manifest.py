"""The manifest: what a stage made, from what, and how its rows add up. Written last.

It holds no time and no absolute path, so two equal runs have equal manifests byte for byte;
timings are beside it in ``timings.json``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from core.atomic import write_json
from core.errors import InputError
from core.hashing import sha256_value

MANIFEST_NAME = "manifest.json"
TIMINGS_NAME = "timings.json"
SOURCES_NAME = "sources.json"


@dataclass(frozen=True)
class FileEntry:
    """One output file: its name within the stage folder, size, hash and rows (shards only)."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None


@dataclass(frozen=True)
class Manifest:
    """A finished stage.

    Args:
        stage: its name.
        code_version: of the stage when it ran.
        config: its part of the recipe.
        seed: the recipe's seed.
        inputs: fingerprints of the stages it read.
        input_digests: content hashes of their outputs, as they were read.
        sources_digest: hash over the files outside the run that it read.
        fingerprint: hash of all of the above: what ``status`` compares.
        key: the same with the inputs' content instead of their fingerprints: an input that was
            recomputed to the same bytes does not cost this stage a rerun.
        files: every output file; rejects shards included.
        row_unit, rows_in, rows_out, rows_rejected: the account; in = out + rejected.
        rejects: rejected rows by reason.
        metrics: counts and results of the stage.
        volatile: output files that hold dates or timings, so their content is not hashed; those
            of the stage's that it wrote.
    """

    stage: str
    code_version: int
    config: dict[str, Any]
    seed: int
    inputs: dict[str, str]
    input_digests: dict[str, str]
    sources_digest: str
    fingerprint: str
    key: str
    files: list[FileEntry]
    row_unit: str
    rows_in: int
    rows_out: int
    rows_rejected: int
    rejects: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    reconcile: str = ""
    volatile: list[str] = field(default_factory=list)

    @property
    def shards(self) -> list[FileEntry]:
        """The data shards, in order."""
        return [f for f in self.files if f.name.startswith("part-")]

    @cached_property
    def digest(self) -> str:
        """Hash of the content: names, hashes and nothing else."""
        return sha256_value([[f.name, f.sha256] for f in self.files])

    def intact(self, folder: Path) -> bool:
        """Returns whether every output file is there, the hashed ones at their full size."""
        return all((folder / name).is_file() for name in self.volatile) and all(
            (folder / f.name).is_file() and (folder / f.name).stat().st_size == f.bytes
            for f in self.files
        )

    def save(self, folder: Path) -> None:
        """Writes the manifest into the stage folder, atomically."""
        write_json(folder / MANIFEST_NAME, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Manifest | None:
        """Returns the manifest of a stage folder, or None where there is no readable one."""
        try:
            data = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
            files = [FileEntry(**f) for f in data.pop("files")]
            return cls(files=files, **data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    @classmethod
    def require(cls, folder: Path, stage: str) -> Manifest:
        """Returns the manifest of a stage that must have run.

        Raises:
            InputError: it has not.
        """
        manifest = cls.load(folder)
        if manifest is None:
            raise InputError(
                f"stage '{stage}' has no finished output",
                where=str(folder),
                remedy=f"run it first: astromill run RECIPE --until {stage}",
            )
        return manifest
