"""From rows of tasks to a table of benchmarks: the content of ``general.json``.

Shape, all scores as percentages::

    models      names in the recipe's order: those measured here, then the published ones
    measured    those measured here
    limit       questions asked of each task, null where all were
    benchmarks  [{"name", "key", "label", "chance"}]: chance is null where tasks differ in it
    scores      {model: {key: {"score", "stderr", "normalized", "n", "tasks"}}}
                    score       all questions pooled; IFEval's is the mean of its two
                    stderr      of the score, null where none is known
                    normalized  as the Open LLM Leaderboard v2, null for published models
                    n           questions, null for published models
                    tasks       [{"task", "score", "stderr", "normalized", "n"}]
    average     {model: mean of the normalised scores}, of models that have all six
    samples     [{"model", "task", "label", "question", "target", "answer", "score"}]
    figure      {"scores": "raw" | "normalized", "cpt": [models], "sft": [models]}
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from core.errors import InputError
from core.recipe.general import General
from eval.general.tasks import (
    BENCHMARKS,
    Benchmark,
    benchmark_named,
    normalized,
    pooled,
    pooled_error,
    task_score,
)

Row = dict[str, Any]


def read_published(path: Path) -> dict[str, dict[str, float]]:
    """Reads other models' scores.

    Returns:
        Model to benchmark's key to raw score in percent; cells that are empty are left out.

    Raises:
        InputError: the file cannot be read, lacks the columns, or a score is no percentage.
    """
    where = f"{path} (eval.general.published)"
    remedy = "give the columns model and any of " + ", ".join(b.key for b in BENCHMARKS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the scores: {error}", where=where, remedy=remedy) from error
    found: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows, start=2):
        model = (row.get("model") or "").strip()
        if not model or model in found:
            what = f"'{model}' is there twice" if model else "no model is named"
            raise InputError(f"row {number}: {what}", where=where, remedy=remedy)
        found[model] = {
            b.key: _percentage(said, f"row {number}, {b.key}", where)
            for b in BENCHMARKS
            if (said := (row.get(b.key) or "").strip())
        }
    if not any(found.values()):
        raise InputError("there is no score in it", where=where, remedy=remedy)
    return found


def _percentage(said: str, cell: str, where: str) -> float:
    try:
        value = float(said.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise InputError(
            f"{cell}: '{said}' is no percentage", where=where, remedy="write 41.4 for 41.4%"
        )
    return value


def general_table(
    rows: Sequence[Row],
    section: General,
    models: Sequence[str],
    published: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Returns the content of ``general.json``.

    Args:
        rows: of :data:`eval.general.stage.GENERAL_SCORE`.
        section: the recipe section.
        models: measured ones, in the recipe's order.
        published: from :func:`read_published`.
    """
    listed = [benchmark_named(task.name) for task in section.tasks]
    scores = {model: _model_scores(rows, model, listed) for model in models}
    for model, values in published.items():
        scores.setdefault(model, {})
        for key, score in values.items():
            # What was measured here stands before what somebody published.
            scores[model].setdefault(key, _entry(score, None, None, None, []))
    names = list(scores)
    return {
        "models": names,
        "measured": list(models),
        "limit": section.limit,
        "benchmarks": [_described(b) for b in _shown(listed, published)],
        "scores": scores,
        "average": {
            model: fmean(entry["normalized"] for entry in found.values())
            for model, found in scores.items()
            if len(found) == len(BENCHMARKS)
            and all(entry["normalized"] is not None for entry in found.values())
        },
        "samples": _samples(rows),
        "figure": {
            "scores": section.figure_scores,
            "cpt": [m for m in section.effect_of_cpt if m in scores],
            "sft": _second_radar(section, names),
        },
    }


def _shown(listed: Sequence[Benchmark], published: dict[str, dict[str, float]]) -> list[Benchmark]:
    keys = {key for values in published.values() for key in values} | {b.key for b in listed}
    return [b for b in BENCHMARKS if b.key in keys]


def _second_radar(section: General, names: Sequence[str]) -> list[str]:
    wanted = section.effect_of_sft or [m for m in names if m not in section.effect_of_cpt]
    return [m for m in wanted if m in names]


def _described(benchmark: Benchmark) -> dict[str, Any]:
    chances = {task.chance for task in benchmark.tasks}
    return {
        "name": benchmark.name,
        "key": benchmark.key,
        "label": benchmark.label,
        "chance": 100 * chances.pop() if len(chances) == 1 else None,
    }


def _entry(
    score: float, stderr: float | None, norm: float | None, n: int | None, tasks: list[Row]
) -> Row:
    return {"score": score, "stderr": stderr, "normalized": norm, "n": n, "tasks": tasks}


def _model_scores(
    rows: Sequence[Row], model: str, listed: Sequence[Benchmark]
) -> dict[str, dict[str, Any]]:
    found = {}
    for benchmark in listed:
        mine = [r for r in rows if r["model"] == model and r["benchmark"] == benchmark.name]
        if mine:
            found[benchmark.key] = _benchmark_score(mine, benchmark)
    return found


def _benchmark_score(rows: Sequence[Row], benchmark: Benchmark) -> Row:
    tasks = []
    for task in benchmark.tasks:
        mine = {row["metric"]: row for row in rows if row["task"] == task.name}
        if not mine:
            continue
        first = mine[benchmark.metrics[0]]
        score = task_score({name: row["value"] for name, row in mine.items()}, benchmark)
        # The two accuracies of IFEval are of the same answers: their mean has no simple error.
        error = first["stderr"] if len(benchmark.metrics) == 1 else None
        tasks.append(
            {
                "task": task.name,
                "score": 100 * score,
                "stderr": None if error is None else 100 * error,
                "normalized": normalized(score, task.chance),
                "n": first["n"],
            }
        )
    counts = [task["n"] for task in tasks]
    score = pooled([task["score"] for task in tasks], counts)
    errors = [task["stderr"] for task in tasks]
    known = None if None in errors else pooled_error(errors, counts)
    if benchmark.by_task:
        norm = fmean(task["normalized"] for task in tasks)
    else:
        norm = normalized(score / 100, benchmark.tasks[0].chance)
    return _entry(score, known, norm, sum(counts), tasks)


def _samples(rows: Sequence[Row]) -> list[Row]:
    return [
        {
            "model": row["model"],
            "task": row["task"],
            "label": benchmark_named(row["benchmark"]).label,
            **sample,
        }
        for row in rows
        for sample in row["samples"] or []
    ]


def table_csv(table: dict[str, Any]) -> list[list[str]]:
    """Returns rows ``model, <key>..., average_normalized`` of raw scores in percent."""
    keys = [b["key"] for b in table["benchmarks"]]
    lines = [["model", *keys, "average_normalized"]]
    for model in table["models"]:
        found = table["scores"][model]
        cells = [f"{found[key]['score']:.2f}" if key in found else "" for key in keys]
        average = table["average"].get(model)
        lines.append([model, *cells, "" if average is None else f"{average:.2f}"])
    return lines
