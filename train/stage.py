"""A training run as a stage: continued pretraining, fine-tuning, the perplexity scorer.

The stage launches the loop (:mod:`train.loop`) on Ray Train workers and keeps what comes back:
``model/``, ``metrics.jsonl`` and ``logs/``. Sources: AstroMLab 3, sections II.2 and III.2;
AstroMLab 4, section 2.3.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StageError
from core.hashing import sha256_file, sha256_value
from core.manifest import Manifest
from core.model_folder import model_files, require_model, tensor_shapes
from core.recipe.train import Trainer
from core.session import cluster_resources
from core.shards import shard_paths
from core.sources import SourceIndex
from core.stage import STAGE_PREFIXES, JobResult, JobStage, StageContext
from train.launch import RAY_FOLDER, launch
from train.spec import (
    EVALUATION_NAME,
    METRICS_NAME,
    OPERATIONAL_KEYS,
    SPIKES_NAME,
    LoopSpec,
    identity,
)
from train.spikes import read_spikes
from train.steplog import read_lines

if TYPE_CHECKING:
    from train.order import SequenceOrder

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
"""Folder of the run that holds a folder for each training stage."""

_TAIL_BYTES = 4096
_THREADS = 1
"""Of one worker: it asks Ray for one CPU."""


class TrainStage(JobStage):
    """Trains a model on packed token sequences."""

    description = "train a model on packed token sequences"
    remote = False
    row_unit = "sequence"
    volatile = (SPIKES_NAME,)
    reconcile = (
        "sequences are read, not changed; with less than one epoch only those that were "
        "trained on are counted"
    )

    def __init__(
        self,
        name: str,
        section: Trainer,
        tokens_stage: str,
        init: str,
        replay_stage: str | None = None,
    ) -> None:
        """Describes one run.

        Args:
            name: of the stage, such as ``train.cpt``.
            section: the run's part of the recipe.
            tokens_stage: stage whose sequences it trains on.
            init: train stage or model folder whose weights it starts from.
            replay_stage: stage whose sequences, each for one epoch, are mixed in.
        """
        self.name = name
        self._section = section
        self._tokens_stage = tokens_stage
        self._replay_stage = replay_stage
        self._init = init
        self._init_is_stage = init.startswith(STAGE_PREFIXES)
        self.inputs = (init, tokens_stage) if self._init_is_stage else (tokens_stage,)
        if replay_stage is not None:
            self.inputs += (replay_stage,)

    def config(self) -> dict[str, Any]:
        """Returns the section, and what it starts from and trains on."""
        # A folder is known by its content (source_files), wherever it lies.
        init = self._init if self._init_is_stage else "folder"
        dumped = self._section.model_dump(exclude=set(OPERATIONAL_KEYS))
        section = {**dumped, "init": init}
        watch = self._section.watch
        if watch.on_spike == "rewind":
            # What counts as a spike then decides what is learned.
            section["leave_out_spikes"] = [watch.spike_factor, watch.spike_window_steps]
        replay = {"replay": self._replay_stage} if self._replay_stage else {}
        return {**section, "tokens": self._tokens_stage, **replay}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the held-out texts, and the starting model where it is the user's folder."""
        texts = [file for files in self._texts(ctx).values() for file in files]
        if self._init_is_stage:
            return texts
        folder = Path(ctx.model_path(self._init))
        require_model(folder, f"{self.name}.init")
        return [*texts, *model_files(folder)]

    def _texts(self, ctx: StageContext) -> dict[str, list[Path]]:
        from train.evaluation import evaluation_files

        wanted = self._section.evaluate
        return evaluation_files(wanted, ctx.root, self.name) if wanted else {}

    def progress(self, out: Path) -> tuple[int, int, str] | None:
        """Returns steps done, steps in all and the last loss."""
        line = _last_line(out / METRICS_NAME)
        if line is None:
            return None
        return line["step"], line["total_steps"], f"loss {line['loss']:.3f}"

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Trains; fills ``out`` with model, metrics and logs.

        Raises:
            InputError: the starting model or the sequences are missing or unreadable.
            StageError: the cluster is too small, a worker failed, or the loss diverged.
        """
        # Imported here: the command line lists stages without loading PyTorch.
        from train.data import SequenceDataset
        from train.evaluation import pack_sets

        started = time.time()
        model = Path(ctx.model_path(self._init))
        require_model(model, f"{self.name}.init")
        tokens = ctx.folder(self._tokens_stage)
        replay = ctx.folder(self._replay_stage) if self._replay_stage else None
        dataset = SequenceDataset(tokens, replay)
        # What the data cannot do is said before the cluster is looked at.
        dataset.order(self._section.epochs, self._section.global_batch_sequences, ctx.seed)
        check_cluster(self._section, self.name)
        section = self._resolved(dataset.sequence_length)
        order = dataset.order(section.epochs, section.global_batch_sequences, ctx.seed)
        data = {"tokens": _data_digest(tokens)}
        if replay is not None:
            data["replay"] = _data_digest(replay)
        init = self._init_digest(ctx, model.parent)
        spec = replace(
            self.spec(ctx, out, section, dataset.sequence_length),
            tokens=str(tokens),
            started=started,
            identity=identity(section.model_dump(), ctx.seed, data, init),
            replay=None if replay is None else str(replay),
        )
        if section.evaluate is not None:
            folder = out / "logs" / "evaluation"
            sets = pack_sets(
                section.evaluate, self._texts(ctx), model, dataset.sequence_length, folder
            )
            spec = replace(spec, evaluation=sets)
        launch(spec, section)
        shutil.rmtree(out / RAY_FOLDER, ignore_errors=True)
        metrics = _summary(out, order)
        self._warn_of_spikes(out)
        if replay is not None:
            metrics["replay_sequences"] = order.replay_samples
        return JobResult(rows_in=order.distinct, rows_out=order.distinct, metrics=metrics)

    def spec(
        self, ctx: StageContext, out: Path, section: Trainer, sequence_length: int
    ) -> LoopSpec:
        """Returns what the workers are told, short of the data.

        Args:
            ctx: where the run is.
            out: folder that the run fills.
            section: with its batch in sequences.
            sequence_length: tokens.
        """
        upload_to = section.checkpoint.upload_to
        return LoopSpec(
            stage=self.name,
            model=ctx.model_path(self._init),
            tokens="",
            out=str(out),
            section=section.model_dump(),
            seed=ctx.seed,
            threads=_THREADS,
            started=time.time(),
            checkpoints=str(self.checkpoint_folder(ctx)),
            # A folder of the recipe's starts where its other paths do.
            upload_to=upload_to and (upload_to if "://" in upload_to else str(ctx.path(upload_to))),
            name=f"{ctx.run_dir.name}-{self.name}",
            sequence_length=sequence_length,
        )

    def _warn_of_spikes(self, out: Path) -> None:
        spikes = read_spikes(out)
        if spikes:
            steps = ", ".join(f"{spike['step']} ({spike['action']})" for spike in spikes)
            log.warning(
                "%s: the loss jumped at steps %s; documents in %s", self.name, steps, SPIKES_NAME
            )

    def completed(self, ctx: StageContext) -> None:
        """Removes the checkpoints, now that the model is in its place."""
        from train.checkpoint.store import CheckpointStore

        want = self._section.checkpoint
        folder = self.checkpoint_folder(ctx)
        if folder.is_dir():
            CheckpointStore(folder).finish(want.keep_when_done, want.keep_every_steps)

    def checkpoint_folder(self, ctx: StageContext) -> Path:
        """Returns where the run's checkpoints are: they outlive the output of a killed start."""
        return ctx.run_dir / CHECKPOINTS / self.name

    def _resolved(self, sequence_length: int) -> Trainer:
        try:
            return self._section.resolved(sequence_length)
        except ValueError as error:
            raise StageError(
                str(error),
                where=f"{self.name}.global_batch_tokens",
                remedy="change the batch or the workers so that this holds",
            ) from error

    def _init_digest(self, ctx: StageContext, folder: Path) -> str:
        """Returns the content digest of the starting weights."""
        if self._init_is_stage and (manifest := Manifest.load(folder)):
            return manifest.digest
        # Kept beside the run: weights of the user's own were hashed when the stage was planned.
        index = SourceIndex(ctx.root, ctx.run_dir / "cache" / "sources.json")
        hashes = index.hashes(model_files(Path(ctx.model_path(self._init))))
        return sha256_value(sorted((Path(name).name, digest) for name, digest in hashes.items()))


def _data_digest(folder: Path) -> str:
    """Returns the content digest of a dataset."""
    manifest = Manifest.load(folder)
    if manifest is not None:
        return manifest.digest
    return sha256_value([[path.name, sha256_file(path)] for path in shard_paths(folder)])


def check_cluster(section: Trainer, stage: str) -> None:
    """Checks that the open Ray session can hold the workers; Ray itself would wait for ever.

    Raises:
        StageError: it cannot.
    """
    have = cluster_resources()
    need = {"CPU": section.num_workers, "GPU": section.num_workers if section.use_gpu else 0}
    for kind, count in need.items():
        if have.get(kind, 0) < count:
            raise StageError(
                f"{section.num_workers} training workers need {count} {kind}s, the Ray cluster "
                f"has {have.get(kind, 0):g}",
                where=f"{stage}.num_workers",
                remedy="lower num_workers, set use_gpu: false, or join a larger cluster "
                "(cluster.address)",
            )


def _last_line(path: Path) -> dict[str, Any] | None:
    """Returns the last whole line of a JSON-lines file, or None where there is none yet."""
    if not path.is_file():
        return None
    with path.open("rb") as f:
        f.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        lines = f.read().split(b"\n")[:-1]
    return dict(json.loads(lines[-1])) if lines else None


def _summary(out: Path, order: SequenceOrder) -> dict[str, Any]:
    lines = read_lines(out / METRICS_NAME)
    tail = lines[-max(1, len(lines) // 10) :]
    return {
        "steps": len(lines),
        "epochs": round(order.epoch(order.steps), 6),
        "trained_tokens": sum(line["tokens"] for line in lines),
        "first_loss": round(lines[0]["loss"], 6),
        # One step is noisy: the mean of the last tenth of them.
        "last_loss": round(sum(line["loss"] for line in tail) / len(tail), 6),
        "padding_sequences": order.padding,
        "parameters": _parameters(out / "model"),
        **_heldout(out),
        **_left_out(out),
    }


def _heldout(out: Path) -> dict[str, float]:
    """Returns the loss on each held-out set at the start and at the end."""
    lines = read_lines(out / EVALUATION_NAME)
    if not lines:
        return {}
    first, last = lines[0]["evaluation"], lines[-1]["evaluation"]
    return {
        key: round(value, 6)
        for name in last
        for key, value in (
            (f"heldout_{name}_first", first.get(name, math.nan)),
            (f"heldout_{name}_last", last[name]),
        )
        if math.isfinite(value)
    }


def _left_out(out: Path) -> dict[str, int]:
    count = sum(spike["action"] == "left out" for spike in read_spikes(out))
    return {"left_out_steps": count} if count else {}


def _parameters(model: Path) -> int:
    return sum(math.prod(shape) for shape in tensor_shapes(model, str(model)).values())
