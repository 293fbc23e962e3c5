"""All six benchmarks asked of a real (tiny) model through lm-eval."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError, StageError
from core.recipe.general import GeneralServer
from eval.general.lm import open_lm
from eval.general.tasks import BENCHMARKS, benchmark_named
from tests.eval.general.conftest import FOLDERS, section

pytest.importorskip("lm_eval")

ASKED = (
    "leaderboard_ifeval",
    "leaderboard_bbh_snarks",
    "leaderboard_bbh_object_counting",
    "leaderboard_math_algebra_hard",
    "leaderboard_gpqa_main",
    "leaderboard_musr_object_placements",
    "leaderboard_mmlu_pro",
)
"""Of tasks that differ in their questions alone, one."""

TASKS = [
    (benchmark, task) for benchmark in BENCHMARKS for task in benchmark.tasks if task.name in ASKED
]


@pytest.fixture(scope="module")
def lm(tiny_folder: Path) -> Any:
    return open_lm(str(tiny_folder), section())


def _run(lm: Any, root: Path, number: int, scratch: Path, chat: bool = False, **more: Any) -> Any:
    from eval.general.harness import run_task

    benchmark, task = TASKS[number]
    path = FOLDERS[benchmark.name]
    return run_task(lm, root, path, benchmark, task, section(**more), scratch, chat)


@pytest.mark.parametrize("number", range(len(TASKS)), ids=[task.name for _, task in TASKS])
def test_each_task_runs(lm: Any, general_root: Path, tmp_path: Path, number: int) -> None:
    benchmark, task = TASKS[number]
    measured = _run(lm, general_root, number, tmp_path)
    asked = {"ifeval": 3, "bbh": 2, "math": 2, "gpqa": 3, "musr": 2, "mmlu_pro": 4}[benchmark.key]
    assert len(measured.per_question) == asked
    assert not measured.rejects
    assert set(measured.values) == set(benchmark.metrics)
    first = benchmark.metrics[0]
    assert all(0 <= value <= 1 for value in measured.values.values())
    if len(benchmark.metrics) == 1:
        assert measured.values[first] == pytest.approx(sum(measured.per_question) / asked)
    assert len(measured.samples) == min(3, asked)
    assert all(sample["question"] and sample["target"] for sample in measured.samples)
    if task.choices:
        assert all(sample["answer"] for sample in measured.samples)
    if task.name == "leaderboard_gpqa_main":
        # Its choices are shuffled: the same again.
        again = _run(lm, general_root, number, tmp_path / "again")
        assert (again.values, again.samples) == (measured.values, measured.samples)


def test_same_as_simple_evaluate(lm: Any, general_root: Path, tmp_path: Path) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    number = next(n for n, (_, task) in enumerate(TASKS) if task.name == "leaderboard_gpqa_main")
    measured = _run(lm, general_root, number, tmp_path)
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    theirs = lm_eval.simple_evaluate(
        model=lm, tasks=["leaderboard_gpqa_main"], task_manager=manager
    )
    found = theirs["results"]["leaderboard_gpqa_main"]
    assert measured.values == {"acc_norm": found["acc_norm,none"]}
    assert measured.errors == {"acc_norm": found["acc_norm_stderr,none"]}
    samples = theirs["samples"]["leaderboard_gpqa_main"]
    assert [s["question"] for s in measured.samples] == [s["arguments"][0][0] for s in samples]


def test_chat_template_and_system_prompt(
    lm: Any, general_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    number = next(n for n, (b, _) in enumerate(TASKS) if b.key == "mmlu_pro")
    plain = _run(lm, general_root, number, tmp_path / "a")
    caplog.set_level(logging.ERROR, "lm_eval")  # as LMEVAL_LOG_LEVEL does
    asked = _run(lm, general_root, number, tmp_path / "b", chat=True, system_prompt="Be brief.")
    assert "<|start_header_id|>" not in plain.samples[0]["question"]
    # Five examples as turns, then the question and the start of the answer.
    assert asked.samples[0]["question"].endswith("assistant<|end_header_id|>\n\n")
    assert asked.samples[0]["question"].count("<|start_header_id|>user") >= 5
    # Longer than the context of 256 tokens: told as a number, not line by line.
    assert asked.truncations > 0
    assert "runcat" not in caplog.text


def test_bad_rows_are_rejects_and_the_others_are_asked(
    lm: Any, general_root: Path, tmp_path: Path
) -> None:
    from eval.general.harness import run_task

    benchmark = benchmark_named("leaderboard_bbh")
    task = next(t for t in benchmark.tasks if t.config == "snarks")
    rows = [{"input": f"Q{n}", "target": target} for n, target in enumerate(["(A)", "(Q)", "(B)"])]
    (tmp_path / "snarks.json").write_text(json.dumps({"canary": "x", "examples": rows}))
    measured = run_task(
        lm, tmp_path, "snarks.json", benchmark, replace(task), section(), tmp_path / "s", False
    )
    assert len(measured.per_question) == 2
    (reject,) = measured.rejects
    assert "'(Q)' is none of the choices" in reject.detail


def test_an_answer_must_fit_the_context(lm: Any, general_root: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="max tokens to generate") as caught:
        _run(lm, general_root, 0, tmp_path, max_answer_tokens=None)
    assert "max_answer_tokens" in caught.value.remedy


def test_without_nltks_splitter_it_says_how_to_get_it(
    lm: Any, general_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(InputError, match="punkt_tab") as caught:
        _run(lm, general_root, 0, tmp_path, nltk_data="nowhere")
    assert "nltk_data" in caught.value.remedy


def test_models_that_cannot_be_opened(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no model"):
        open_lm("meta-llama/Llama-3.1-8B", section())
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="safetensors"):
        open_lm(str(tmp_path), section())
    server = GeneralServer(base_url="http://127.0.0.1:9/v1", model="m", api_key_env="NO_SUCH_KEY")
    with pytest.raises(StageError, match="NO_SUCH_KEY is not set"):
        open_lm(str(tiny_folder), section(), server)
