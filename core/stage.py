"""What a stage is: what it reads, what it writes, what it needs, and a pure function in between.

Two kinds:

* :class:`ShardStage` - many independent units of work, each making one output shard. A unit is
  one shard of the input dataset, or whatever :meth:`ShardStage.plan` says (a group of files).
* :class:`JobStage` - one piece of work that fills a folder: a trained model, a threshold, a report.

A stage never touches Ray, receipts or manifests: the runner does (``core/runner``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, overload

import pyarrow as pa

from core.hashing import sha256_value
from core.manifest import FileEntry, Manifest
from core.model_folder import model_files
from core.rejects import Reject
from core.shards import ROW_GROUP_ROWS, read_shard
from core.sources import SourceIndex
from core.storage.inputs import locate
from core.storage.mirror import RunMirror, mirror
from core.storage.urls import is_url

STAGE_PREFIXES = ("corpus.", "synth.", "train.", "merge.", "eval.")


@dataclass(frozen=True)
class Resources:
    """What one worker of a stage takes from the cluster."""

    cpus: float = 1.0
    gpus: float = 0.0
    gpus_if_any: float = 0.0
    """GPUs that it takes where the cluster has any; without, it works on the CPU."""
    memory_bytes: int | None = None
    accelerator_type: str | None = None
    """Kind of accelerator that its node must have, as Ray calls it (``AMD-Instinct-MI250X``)."""


@dataclass(frozen=True)
class StageContext:
    """Where a run lives.

    Args:
        run_dir: folder of everything the run makes, absolute.
        root: folder that the recipe's relative paths start from, absolute.
        seed: the recipe's seed.
        remote: URL of the run, where it has one; ``run_dir`` is then its mirror on this node.
    """

    run_dir: Path
    root: Path
    seed: int
    remote: str | None = None

    @property
    def mirror(self) -> RunMirror | None:
        """The mirror of a run at a URL."""
        return mirror(self.remote, self.run_dir) if self.remote else None

    def place(self, stage: str) -> Path:
        """Returns a stage's output folder: ``corpus.ingest`` is ``<run>/corpus/ingest``."""
        return self.run_dir.joinpath(*stage.split("."))

    def folder(self, stage: str) -> Path:
        """Returns a stage's output folder for reading.

        Of a run at a URL all but shards and weights is local then; these follow when they are
        read (:mod:`core.shards`, :meth:`model_path`).
        """
        if found := self.mirror:
            found.small(stage)
        return self.place(stage)

    def manifest(self, stage: str) -> Manifest | None:
        """Returns the manifest of a stage, or None where it has not finished."""
        found = self.mirror
        return found.look(stage) if found else Manifest.load(self.place(stage))

    def path(self, relative: str) -> Path:
        """Returns a recipe path made absolute; what a URL names is copied to this node."""
        return locate(self.root, relative)

    def model_path(self, reference: str) -> str:
        """Returns where a model's files are: of a train or merge stage, a folder, or a hub id."""
        if reference.startswith(STAGE_PREFIXES):
            if found := self.mirror:
                found.whole(reference)
            return str(self.place(reference) / "model")
        local = self.path(reference)
        return str(local) if local.exists() or is_url(reference) else reference

    def model_files(self, reference: str | None) -> list[Path]:
        """Returns the files of a model that is the user's own folder; of any other, none."""
        if not reference or reference.startswith(STAGE_PREFIXES):
            return []
        folder = self.path(reference)
        return model_files(folder) if folder.is_dir() else []


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of a shard stage's work; makes output shard ``index``.

    Args:
        index: number of the output shard.
        payload: what to read, as plain JSON values with paths relative to root or stage folders.
        digest: hash of the content that the payload points at.
    """

    index: int
    payload: dict[str, Any]
    digest: str


class AlignedUnits(Sequence[Unit]):
    """One unit per shard of the aligned inputs, each made when it is asked for.

    There may be 100,000 of them, and few are in work at once.
    """

    def __init__(self, inputs: Sequence[Sequence[FileEntry]], side: list[str]) -> None:
        """Takes the shards of each aligned input and the digests of all else a unit reads.

        Raises:
            ValueError: the inputs have different numbers of shards.
        """
        if len({len(shards) for shards in inputs}) > 1:
            raise ValueError(f"inputs have {[len(shards) for shards in inputs]} shards")
        self._inputs = inputs
        self._side = side

    def __len__(self) -> int:
        return len(self._inputs[0]) if self._inputs else 0

    @overload
    def __getitem__(self, at: int) -> Unit: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Unit]: ...

    def __getitem__(self, at: int | slice) -> Unit | Sequence[Unit]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._unit(at % len(self), [shards[at] for shards in self._inputs])

    def __iter__(self) -> Iterator[Unit]:
        for number, files in enumerate(zip(*self._inputs, strict=True)):
            yield self._unit(number, files)

    def _unit(self, number: int, files: Sequence[FileEntry]) -> Unit:
        digest = sha256_value([[file.sha256 for file in files], self._side])
        hashes = [file.sha256 for file in files]
        return Unit(number, {"shard": files[0].name, "sha256": hashes}, digest)


@dataclass
class ShardResult:
    """What a unit of work gives.

    ``rows_in`` and ``rows_out`` count in the stage's ``row_unit``; by default the rows of the
    input and of ``kept``. The runner checks ``rows_in == rows_out + rows_rejected``, where every
    reject counts one unless ``rows_rejected`` says otherwise.
    """

    kept: pa.Table
    rejected: list[Reject] = field(default_factory=list)
    rows_in: int = 0
    rows_out: int | None = None
    rows_rejected: int | None = None
    metrics: dict[str, int | float] = field(default_factory=dict)
    """Counts, summed over shards."""


@dataclass
class JobResult:
    """What a job gives besides its files. Counted like :class:`ShardResult`."""

    rows_in: int = 0
    rows_out: int = 0
    rejected: list[Reject] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)


class Stage(ABC):
    """What both kinds share."""

    name: str
    """``group.step``: also the output folder and the command."""
    description: ClassVar[str]
    """One line for ``--help`` and the card."""
    code_version: ClassVar[int] = 1
    """Raise it when the output of unchanged input changes: it is part of the fingerprint."""
    inputs: tuple[str, ...] = ()
    """Names of the stages it reads."""
    resources: Resources = Resources()
    row_unit: str = "document"
    reconcile: ClassVar[str] = ""
    """How rows in and out compare where a stage splits or joins them; shown on the card."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Returns everything in the recipe that its output depends on, as JSON values."""

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns files outside the run that it reads; their content is in the fingerprint."""
        return []

    def source_names(self, ctx: StageContext) -> list[str]:
        """Returns names outside the run whose presence its output depends on, not their content."""
        return []

    def config_digest(self, ctx: StageContext) -> str:
        """Returns the hash of code version, config and seed."""
        return sha256_value([self.name, self.code_version, self.config(), ctx.seed])


class ShardStage(Stage):
    """Independent units of work, one output shard each."""

    schema: pa.Schema
    aligned: tuple[str, ...] = ()
    """Inputs read shard by shard side by side; the other inputs are read whole by each unit."""
    actors: int | None = None
    """Long-lived workers that load a model once; absent: plain tasks."""
    workers: int | None = None
    """Plain tasks at once; absent: as many as the run's workers."""
    row_group_rows: int = ROW_GROUP_ROWS
    """Rows a reader of the output must take at once."""

    def plan(self, ctx: StageContext, sources: SourceIndex) -> Sequence[Unit]:
        """Returns the units of work: by default one per shard of the aligned inputs."""
        manifests = [Manifest.require(ctx.folder(name), name) for name in self.aligned]
        side = [
            Manifest.require(ctx.folder(name), name).digest
            for name in self.inputs
            if name not in self.aligned
        ]
        # A receipt of a shard must not outlive a file outside the run that the stage reads, too.
        side.append(sources.digest(self.source_files(ctx)))
        return AlignedUnits([manifest.shards for manifest in manifests], side)

    def read(self, unit: Unit, ctx: StageContext) -> list[pa.Table]:
        """Returns the unit's shard of each aligned input."""
        return [read_shard(ctx.folder(name) / unit.payload["shard"]) for name in self.aligned]

    # Optional hook: most stages hold no model.
    def setup(self, ctx: StageContext) -> None:
        """Loads what a worker keeps between units."""

    @abstractmethod
    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Does one unit of work. Pure: same unit and config, same result."""


class JobStage(Stage):
    """One piece of work that fills a folder."""

    remote: ClassVar[bool] = True
    """Run as a Ray task; False: in the driver (a job that starts Ray workers itself)."""
    volatile: ClassVar[Sequence[str]] = ()
    """Files that hold timings or dates and so stay out of the manifest. ``logs/`` always does."""

    @abstractmethod
    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Fills the folder ``out``, which the runner moves into place."""

    # Optional hook: most stages leave nothing outside their folder.
    def completed(self, ctx: StageContext) -> None:
        """Called once the output is in place with its manifest: removes what is now needless."""

    def progress(self, out: Path) -> tuple[int, int, str] | None:
        """Returns (done, total, note) while :meth:`run` works, or None before it is known."""
        return None
