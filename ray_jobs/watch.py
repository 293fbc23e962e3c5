"""``astromill status --watch``: how a run goes, in the terminal, from any machine that sees it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from core.graph import Pipeline
from core.heartbeat import BEAT_SECONDS, Heartbeat, read_heartbeat
from core.manifest import MANIFEST_NAME, TIMINGS_NAME, Manifest
from core.runner.run import QUARANTINE_NAME
from ray_jobs.show_status import add_stage, stage_table

EVERY_SECONDS = 2.0
REMOTE_SECONDS = 5.0
"""Of a run at a URL: its driver puts progress every 10 s, and a look costs requests."""
_SILENT_SECONDS = 6 * BEAT_SECONDS
_WARNINGS = 5
_TAIL_BYTES = 65_536


def watch(pipeline: Pipeline, console: Console) -> None:
    """Shows a run until it ends or Ctrl-C; a line per change where there is no terminal."""
    if not console.is_terminal:
        for line in _changes(pipeline):
            console.print(line, highlight=False, markup=False)
        return
    try:
        with Live(view(pipeline), console=console, auto_refresh=False) as live:
            while not _ended(pipeline.ctx.run_dir):
                time.sleep(EVERY_SECONDS)
                live.update(view(pipeline), refresh=True)
    except KeyboardInterrupt:
        console.print("the run goes on; only the view has ended")


def _changes(pipeline: Pipeline) -> Iterator[str]:
    last = None
    while True:
        _refresh(pipeline)
        beat = read_heartbeat(pipeline.ctx.run_dir)
        line = summary(beat, time.time())
        if line != last:
            yield line
            last = line
        if _ended(pipeline.ctx.run_dir):
            return
        time.sleep(EVERY_SECONDS)


def _refresh(pipeline: Pipeline) -> None:
    """Looks anew at a run at a URL, now and then."""
    found = pipeline.ctx.mirror
    if found and time.monotonic() - found.looked >= REMOTE_SECONDS:
        found.forget()
        found.run_files()


def _ended(run_dir: Path) -> bool:
    beat = read_heartbeat(run_dir)
    return beat is None or beat.state != "running" or is_dead(beat, time.time())


def is_dead(beat: Heartbeat, now: float) -> bool:
    """Returns whether the driver of a run that says it is running is gone."""
    if beat.state != "running":
        return False
    if beat.host == socket.gethostname():
        return not _exists(beat.pid)
    return now - beat.updated > _SILENT_SECONDS


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # asks only
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def summary(beat: Heartbeat | None, now: float) -> str:
    """Returns a run's state in one line."""
    if beat is None:
        return "no run has been started here"
    where = f"[{beat.number}/{beat.count}] {beat.stage}"
    if is_dead(beat, now):
        ago = timedelta(seconds=round(now - beat.updated))
        return f"{where}: no sign of the driver for {ago}; run the recipe again to go on"
    if beat.state != "running":
        return f"{where}: {beat.state}{f': {beat.message}' if beat.message else ''}"
    parts = [f"{where}: {beat.done:,} of {beat.total:,}" if beat.total else where]
    if beat.note:
        parts.append(beat.note)
    if beat.seconds_left is not None:
        parts.append(f"about {timedelta(seconds=round(beat.seconds_left))} left")
    return ", ".join(parts)


def view(pipeline: Pipeline) -> RenderableType:
    """Returns the whole picture: stages, the one under way, the latest warnings."""
    _refresh(pipeline)
    run_dir, now = pipeline.ctx.run_dir, time.time()
    beat = read_heartbeat(run_dir)
    table = _stages(pipeline, beat)
    parts: list[RenderableType] = [
        Text(pipeline.ctx.remote or str(run_dir)),
        table,
        Text(summary(beat, now)),
    ]
    if beat is not None and beat.state == "running" and beat.total:
        parts.append(ProgressBar(total=beat.total, completed=beat.done, width=60))
    parts += [Text(line, style="yellow") for line in latest_warnings(run_dir)]
    return Group(*parts)


def _stages(pipeline: Pipeline, beat: Heartbeat | None) -> Table:
    table = stage_table(pipeline.stages, "took")
    running = beat.stage if beat is not None and beat.state == "running" else ""
    for name in pipeline.stages:
        folder = pipeline.ctx.folder(name)
        counts = _counts(folder)
        quarantined = (folder / QUARANTINE_NAME).exists()
        state = "[dim]to do"
        if name == running:
            state = "[cyan]running"
        elif quarantined:
            state = "[red]failed"
        elif counts:
            state = "[green]done"
        add_stage(table, name, state, () if name == running else counts, _took(folder))
    return table


def _counts(folder: Path) -> tuple[int, ...]:
    """Returns rows in, out and rejected of a finished stage; nothing for any other."""
    try:
        return _counts_of(folder, (folder / MANIFEST_NAME).stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=1024)
def _counts_of(folder: Path, changed: int) -> tuple[int, ...]:
    # A manifest of many shards is long: it is read once.
    manifest = Manifest.load(folder)
    if manifest is None:
        return ()
    return manifest.rows_in, manifest.rows_out, manifest.rows_rejected


def _took(folder: Path) -> str:
    try:
        seconds = json.loads((folder / TIMINGS_NAME).read_text("utf-8"))["wall_seconds"]
        return f"{float(seconds):,.{0 if seconds >= 100 else 1}f} s"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def latest_warnings(run_dir: Path) -> list[str]:
    """Returns the last few warnings and errors of the run's log, one line each."""
    try:
        with (run_dir / "logs" / "run.jsonl").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # cut short: the tail begins within it, or it is being written
            continue
        if isinstance(entry, dict) and entry.get("level") in ("WARNING", "ERROR", "CRITICAL"):
            first = str(entry.get("message", "")).splitlines()
            found.append(f"{str(entry.get('time', ''))[11:19]} {first[0] if first else ''}")
    return found[-_WARNINGS:]
