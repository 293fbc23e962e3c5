"""Scores, verdicts, submission files and the terminal table on hand-made predictions."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import polars as pl
import pytest
from rich.console import Console
from statsmodels.stats.proportion import proportion_confint

from core.stage import StageContext
from eval.scores.likelihood import heldout_scores
from eval.scores.table import score_table
from eval.scores.verdicts import verdicts


def load(ctx: StageContext) -> dict[str, Any]:
    path = ctx.folder("eval.scores") / "scores.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_accuracy_counts_only_keyed_questions(finished_run: StageContext) -> None:
    sft = load(finished_run)["models"][2]
    assert sft["name"] == "sft"
    domain = sft["groups"]["domain"]
    assert (domain["correct"], domain["total"], domain["chance"]) == (43, 80, 0.25)
    expected = proportion_confint(43, 80, method="wilson")
    assert (domain["low"], domain["high"]) == pytest.approx(expected)
    assert [b["total"] for b in sft["benchmarks"]] == [80, 40, 0]
    assert sft["benchmarks"][2]["accuracy"] is None
    stars = [t for t in sft["topics"] if (t["group"], t["topic"]) == ("domain", "Stars")]
    # Topics go round by three and the first 43 questions are right: 0, 3, ... 42. Keyless ones
    # do not count.
    assert [(t["correct"], t["total"]) for t in stars] == [(15, 27)]


def test_heldout_scores(finished_run: StageContext) -> None:
    base = load(finished_run)["models"][0]["heldout"][0]
    assert base["set"] == "astronomy"
    assert (base["documents"], base["tokens"], base["bytes"]) == (3, 3000, 12000)
    assert base["perplexity"] == pytest.approx(math.exp(5.2))
    assert base["bits_per_byte"] == pytest.approx(5.2 / math.log(2) / 4)
    broken = pl.DataFrame({"tokens": [1], "bytes": [1], "negative_log_likelihood": [1e5]})
    assert heldout_scores(broken)["perplexity"] is None
    assert heldout_scores(broken.head(0))["perplexity"] is None


def test_verdicts_of_a_good_run(finished_run: StageContext) -> None:
    scores = load(finished_run)
    assert scores["verdict_holds"] == [True] * 5
    assert scores["verdicts"][0] == (
        "cpt: in-domain held-out perplexity (astronomy) fell by 66.7%, from 181.3 (base) to 60.3: "
        "at least 30%."
    )
    assert (
        "sft: in-domain accuracy 53.8% [42.9, 64.3] over 80 questions is above chance"
        in (scores["verdicts"][1])
    )


def test_verdicts_compare_on_the_same_questions(finished_run: StageContext) -> None:
    """The fixture's models have nested right answers, so 24 are the later model's alone."""
    scores = load(finished_run)
    paired = [p for p in scores["paired"] if p["group"] == "domain" and p["b"] == "sft"]
    assert [(p["a"], p["a_only"], p["b_only"], p["total"]) for p in paired] == [("base", 0, 24, 80)]
    assert scores["verdicts"][3] == (
        "sft: in-domain accuracy against base: +30.0 points [21.1, 40.8] over the same 80 "
        "questions (McNemar, p < 0.001): better."
    )


def test_paired_verdicts_say_worse_and_unclear() -> None:
    entry = {"a": "base", "group": "domain", "total": 9, "low": -0.3, "high": 0.1}
    models = [model("base", 0.2, 0.3, 100.0), model("x", 0.3, 0.4, 10.0)]
    said = [
        verdicts(models, [entry | {"b": "x", "difference": d, "p_value": p}])[-1]
        for d, p in ((-0.2, 0.01), (0.2, 0.2))
    ]
    assert [v.holds for v in said] == [False, False]
    assert said[0].sentence.endswith("(McNemar, p = 0.010): worse.")
    assert said[1].sentence.endswith("(McNemar, p = 0.200): no clear difference.")
    other = entry | {"b": "x", "difference": 0.2, "p_value": 0.01, "group": "general"}
    assert len(verdicts(models, [other])) == len(verdicts(models))


def test_a_model_in_two_modes_is_judged_once_by_its_perplexity() -> None:
    models = [
        model("base", 0.2, 0.3, 100.0),
        model("x · letter", 0.3, 0.4, 10.0) | {"model": "x"},
        model("x · json", 0.3, 0.4, 10.0) | {"model": "x"},
    ]
    perplexity = [v for v in verdicts(models) if "perplexity" in v.sentence]
    assert [v.sentence.partition(":")[0] for v in perplexity] == ["x · letter"]


def model(
    name: str, low: float, high: float, perplexity: float, tokens: int = 10
) -> dict[str, Any]:
    held = {"set": "s", "group": "domain", "documents": 1, "bytes": 40, "tokens": tokens,
            "perplexity": perplexity, "bits_per_byte": 1.5}  # fmt: skip
    middle = (low + high) / 2
    domain = {"accuracy": middle, "low": low, "high": high, "chance": 0.25, "total": 9}
    return {"name": name, "groups": {"domain": domain}, "heldout": [held]}


def test_verdicts_say_plainly_when_not() -> None:
    said = verdicts(
        [
            model("base", 0.2, 0.3, 100.0),
            model("cpt", 0.2, 0.3, 80.0),
            model("sft", 0.24, 0.4, 90.0),
            model("merged", 0.1, 0.2, 90.0),
        ]
    )
    assert [v.holds for v in said] == [False, False, False]
    assert (
        "fell by only 20.0%, from 100.0 (base) to 80.0: not the 30% hoped for" in said[0].sentence
    )
    assert "sft: " in said[1].sentence
    assert "not clearly above chance" in said[1].sentence
    assert "is below chance (25.0%)" in said[2].sentence


def test_worse_perplexity_and_other_tokenizer() -> None:
    worse, other = (
        verdicts([model("base", 0.2, 0.3, 100.0), model("x", 0.3, 0.4, 150.0, tokens)])[0]
        for tokens in (10, 12)
    )
    assert "rose by 50.0%" in worse.sentence
    assert not worse.holds
    assert "tokenizer differs" in other.sentence
    assert not other.holds


def test_submission_only_where_there_is_no_key(finished_run: StageContext) -> None:
    folder = finished_run.folder("eval.scores") / "submission"
    assert sorted(p.name for p in folder.iterdir()) == [
        f"blind.{name}.csv" for name in ("base", "cpt", "merged", "sft")
    ]
    lines = (folder / "blind.sft.csv").read_text().splitlines()
    assert lines == ["item_id,prediction", "q000,B", "q001,C", "q002,D", "q003,A", "q004,B"]


def test_samples_show_gains_first(finished_run: StageContext) -> None:
    path = finished_run.folder("eval.scores") / "samples.json"
    samples = json.loads(path.read_text(encoding="utf-8"))
    assert [s["right"] for s in samples] == [True] * 3 + [False] * 3
    # The first model has 19 right, so q019 is the first that only later models get right.
    assert samples[0]["item_id"] == "q019"
    assert samples[0]["predicted"] == {"base": 0, "cpt": 3, "merged": 3, "sft": 3}


def test_table(finished_run: StageContext) -> None:
    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(score_table(load(finished_run)))
    lines = out.getvalue().splitlines()
    row = next(line for line in lines if "sft" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "sft", "66.7", "109.9", "53.8% [42.9, 64.3]", "30.0% [18.1, 45.4]"
    ]  # fmt: skip
    assert "guessing: domain 25.0%, general 25.0%" in out.getvalue()
