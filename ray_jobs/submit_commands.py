"""``astromill submit`` and ``astromill jobs``: recipes as jobs of a Ray cluster."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.errors import RecipeError, StageError, UsageError
from core.recipe import LoadedRecipe, load_recipe
from core.storage.urls import is_url
from ray_jobs.options import Overrides, RecipeFile, Workers, example
from ray_jobs.pipeline import build_pipeline

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

JOBS = ("run_recipe", "build_corpus", "synthesize", "train_models", "merge_models", "evaluate")

_AGENT_WAIT_SECONDS = 90.0
"""A head takes some seconds from its first open port to its first job."""

DashboardAddress = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The cluster's job server; default: RAY_API_SERVER_ADDRESS, else "
        "http://127.0.0.1:8265.",
    ),
]
_STOP_SECONDS = 60.0

JobId = Annotated[str, typer.Argument(metavar="JOB", help="As `astromill jobs list` shows it.")]


def add_submit_commands(app: typer.Typer) -> None:
    """Adds ``submit`` and the ``jobs`` group."""
    shown = example(
        "astromill submit recipes/mine.yaml --set run_dir=/shared/runs/mine",
        "astromill submit recipes/mine.yaml --job build_corpus --address http://head:8265 --detach",
    )
    app.command("submit", epilog=shown)(submit)
    jobs = typer.Typer(no_args_is_help=True, help="Jobs of a Ray cluster: list, follow, stop.")
    jobs.command("list", epilog=example("astromill jobs list"))(list_jobs)
    jobs.command("logs", epilog=example("astromill jobs logs JOB --no-follow"))(logs)
    jobs.command("stop", epilog=example("astromill jobs stop JOB"))(stop)
    app.add_typer(jobs, name="jobs")


def submit(
    recipe: RecipeFile,
    job: Annotated[str, typer.Option(help=f"What to run: {', '.join(JOBS)}.")] = "run_recipe",
    set_: Overrides = None,
    workers: Workers = None,
    address: DashboardAddress = None,
    working_dir: Annotated[
        Path, typer.Option(help="Folder that goes to the cluster; `.rayignore` leaves out.")
    ] = Path("."),
    python: Annotated[str, typer.Option(help="Python to run on the cluster.")] = "python",
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not wait: only submit, and print the job's name.")
    ] = False,
) -> None:
    """Run a recipe as a job of a Ray cluster, and follow it.

    Ctrl-C stops following, not the job. A job that was stopped or died goes on where it was when
    the recipe is submitted again.
    """
    if job not in JOBS:
        raise UsageError(
            f"there is no job '{job}'", where="--job", remedy=f"one of: {', '.join(JOBS)}"
        )
    loaded = load_recipe(recipe, set_ or [])
    build_pipeline(loaded)
    inside = _inside(Path(recipe), working_dir)
    _require_lasting(loaded)
    command = [python, "-m", f"ray_jobs.{job}", inside]
    for value in set_ or []:
        command += ["--set", value]
    if workers is not None:
        command += ["--workers", str(workers)]
    console = Console(stderr=True)
    with _reachable(address):
        client = _client(address)
        name = _submit(client, shlex.join(command), working_dir, loaded.recipe.name)
    if detach:
        sys.stdout.write(name + "\n")
        return
    console.print(f"job [bold]{name}[/bold]; Ctrl-C stops following, not the job", highlight=False)
    _follow(client, name, address, console)


def list_jobs(address: DashboardAddress = None) -> None:
    """List the cluster's jobs, the newest first."""
    with _reachable(address):
        found = [job for job in _client(address).list_jobs() if job.submission_id]
    table = Table()
    table.add_column("job", no_wrap=True)
    for header in ("state", "started", "took"):
        table.add_column(header)
    table.add_column("command", overflow="fold")
    # Ray counts in milliseconds.
    for job in sorted(found, key=lambda j: j.start_time or 0, reverse=True):
        began = (job.start_time or 0) / 1000
        ended = job.end_time / 1000 if job.end_time else time.time()
        table.add_row(
            job.submission_id,
            str(job.status.value).lower(),
            f"{datetime.fromtimestamp(began):%Y-%m-%d %H:%M:%S}" if began else "",
            f"{ended - began:,.0f} s" if began else "",
            escape(job.entrypoint),
        )
    Console().print(table)


def logs(
    job: JobId,
    address: DashboardAddress = None,
    follow: Annotated[bool, typer.Option(help="Go on until the job ends.")] = True,
) -> None:
    """Show what a job has written, and follow it until it ends."""
    with _reachable(address):
        client = _client(address)
        _require_job(client, job)
        if not follow:
            sys.stdout.write(client.get_job_logs(job))
            return
    _follow(client, job, address, Console(stderr=True))


def stop(job: JobId, address: DashboardAddress = None) -> None:
    """Stop a job. What it has finished is kept; submit the recipe again to go on."""
    with _reachable(address):
        client = _client(address)
        _require_job(client, job)
        client.stop_job(job)
        # It is asked first, and killed some seconds later.
        until = time.monotonic() + _STOP_SECONDS
        while not (status := client.get_job_status(job)).is_terminal():
            if time.monotonic() > until:
                break
            time.sleep(0.2)
    Console().print(f"{job}: {str(status.value).lower()}", highlight=False)


def _inside(recipe: Path, working_dir: Path) -> str:
    """Returns the recipe's path within the folder that is sent."""
    try:
        return recipe.resolve().relative_to(working_dir.resolve()).as_posix()
    except ValueError:
        raise UsageError(
            f"the recipe is not in the folder that goes to the cluster, {working_dir.resolve()}",
            where=str(recipe),
            remedy="put it there, or name its folder with --working-dir",
        ) from None


def _require_lasting(loaded: LoadedRecipe) -> None:
    if not is_url(loaded.recipe.run_dir) and not Path(loaded.recipe.run_dir).is_absolute():
        raise RecipeError(
            "run_dir is relative: on the cluster it would lie in the job's temporary copy of the "
            "working directory",
            where="key run_dir",
            remedy="name a folder that all nodes share, or a URL: --set run_dir=/shared/runs/NAME",
        )


def _client(address: str | None) -> JobSubmissionClient:
    from ray.job_submission import JobSubmissionClient

    client = JobSubmissionClient(address)
    # It would tell of every folder that it packs.
    logging.getLogger("ray").setLevel(logging.WARNING)
    return client


@contextmanager
def _reachable(address: str | None) -> Iterator[None]:
    """Turns Ray's several errors into one that says what to do."""
    try:
        yield
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise StageError(
            (str(error).strip() or type(error).__name__).splitlines()[0],
            where=f"job server {address or 'by default'}",
            remedy="check --address (`ray start --head` prints it) and, where the cluster asks for "
            "one, RAY_AUTH_MODE=token and RAY_AUTH_TOKEN",
        ) from error


def _submit(client: JobSubmissionClient, command: str, working_dir: Path, recipe: str) -> str:
    name = f"{recipe}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    began = time.monotonic()
    while True:
        try:
            return str(
                client.submit_job(
                    entrypoint=command,
                    submission_id=name,
                    runtime_env={"working_dir": str(working_dir.resolve())},
                    metadata={"recipe": recipe},
                )
            )
        except RuntimeError as error:
            early = "No available agent" in str(error)
            if not early or time.monotonic() - began > _AGENT_WAIT_SECONDS:
                raise
            time.sleep(1)


def _require_job(client: JobSubmissionClient, job: str) -> None:
    known = [found.submission_id for found in client.list_jobs()]
    if job not in known:
        named = ", ".join(str(name) for name in known[-5:]) or "it has none"
        raise UsageError(
            f"the cluster has no job '{job}'",
            where="command line",
            remedy=f"`astromill jobs list` shows its jobs: {named}",
        )


def _follow(client: JobSubmissionClient, job: str, address: str | None, console: Console) -> None:
    """Writes the job's log until it ends; exits as the job did."""

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            sys.stdout.write(text)
            sys.stdout.flush()

    try:
        with _reachable(address):
            asyncio.run(tail())
    except KeyboardInterrupt:
        console.print(
            f"\nthe job goes on. Follow it: astromill jobs logs {job}; stop it: "
            f"astromill jobs stop {job}",
            highlight=False,
        )
        return
    info = client.get_job_info(job)
    status = str(info.status.value)
    if status == "SUCCEEDED":
        console.print(f"[green]done[/green]: {job}", highlight=False)
        return
    # Ray's message repeats the end of the log.
    said = (info.message or "").strip().splitlines()
    raise StageError(
        f"the job ended as {status.lower()}{f': {said[0]}' if said else ''}",
        where=job,
        remedy="its log is above; what is finished is kept: mend the cause and submit again",
    )
