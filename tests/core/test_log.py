from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from core.log import run_log


def _entries(run_dir: Path) -> list[dict[str, Any]]:
    lines = (run_dir / "logs" / "run.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_everything_goes_to_the_file_and_warnings_to_the_terminal(tmp_path: Path) -> None:
    console = Console(record=True, width=200, quiet=False)
    log = logging.getLogger("corpus.test")
    with run_log("demo", tmp_path, console):
        log.debug("not this")
        log.info("shard done", extra={"stage": "corpus.ocr", "shard": 3})
        log.warning("größer als %d\nzwei Zeilen", 5)
    info, warning = _entries(tmp_path)
    assert datetime.fromisoformat(info.pop("time")).utcoffset() is not None
    assert info == {
        "level": "INFO",
        "run": "demo",
        "logger": "corpus.test",
        "message": "shard done",
        "stage": "corpus.ocr",
        "shard": 3,
    }
    assert warning["message"] == "größer als 5\nzwei Zeilen"
    shown = console.export_text()
    assert "größer als 5" in shown
    assert "shard done" not in shown


def test_a_trace_goes_along(tmp_path: Path) -> None:
    with run_log("demo", tmp_path, Console(quiet=True)):
        try:
            raise ValueError("no such page")
        except ValueError:
            logging.getLogger("x").exception("it failed")
    (entry,) = _entries(tmp_path)
    assert entry["level"] == "ERROR"
    assert entry["trace"].endswith("ValueError: no such page")


def test_a_second_run_appends_and_handlers_are_gone_in_between(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))

    def fail(number: int) -> None:
        with run_log("demo", tmp_path, Console(quiet=True)):
            logging.getLogger("x").info("run %d", number)
            raise RuntimeError

    for number in range(2):
        with pytest.raises(RuntimeError):
            fail(number)
        assert (root.level, list(root.handlers)) == before
    logging.getLogger("x").warning("outside")
    assert [e["message"] for e in _entries(tmp_path)] == ["run 0", "run 1"]


def test_a_name_that_is_not_utf8_can_be_logged(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with run_log("demo", tmp_path, Console(quiet=True)):
        logging.getLogger("x").info("read %s", "caf\udce9.pdf")
    # pytest-xdist cannot send such a record from its worker.
    request.config.pluginmanager.get_plugin("logging-plugin").report_handler.reset()
    assert _entries(tmp_path)[0]["message"] == "read caf\udce9.pdf"
