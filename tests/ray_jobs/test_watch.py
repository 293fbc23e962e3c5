from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from core.heartbeat import Heartbeat, ProgressFile
from core.recipe import load_recipe
from ray_jobs.pipeline import build_pipeline
from ray_jobs.watch import is_dead, latest_warnings, summary, view, watch


def test_a_run_is_followed_to_its_end(tmp_path: Path, write_recipe: Callable[[Path], Path]) -> None:
    run_dir = tmp_path / "run"
    pipeline = build_pipeline(load_recipe(str(write_recipe(run_dir)), []))
    output = io.StringIO()
    with ProgressFile(run_dir) as progress:
        progress.stage("corpus.ocr", 3, 41)
        progress.units(1, 8, 20, "5 rows/s")
        watcher = threading.Thread(target=watch, args=(pipeline, Console(file=output, width=200)))
        watcher.start()
        while "corpus.ocr" not in output.getvalue():
            time.sleep(0.05)
        shown = Console(record=True, width=120, file=io.StringIO())
        shown.print(view(pipeline))
    watcher.join(timeout=120)
    assert not watcher.is_alive()
    lines = output.getvalue().splitlines()
    assert lines[-1] == "[3/41] corpus.ocr: done"
    text = shown.export_text()
    assert "corpus.catalog" in text
    assert "running" in text


def test_a_driver_that_is_gone_is_told() -> None:
    here = Heartbeat(stage="corpus.ocr", number=3, count=41, host=os.uname().nodename, pid=2**30)
    assert is_dead(here, here.updated)
    elsewhere = Heartbeat(stage="corpus.ocr", host="node-7", updated=1000.0)
    assert not is_dead(elsewhere, 1010.0)
    assert is_dead(elsewhere, 1100.0)
    assert "run the recipe again" in summary(here, 0.0)
    assert summary(None, 0.0) == "no run has been started here"


def test_failures_and_warnings_are_shown(tmp_path: Path) -> None:
    failed = Heartbeat(state="failed", stage="corpus.ocr", number=3, count=41, message="no room")
    assert summary(failed, 0.0) == "[3/41] corpus.ocr: failed: no room"
    (tmp_path / "logs").mkdir()
    entries = [
        {"level": "INFO", "message": "shard done", "time": "2026-11-21T10:00:00"},
        {"level": "WARNING", "message": "page 3: loop\nmore", "time": "2026-11-21T10:00:01"},
    ]
    text = "\n".join([json.dumps(e) for e in entries] + ['{"level": "WARN'])
    (tmp_path / "logs" / "run.jsonl").write_text(text)
    assert latest_warnings(tmp_path) == ["10:00:01 page 3: loop"]
