"""Run a recipe's stages: what the command line and the submitted jobs share."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from core.cluster_metrics import ClusterMetrics
from core.counted import counted
from core.disk import disk_full
from core.errors import AstromillError, Paused, StageError
from core.graph import AnyStage, Pipeline
from core.heartbeat import ProgressFile
from core.log import run_log
from core.progress import Reporter
from core.recipe import LoadedRecipe, load_recipe
from core.runner import run_pipeline
from core.runner.remote import put_run_files
from core.secrets import redact_traces
from eval.scores.table import score_table
from ray_jobs.pipeline import build_pipeline

log = logging.getLogger(__name__)

Select = Callable[[Pipeline], Sequence[AnyStage]]


def execute(
    loaded: LoadedRecipe,
    select: Select,
    *,
    address: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> list[str]:
    """Runs the selected stages of a recipe and shows what came out.

    Args:
        loaded: the recipe.
        select: picks the stages, given the pipeline.
        address: Ray cluster; default ``cluster.address``.
        workers: shards in work at once; default ``cluster.workers``.
        console: where to write; standard error by default.

    Returns:
        Names of the stages that did work.

    Raises:
        AstromillError: see :func:`core.runner.run_pipeline`.
    """
    pipeline = build_pipeline(loaded)
    stages = select(pipeline)
    recipe = loaded.recipe
    progress = ProgressFile(loaded.run_dir)
    if found := pipeline.ctx.mirror:
        # The log goes on where it was, whichever node that was on.
        found.run_files()
    reporter = Reporter(console, (progress, ClusterMetrics(recipe.name)))
    with (
        _stops_explained(loaded.run_dir),
        run_log(recipe.name, loaded.run_dir, reporter.console),
    ):
        log.info("run of %s: %s", loaded.file, ", ".join(s.name for s in stages))
        try:
            with progress:
                ran = run_pipeline(
                    pipeline,
                    stages,
                    reporter,
                    address=address or recipe.cluster.address,
                    workers=workers or recipe.cluster.workers,
                )
        finally:
            put_run_files(pipeline.ctx)
        log.info("done; stages that did work: %s", ", ".join(ran) or "none")
    reporter.line(
        f"[green]done[/green]: {counted(len(ran), 'stage')} ran, "
        f"{len(stages) - len(ran)} up to date"
    )
    if any(stage.name == "eval.report" for stage in stages):
        show_scores(pipeline, reporter.console)
    return ran


@contextmanager
def _stops_explained(run_dir: Path) -> Iterator[None]:
    """Turns what stops a run from outside into errors that say how to go on.

    Raises:
        Paused: SIGUSR1 came.
        StageError: Ctrl-C came, a disk is full, or a file cannot be used.
    """
    with _pausable() as pausing:
        try:
            yield
        except OSError as error:
            # What the driver writes itself: manifests, cards, receipts of what failed.
            if full := disk_full(error, run_dir):
                raise full from error
            if not isinstance(error.filename, str):
                raise
            raise StageError(
                f"a file or folder cannot be used: {error.strerror}",
                where=error.filename,
                remedy="restore it or its permissions, or choose another run_dir; then run the "
                "same command again: what is finished is kept",
            ) from error
        except KeyboardInterrupt:
            # Ray's core swallows the handler's exception and raises a plain KeyboardInterrupt.
            if pausing.is_set():
                raise Paused(
                    "stopped by SIGUSR1, with what is finished kept",
                    where=str(run_dir),
                    remedy="run the same command again to go on",
                ) from None
            raise StageError(
                "stopped by Ctrl-C",
                where=str(run_dir),
                remedy="run the same command again: what is finished is kept",
            ) from None


@contextmanager
def _pausable() -> Iterator[threading.Event]:
    """Lets SIGUSR1, which a scheduler sends before a time limit, end the run in order.

    A train stage does more while it trains: it saves its state first.

    Yields:
        set once the signal has come.
    """
    pausing = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pausing
        return

    def pause(number: int, frame: FrameType | None) -> None:
        pausing.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, pause)
    try:
        yield pausing
    finally:
        signal.signal(signal.SIGUSR1, before)


def show_scores(pipeline: Pipeline, console: Console) -> None:
    """Shows the score table, the verdicts and where the report is."""
    path = pipeline.ctx.folder("eval.scores") / "scores.json"
    scores = json.loads(path.read_text(encoding="utf-8"))
    console.print(score_table(scores))
    for verdict in scores["verdicts"]:
        console.print(f"- {verdict if isinstance(verdict, str) else verdict['text']}", markup=False)
    report = pipeline.ctx.folder("eval.report") / "index.html"
    console.print(f"report: {report}", highlight=False, soft_wrap=True, markup=False)


def by_group(*groups: str) -> Select:
    """Returns a selection of all stages of the groups, with the stages that they read."""

    def select(pipeline: Pipeline) -> Sequence[AnyStage]:
        ends = [name for name in pipeline.stages if name.split(".")[0] in groups]
        wanted = {s.name for name in ends for s in pipeline.select(until=name)}
        return [stage for stage in pipeline.stages.values() if stage.name in wanted]

    return select


def explain(error: AstromillError, console: Console) -> None:
    """Prints an error's three lines."""
    kind = "note" if isinstance(error, Paused) else "error"
    for label, text in ((kind, error.what), ("where", error.where), ("do", error.remedy)):
        console.print(f"{label + ':':<7}{text}", highlight=False, soft_wrap=True, markup=False)


def job_main(description: str, *groups: str) -> int:
    """Is the body of ``python -m ray_jobs.<job> RECIPE [--set key=value ...]``.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong use.
    """
    redact_traces()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recipe", help="recipe file, such as recipes/demo.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe value"
    )
    parser.add_argument("--workers", type=int, help="shards in work at once")
    arguments = parser.parse_args()
    # A job's log is read from elsewhere: plain lines, wide enough for a path.
    console = Console(file=sys.stderr, width=140, force_terminal=False)
    try:
        loaded = load_recipe(arguments.recipe, arguments.set)
        execute(loaded, by_group(*groups), workers=arguments.workers, console=console)
    except AstromillError as error:
        explain(error, console)
        return error.exit_code
    return 0
