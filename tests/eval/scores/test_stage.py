"""The stage over predictions in several modes, with orders, gaps and a report of the corpus."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.benchmark_text import BenchmarkItem
from core.contamination_files import contamination_report
from core.errors import InputError
from core.recipe.eval import Benchmark
from core.stage import StageContext
from eval.scores.stage import ScoresStage

Row = dict[str, Any]
Make = Callable[..., Row]
RunScores = Callable[..., dict[str, Any]]


def two_modes(prediction: Make) -> list[Row]:
    """``base`` in one mode; ``merged`` by letter and by reasoning, which leaves two unanswered."""
    rows = [prediction("base", n, 0, logprobs=[-0.1, -3.0, -3.0, -3.0]) for n in range(8)]
    rows += [prediction("merged", n, n % 4, logprobs=[-1.0] * 4) for n in range(8)]
    for n in range(8):
        choice, rule = (
            (None, "truncated") if n == 3 else (None, "none") if n == 4 else (n % 4, "json")
        )
        rows.append(
            prediction("merged", n, choice, mode="reasoning", read_by=rule, raw_text=f"<think>{n}")
        )
    return rows


def test_a_model_in_two_modes_has_two_rows(prediction: Make, run_scores: RunScores) -> None:
    scores = run_scores(two_modes(prediction), ["base", "merged", "absent"])
    names = [(m["name"], m["model"], m["mode"]) for m in scores["models"]]
    assert names == [
        ("base", "base", "letter"),
        ("merged · letter", "merged", "letter"),
        ("merged · reasoning", "merged", "reasoning"),
        ("absent", "absent", None),
    ]
    domain = [m["groups"]["domain"] for m in scores["models"]]
    assert [(d["correct"], d["total"], d["unanswered"], d["truncated"]) for d in domain] == [
        (2, 8, 0, 0), (8, 8, 0, 0), (6, 8, 2, 1), (0, 0, 0, 0)
    ]  # fmt: skip
    assert [m["benchmarks"][0]["missing"] for m in scores["models"]] == [0, 0, 0, 8]
    assert domain[3]["accuracy"] is None
    pairs = [(p["a"], p["b"], p["a_only"], p["b_only"]) for p in scores["paired"]]
    assert pairs == [
        ("base", "merged · letter", 0, 6),
        # Of questions 0 and 4, which base has right, reasoning leaves 4 without an answer.
        ("base", "merged · reasoning", 1, 5),
    ]
    assert [c["name"] for c in scores["calibration"]] == ["base", "merged · letter"]
    assert scores["contaminated"] is None
    assert any("merged · letter: in-domain accuracy against base" in v for v in scores["verdicts"])


def test_samples_hold_what_was_written(
    prediction: Make, run_scores: RunScores, context: StageContext
) -> None:
    run_scores(two_modes(prediction), ["base", "merged"])
    path = context.folder("eval.scores") / "samples.json"
    samples = json.loads(path.read_text(encoding="utf-8"))
    # Right by the last row and wrong by the first come first: 1, 2, 5; then what it has wrong.
    assert [s["item_id"] for s in samples] == ["q1", "q2", "q5", "q3", "q4"]
    assert samples[0]["answers"]["merged · reasoning"] == {
        "choice": 1, "correct": True, "read_by": "json", "raw_text": "<think>1"
    }  # fmt: skip
    assert samples[3]["predicted"] == {"base": 0, "merged · letter": 3, "merged · reasoning": None}


def test_only_the_files_order_is_scored(prediction: Make, run_scores: RunScores) -> None:
    rows = []
    for number, order in enumerate(([0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2])):
        # Always the first place shown.
        rows += [prediction("m", n, order[0], permutation=number, order=order) for n in range(8)]
    scores = run_scores(rows, ["m"])
    domain = scores["models"][0]["groups"]["domain"]
    assert (domain["correct"], domain["total"], domain["asked"]) == (2, 8, 8)
    (bias,) = scores["position_bias"]
    assert (bias["permutations"], bias["answers"]) == (3, 32)
    assert bias["positions"][0]["chosen_share"] == 1.0
    assert bias["averaged"]["accuracy"] == 0.25
    assert bias["p_value"] < 0.001


def test_topics_are_compared_with_the_first_model(prediction: Make, run_scores: RunScores) -> None:
    rows = [prediction("base", n, (n + 1) % 4) for n in range(40)]
    rows += [prediction("sft", n, n % 4 if n % 2 else (n + 1) % 4) for n in range(40)]
    scores = run_scores(rows, ["base", "sft"], questions=40)
    first, second = (m["topics"] for m in scores["models"])
    assert [t["versus_first"] for t in first] == [None, None]
    marks = {t["topic"]: (t["versus_first"]["mark"], t["versus_first"]["b_only"]) for t in second}
    assert marks == {"Galaxies": ("+", 20), "Stars": ("", 0)}
    assert second[0]["versus_first"]["p_holm"] == pytest.approx(2 * 0.5**19)


def write_report(context: StageContext, found: list[str]) -> None:
    items = [BenchmarkItem("bench", f"q{n}", "What?") for n in range(8)]
    overlaps = [
        {"benchmark": "bench", "item_id": name, "doc_id": "d", "words": 13, "part": "question",
         "text": "what is question"}
        for name in found
    ]  # fmt: skip
    folder = context.folder("corpus.contamination_report")
    folder.mkdir(parents=True)
    report = contamination_report(items, overlaps)
    report["benchmarks"]["bench"]["found"].append({"item_id": "gone"})
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def test_scores_without_what_the_corpus_held(
    prediction: Make, run_scores: RunScores, context: StageContext
) -> None:
    write_report(context, ["q0", "q1", "q4"])
    rows = [prediction("m", n, 0) for n in range(8)]
    scores = run_scores(rows, ["m"], contamination="corpus.contamination_report")
    assert scores["contaminated"]["benchmarks"] == [
        {"name": "bench", "group": "domain", "known": True, "items": 8, "flagged": 3,
         "unmatched": 1}
    ]  # fmt: skip
    (entry,) = scores["contaminated"]["models"]
    counts = {k: (entry[k]["correct"], entry[k]["total"]) for k in ("all", "clean", "flagged")}
    # Only 0 and 4 have A as their answer, and both were found.
    assert counts == {"all": (2, 8), "clean": (0, 5), "flagged": (2, 3)}
    assert entry["difference"] == pytest.approx(2 / 3)
    assert entry["low"] < 2 / 3 < entry["high"]
    answers = pq.read_table(context.folder("eval.scores") / "answers.parquet").to_pylist()
    assert [a["item_id"] for a in answers if a["contaminated"]] == ["q0", "q1", "q4"]


def test_a_benchmark_that_nobody_looked_for_is_not_called_clean(
    prediction: Make, run_scores: RunScores, context: StageContext
) -> None:
    folder = context.folder("corpus.contamination_report")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text('{"benchmarks": {}}', encoding="utf-8")
    rows = [prediction("m", n, 0) for n in range(8)]
    scores = run_scores(rows, ["m"], contamination="corpus.contamination_report")
    assert scores["contaminated"]["benchmarks"][0]["known"] is False
    assert scores["contaminated"]["models"] == []


@pytest.mark.parametrize("text", ["", "[]", '{"benchmarks": {"bench": {"items": 3}}}'])
def test_a_report_that_is_none(
    prediction: Make, run_scores: RunScores, context: StageContext, text: str
) -> None:
    folder = context.folder("corpus.contamination_report")
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="which questions the corpus held"):
        run_scores([prediction("m", 0, 0)], ["m"], contamination="corpus.contamination_report")


def test_submission_of_two_modes_and_unread_answers(
    prediction: Make, run_scores: RunScores, context: StageContext
) -> None:
    rows = two_modes(prediction)
    for row in rows:
        if row["item_id"] in ("q6", "q7"):
            row["correct"] = None
    run_scores(rows, ["base", "merged"], questions=6, keyless=2)
    folder = context.folder("eval.scores") / "submission"
    assert sorted(p.name for p in folder.iterdir()) == [
        "bench.base.csv", "bench.merged.letter.csv", "bench.merged.reasoning.csv"
    ]  # fmt: skip
    with (folder / "bench.merged.reasoning.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[4:6] == [["q3", ""], ["q4", ""]]
    assert lines[7:] == [["q6", "C"], ["q7", "D"]]


def test_same_bytes_however_the_rows_are_cut(
    prediction: Make, run_scores: RunScores, context: StageContext
) -> None:
    rows = two_modes(prediction)
    names = ("scores.json", "answers.parquet", "samples.json")
    run_scores(rows, ["base", "merged"])
    out = context.folder("eval.scores")
    before = [(out / name).read_bytes() for name in names]
    run_scores(rows[5:] + rows[:5], ["base", "merged"])
    assert [(out / name).read_bytes() for name in names] == before


def test_predictions_of_another_file_and_a_broken_shard(
    prediction: Make, run_scores: RunScores, context: StageContext
) -> None:
    rows = [prediction("m", n, 0) for n in range(9)]
    with pytest.raises(InputError, match="'q8' of bench"):
        run_scores(rows, ["m"])
    (context.folder("eval.mcq") / "part-00000.parquet").write_bytes(b"PAR1 no")
    stage = ScoresStage({"m": ""}, [Benchmark(name="bench", path="bench.jsonl")])
    with pytest.raises(InputError, match="cannot read these shards"):
        stage.run(context, context.folder("eval.scores"))


def test_its_inputs() -> None:
    listed = [Benchmark(name="bench", path="bench.jsonl")]
    assert ScoresStage({}, listed).inputs == ("eval.mcq",)
    stage = ScoresStage({}, listed, contamination="corpus.contamination_report")
    assert stage.inputs == ("eval.mcq", "corpus.contamination_report")
