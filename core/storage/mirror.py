"""A run at a URL, mirrored on this node: files are made local when they are first asked for.

A stage's manifest says what is there; a copy is good where its size and hash are the manifest's.
What a process has looked at holds until it is told to forget: a worker is, with each stage.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from core.atomic import sweep
from core.file_list import FileEntry
from core.manifest import MANIFEST_NAME, SOURCES_NAME, TIMINGS_NAME, Manifest
from core.storage.cache import IDLE_SECONDS, fetch_entry, fetch_object
from core.storage.remote import Remote, all_at_once, open_remote

log = logging.getLogger(__name__)

SIDE_FILES = ("README.md", SOURCES_NAME, TIMINGS_NAME, "quarantine.json")
"""Of a stage, beside what its manifest lists."""
RUN_FILES = ("logs/progress.json", "logs/run.jsonl")
_LAZY_ENDING = ".safetensors"


@dataclass
class _Stage:
    """What this process knows of a stage."""

    folder: Path
    manifest: Manifest | None
    ready: set[str] = field(default_factory=set)
    whole: bool = False
    small: bool = False

    @cached_property
    def entries(self) -> dict[str, FileEntry]:
        return {entry.name: entry for entry in self.manifest.files} if self.manifest else {}


class RunMirror:
    """The stages of one run at a URL."""

    def __init__(self, url: str, run_dir: Path) -> None:
        """Opens the run; no request is made yet.

        Args:
            url: of the run.
            run_dir: where it is mirrored.
        """
        self.remote: Remote = open_remote(url)
        self.run_dir = run_dir
        self.working = False
        """In a driver or a worker, which ask for what their stage reads and for nothing else."""
        self.driving = False
        """In the driver that holds the run's lease."""
        self.looked = 0.0
        """When all was last looked at anew, by the monotonic clock."""
        self._stages: dict[str, _Stage] = {}
        self._own: str | None = None
        self._intact: dict[str, bool] = {}

    def place(self, stage: str) -> Path:
        """Returns a stage's folder, whatever is in it."""
        return self.run_dir.joinpath(*stage.split("."))

    def key(self, stage: str, name: str = "") -> str:
        """Returns the object's name of a file of a stage."""
        folder = stage.replace(".", "/")
        return f"{folder}/{name}" if name else folder

    def own(self, stage: str | None) -> None:
        """Says which stage is being made here: of its files none is fetched."""
        self._own = stage
        self._stages.clear()
        self._intact.pop(stage or "", None)

    def forget(self) -> None:
        """Looks at everything anew when it is next asked for."""
        self.looked = time.monotonic()
        self._stages.clear()
        self._intact.clear()

    def look(self, stage: str) -> Manifest | None:
        """Returns the manifest of a stage as it is at the URL; None: it is not finished."""
        return self._known(stage).manifest

    def _known(self, stage: str) -> _Stage:
        if stage not in self._stages:
            folder = self.place(stage)
            path = folder / MANIFEST_NAME
            key = self.key(stage, MANIFEST_NAME)
            # Not compared by size and time: one that is made again may have the old one's.
            if stage == self._own or not self.remote.get_if_there(key, path):
                path.unlink(missing_ok=True)
            self._stages[stage] = _Stage(folder, Manifest.load(folder))
        return self._stages[stage]

    def intact(self, stage: str) -> bool:
        """Returns whether every file of a stage is at the URL at its full size: one listing."""
        if stage not in self._intact:
            manifest = self.look(stage)
            there = self.listing(stage)
            self._intact[stage] = manifest is not None and (
                all(name in there for name in manifest.volatile)
                and all(there.get(file.name) == file.bytes for file in manifest.files)
            )
        return self._intact[stage]

    def listing(self, stage: str) -> dict[str, int]:
        """Returns name to bytes of every object of a stage."""
        start = len(self.key(stage)) + 1
        return {each.name[start:]: each.bytes for each in self.remote.listed(self.key(stage))}

    def file(self, stage: str, name: str) -> None:
        """Makes one file of a stage local, where its manifest has it."""
        known = self._known(stage)
        entry = known.entries.get(name)
        if entry is not None and name not in known.ready:
            fetch_entry(self.remote, self.key(stage, name), known.folder / name, entry)
            known.ready.add(name)

    def files(self, stage: str, prefix: str) -> None:
        """Makes all files of a stage local whose names begin with ``prefix``."""
        known = self._known(stage)
        self._fetch(stage, (name for name in known.entries if name.startswith(prefix)))

    def whole(self, stage: str) -> None:
        """Makes a stage local, without its rejects: those are fetched when they are read.

        Raises:
            InputError: a file is missing or damaged.
        """
        known = self._known(stage)
        if not known.whole:
            self._fetch(stage, (name for name in known.entries if not name.startswith("rejects/")))
            self._fetch_listed(stage, known.manifest.volatile if known.manifest else ())
            known.whole = True

    def small(self, stage: str) -> None:
        """Makes local what is neither a shard nor weights: results, reports, cards, logs."""
        known = self._known(stage)
        if known.small or stage == self._own:
            return
        lazy = ("part-", "rejects/")
        names = [
            name
            for name in known.entries
            if not name.startswith(lazy) and not name.endswith(_LAZY_ENDING)
        ]
        self._fetch(stage, names)
        volatile = known.manifest.volatile if known.manifest else []
        if not self.working:
            start = len(self.key(stage)) + 1
            logs = [each.name[start:] for each in self.remote.listed(self.key(stage, "logs"))]
            volatile = [*SIDE_FILES, *volatile, *logs]
        self._fetch_listed(stage, volatile)
        known.small = True

    def run_files(self) -> None:
        """Makes local how far the run is and its log, but for a log that is longer here."""
        for name, found in zip(RUN_FILES, self.remote.stats(RUN_FILES), strict=True):
            path = self.run_dir / name
            longer = path.is_file() and name.endswith(".jsonl")
            if found is not None and not (longer and path.stat().st_size >= found.bytes):
                fetch_object(self.remote, found, path)

    def _fetch(self, stage: str, names: Iterable[str]) -> None:
        known = self._known(stage)
        wanted = [name for name in names if name not in known.ready]
        for folder in {(known.folder / name).parent for name in wanted}:
            sweep(folder, IDLE_SECONDS)
        all_at_once(lambda name: self.file(stage, name), wanted)

    def _fetch_listed(self, stage: str, names: Iterable[str]) -> None:
        """Fetches files that no manifest describes, where they have changed."""
        keys = [self.key(stage, name) for name in names]
        found = [each for each in self.remote.stats(keys) if each is not None]
        all_at_once(lambda o: fetch_object(self.remote, o, self.run_dir / o.name), found)

    def stage_of(self, path: Path) -> tuple[str, str] | None:
        """Returns stage and file name of a path in a stage folder that was asked for."""
        for stage, known in list(self._stages.items()):
            if path.is_relative_to(known.folder):
                return stage, path.relative_to(known.folder).as_posix()
        return None


_mirrors: dict[Path, RunMirror] = {}


def mirror(url: str, run_dir: Path) -> RunMirror:
    """Returns this process's mirror of a run at a URL."""
    if run_dir not in _mirrors:
        _mirrors[run_dir] = RunMirror(url, run_dir)
    return _mirrors[run_dir]


def forget_mirrors() -> None:
    """Looks at every mirrored run anew when it is next asked for."""
    for each in _mirrors.values():
        each.own(None)
        each.forget()


def make_local(path: Path) -> None:
    """Makes a file of a mirrored run local; of any other path nothing is asked."""
    for run_dir, each in _mirrors.items():
        if path.is_relative_to(run_dir) and (found := each.stage_of(path)):
            each.file(*found)


def make_shards_local(folder: Path) -> None:
    """Makes the shards of a dataset folder local, where it is of a mirrored run."""
    for run_dir, each in _mirrors.items():
        if folder.is_relative_to(run_dir) and (found := each.stage_of(folder)):
            stage, below = found
            each.files(stage, "part-" if below == "." else f"{below}/part-")
