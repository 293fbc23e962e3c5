"""Runs the data stages of a recipe on a share of its sources, in a folder of its own."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pyarrow.compute as pc
from rich.console import Console

from core.errors import InputError, UsageError
from core.graph import AnyStage, Pipeline
from core.plan import SampledStage
from core.progress import Reporter
from core.recipe import LoadedRecipe
from core.runner import run_pipeline
from core.session import ray_session
from core.shards import read_shard, shard_paths
from core.stage import ShardStage
from ray_jobs.pipeline import build_pipeline

FOLDER = "plan"
"""Of a sample, within the run's folder."""

SAMPLED = ("corpus.ingest", "synth.instruct")
"""Stages that read sources; of their units a share is drawn."""

CATALOG = "corpus.catalog"

UNITS = 24
"""Units that a sample should have: an interval needs some, however small the sample is."""

_WEIGHTS = ("train.base", "train.scorer")
"""Training stages that data stages read, so the sample has its own."""

_REPLAY = "corpus.replay"


@dataclass(frozen=True)
class Sample:
    """A finished sample.

    Args:
        pipeline: the recipe's stages over the sample's folder.
        names: of the stages that were run.
        left_out: data stage to why it was not run.
        documents_per_shard: of its shards; smaller than the recipe's.
        share: of the units that were drawn, as asked for.
    """

    pipeline: Pipeline
    names: tuple[str, ...]
    left_out: dict[str, str]
    documents_per_shard: int
    share: float


def parse_share(text: str) -> float:
    """Returns ``1%`` or ``0.01`` as a number.

    Raises:
        UsageError: it is no share above 0 and at most 1.
    """
    try:
        share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise UsageError(
            f"'{text}' is no share", where="option --sample", remedy="give one such as 1% or 0.01"
        )
    return share


def run_sample(
    loaded: LoadedRecipe,
    share: float,
    *,
    until: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Sample:
    """Runs the data stages on a share of the sources, or takes what an equal call has left.

    Args:
        loaded: the recipe; its own run is neither read nor changed.
        share: of the units of every source.
        until: the last stage to run; None: all data stages.
        address: Ray cluster.
        workers: shards in work at once.
        console: where progress is shown.

    Raises:
        AstromillError: see :func:`core.runner.run_pipeline`.
    """
    reporter = Reporter(console)
    address = address or loaded.recipe.cluster.address
    workers = workers or loaded.recipe.cluster.workers
    first = sample_pipeline(loaded, share, loaded.recipe.corpus.documents_per_shard)
    with ExitStack() as session:
        if not first.states([CATALOG])[CATALOG].fresh:
            # One session for both parts; none where all of it is there from before.
            session.enter_context(ray_session(address, workers))
        catalog = first.select(until=CATALOG)
        run_pipeline(first, catalog, reporter, address=address, workers=workers)
        per_shard = _documents_per_shard(first, share, loaded.recipe.corpus.documents_per_shard)
        pipeline = sample_pipeline(loaded, share, per_shard)
        stages, left_out = data_stages(pipeline, until)
        run_pipeline(pipeline, stages, reporter, address=address, workers=workers)
    names = tuple(stage.name for stage in stages)
    return Sample(pipeline, names, left_out, per_shard, share)


def sources_missing(loaded: LoadedRecipe) -> InputError | None:
    """Returns why a recipe's sources cannot be read, or None where they are there."""
    pipeline = build_pipeline(loaded)
    try:
        for stage in pipeline.select(until=CATALOG):
            stage.source_files(pipeline.ctx)
    except InputError as error:
        return error
    return None


def sample_pipeline(loaded: LoadedRecipe, share: float, per_shard: int) -> Pipeline:
    """Returns the recipe's stages over the sample's folder; source stages read a share."""
    recipe = loaded.recipe
    corpus = recipe.corpus.model_copy(update={"documents_per_shard": per_shard})
    run_dir = str(loaded.run_dir / FOLDER)
    changed = recipe.model_copy(update={"corpus": corpus, "run_dir": run_dir})
    pipeline = build_pipeline(replace(loaded, recipe=changed))
    return Pipeline([_sampled(s, share) for s in pipeline.stages.values()], pipeline.ctx)


def _sampled(stage: AnyStage, share: float) -> AnyStage:
    if stage.name in SAMPLED and isinstance(stage, ShardStage):
        return SampledStage(stage, share)
    return stage


def _documents_per_shard(pipeline: Pipeline, share: float, most: int) -> int:
    """Returns the documents of a unit so small that the sample has some :data:`UNITS` of them."""
    documents = 0
    for path in shard_paths(pipeline.ctx.folder(CATALOG)):
        expected = read_shard(path, ["expected"])["expected"]
        documents += pc.sum(pc.max_element_wise(expected, 1)).as_py() or 0
    return max(1, min(most, int(documents * share / UNITS)))


def data_stages(
    pipeline: Pipeline, until: str | None = None
) -> tuple[list[AnyStage], dict[str, str]]:
    """Returns the stages that a sample can run, and why it does not run the other data stages.

    Args:
        pipeline: the recipe's.
        until: run this stage and what it depends on, and no other.

    Raises:
        UsageError: there is no stage ``until``, or it is none that a sample can run.
    """
    chosen: list[AnyStage] = []
    left_out: dict[str, str] = {}
    wanted = {stage.name for stage in pipeline.select(until=until)}
    for name, stage in pipeline.stages.items():
        group = name.split(".")[0]
        if name in _WEIGHTS or group in ("corpus", "synth"):
            why = _why_not(stage, {s.name for s in chosen}, name in wanted)
            if why is None:
                chosen.append(stage)
            elif group in ("corpus", "synth"):
                left_out[name] = why
    if until is not None and until not in {stage.name for stage in chosen}:
        why = left_out.get(until, "it is no data stage")
        raise UsageError(
            f"'{until}' cannot be run on a sample: {why}",
            where="option --until",
            remedy=f"one of: {', '.join(s.name for s in chosen)}",
        )
    return chosen, left_out


def _why_not(stage: AnyStage, chosen: set[str], wanted: bool) -> str | None:
    if not wanted:
        return "after --until"
    if stage.name.startswith(_REPLAY):
        return "replay is planned for a whole epoch; training counts its tokens by its share"
    missing = [name for name in stage.inputs if name not in chosen]
    return f"it reads {missing[0]}, which a sample does not make" if missing else None
