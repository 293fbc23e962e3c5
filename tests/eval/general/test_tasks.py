"""The table of benchmarks against lm-eval's installed files, and scores by hand."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

from eval.general.tasks import BENCHMARKS, benchmark_named, normalized, pooled, pooled_error

lm_tasks = pytest.importorskip("lm_eval.tasks")


@pytest.fixture(scope="module")
def index() -> Any:
    folder = str(files("lm_eval") / "tasks" / "leaderboard")
    return lm_tasks.TaskManager(include_path=folder, include_defaults=False).task_index


def test_every_task_is_as_lm_eval_has_it(index: Any) -> None:
    for benchmark in BENCHMARKS:
        for task in benchmark.tasks:
            config = index[task.name].cfg
            split = config.get("test_split") or config["validation_split"]
            assert (config.get("dataset_name"), split) == (task.config, task.split)
            assert config.get("fewshot_split") == task.shots_split
            assert config["dataset_path"].split("/")[-1] == benchmark.data.split("/")[-1]
            measured = [metric["metric"] for metric in config["metric_list"]]
            assert set(benchmark.metrics) <= set(measured)
            if benchmark.key == "bbh":
                assert len(config["doc_to_choice"]) == task.choices


@pytest.mark.parametrize("name", [b.name for b in BENCHMARKS if len(b.tasks) > 1])
def test_groups_hold_the_same_tasks(index: Any, name: str) -> None:
    assert sorted(index[name].cfg["task"]) == sorted(t.name for t in benchmark_named(name).tasks)


@pytest.mark.parametrize(
    ("score", "choices", "expected"),
    [
        # The leaderboard's own worked examples: GPQA, then MuSR's three tasks.
        (0.6, 4, 46.6667),
        (0.7, 2, 40.0),
        (0.4, 5, 25.0),
        (0.6, 3, 40.0),
        (0.2, 4, 0.0),
        (0.25, 4, 0.0),
        (1.0, 10, 100.0),
        (0.084, 0, 8.4),
    ],
)
def test_normalisation(score: float, choices: int, expected: float) -> None:
    assert normalized(score, 1 / choices if choices else 0) == pytest.approx(expected, abs=1e-4)


def test_pooling() -> None:
    assert pooled([0.5, 0.2], [100, 300]) == pytest.approx((50 + 60) / 400)
    assert pooled_error([0.03, 0.04], [100, 100]) == pytest.approx(0.025)
