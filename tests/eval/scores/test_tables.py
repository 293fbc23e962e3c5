"""What the terminal shows of ``scores.json``."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

from core.stage import StageContext
from eval.scores.table import score_table
from eval.scores.tables import detail_tables

Make = Callable[..., dict[str, Any]]
RunScores = Callable[..., dict[str, Any]]


def shown(scores: dict[str, Any]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=180, color_system=None)
    for table in (score_table(scores), *detail_tables(scores)):
        console.print(table)
    return out.getvalue()


def cells(text: str, title: str, name: str) -> list[str]:
    lines = text.split(title)[1].splitlines()
    row = next(line for line in lines if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_all_tables(prediction: Make, run_scores: RunScores, context: StageContext) -> None:
    folder = context.folder("corpus.contamination_report")
    folder.mkdir(parents=True)
    found = {"benchmarks": {"bench": {"found": [{"item_id": "q0"}]}}}
    (folder / "report.json").write_text(json.dumps(found), encoding="utf-8")
    rows = []
    for number in range(4):
        order = [(n + number) % 4 for n in range(4)]
        rows += [
            prediction("base", n, order[0], permutation=number, order=order, logprobs=[0.0] * 4)
            for n in range(8)
        ]
    rows += [
        prediction("sft", n, None if n == 7 else n % 4, mode="json", read_by="truncated")
        for n in range(8)
    ]
    text = shown(run_scores(rows, ["base", "sft"], contamination="corpus.contamination_report"))
    assert cells(text, "Not answered", "sft") == ["sft", "8", "1 (12.5%)", "1", "0"]
    assert cells(text, "Same questions", "sft")[1:5] == ["base", "domain", "8", "5 : 0"]
    calibration = cells(text, "Calibration", "base")
    assert calibration[1:] == [
        "domain", "8", "25.0%", "25.0%", "0.000", "0.000", "0.750", "0.750"
    ]  # fmt: skip
    bias = cells(text, "Position bias", "base")
    assert bias[1:8] == ["domain", "4", "100.0%", "0.0%", "0.0%", "0.0%", "0.0% [0.0, 32.4]"]
    held = cells(text, "Questions that the corpus held", "sft")
    assert held[2:] == ["87.5% [52.9, 97.8]", "85.7% [48.7, 97.4]", "100.0% [20.7, 100.0]"]
    assert "bench: 1 of 8" in text


def test_tables_with_nothing_to_show_are_left_out(prediction: Make, run_scores: RunScores) -> None:
    text = shown(run_scores([prediction("m", n, 0, mode="choice") for n in range(8)], ["m"]))
    for title in ("Not answered", "Same questions", "Calibration", "Position", "corpus held"):
        assert title not in text
