"""Stage ``eval.value`` on a run's scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.atomic import write_json
from core.errors import InputError
from core.recipe.value import OwnCost, Value
from core.stage import StageContext
from eval.value.draw import COST, KINDS
from eval.value.equation import Rounded
from eval.value.read import Scored
from eval.value.stage import ValueStage, drawable, load_table, own_models, section_files
from eval.value.table import build_table

TABLE = """model,family,access,score_percent,value
GPT-4,OpenAI,P,77.8,0.0
Llama 3.1 8B,Meta,O,75.7,2.36
Llama 3.1 70B,Meta,O,82.5,3.60
"""


def scores(correct: int = 61, total: int = 80) -> dict[str, Any]:
    def model(name: str, right: int) -> dict[str, Any]:
        counts = {"correct": right, "total": total}
        return {
            "name": name,
            "groups": {"domain": counts},
            "benchmarks": [{"name": "astromlab1", **counts}, {"name": "other", **counts}],
        }

    return {"models": [model("base", correct // 2), model("merged", correct)]}


@pytest.fixture
def run(context: StageContext) -> StageContext:
    folder = context.folder("eval.scores")
    folder.mkdir(parents=True)
    write_json(folder / "scores.json", scores())
    context.path("table.csv").write_text(TABLE)
    context.path("prices.csv").write_text("model,usd_per_0.1m_tokens\nGPT-4,4.5\n")
    context.path("dates.csv").write_text(
        "model,released\nGPT-4,2023-03-14\nLlama 3.1 8B,2024-07-23\n"
    )
    return context


def section(**changes: Any) -> Value:
    own = {"merged": OwnCost(cost_as="Llama 3.1 8B", released="2026-11", label="ours")}
    values: dict[str, Any] = {
        "scores": ["table.csv"],
        "costs": "prices.csv",
        "dates": "dates.csv",
        "own": own,
    }
    return Value(**(values | changes))


def test_it_places_the_runs_models(run: StageContext, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    result = ValueStage(section(benchmark="astromlab1")).run(run, out)
    assert (result.rows_in, result.rows_out) == (4, 4)
    assert result.metrics == {"models": 4, "own_models": 1, "frontier": 2}
    names = {path.name for path in out.iterdir()}
    figures = {f"figure{n}.{end}" for n in (3, 4) for end in ("png", "svg", "html")}
    assert names == {"value.json", "table.csv"} | figures
    rows = {row["model"]: row for row in csv.DictReader((out / "table.csv").open())}
    ours = rows["ours"]
    assert (ours["own"], ours["questions"], ours["cost_source"]) == (
        "true",
        "80",
        "as Llama 3.1 8B",
    )
    assert float(ours["score_percent"]) == 76.25
    # As dear as Llama 3.1 8B, so ahead of its value by the points over 3.5.
    assert float(ours["value"]) == pytest.approx(2.36 + (76.25 - 75.7) / 3.5, abs=1e-4)
    found = json.loads((out / "value.json").read_text())
    assert found["by_score"] == ["Llama 3.1 70B", "GPT-4", "ours", "Llama 3.1 8B"]
    assert found["by_value"] == ["Llama 3.1 70B", "ours", "Llama 3.1 8B", "GPT-4"]
    # Better at the same cost than Llama 3.1 8B; the 70B is better and cheaper than GPT-4.
    assert found["frontier"] == ["Llama 3.1 70B", "ours"]
    page = (out / "figure3.html").read_text()
    assert "scored on the benchmark astromlab1 (ours 61 of 80)" in page


def test_without_dates_there_is_no_second_figure(run: StageContext) -> None:
    with_dates, without = section(), section(dates=None)
    dated = load_table(with_dates, section_files(with_dates, run.path))
    assert [drawable(kind, dated) for kind in KINDS] == [True, True]
    undated = load_table(without, section_files(without, run.path))
    assert [drawable(kind, undated) for kind in KINDS] == [True, False]
    assert not drawable(COST, build_table([Scored("A", "x", "open", Rounded(70.0))], "A"))


def test_a_model_without_a_key_is_named_not_placed(run: StageContext) -> None:
    found, missing = own_models(section(), scores(correct=0, total=0))
    assert found == []
    assert missing == {"merged": "no question of the benchmark has a key"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"own": {"mixed": OwnCost(cost_as="GPT-4")}}, "no model 'mixed'"),
        ({"benchmark": "astromlab2"}, "no benchmark 'astromlab2'"),
    ],
)
def test_names_that_the_run_does_not_have(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        own_models(section(**changes), scores())


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({}, "give one of"),
        ({"cost_as": "A", "usd_per_100k_tokens": 1.0}, "give one of"),
        ({"usd_per_100k_tokens": 0.0}, "greater than 0"),
        ({"cost_as": "A", "released": "May 2025"}, "is no date"),
        ({"cost_as": "A", "released": "2025-13"}, "is no date"),
    ],
)
def test_refused_sections(values: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        OwnCost(**values)


def test_its_files_are_sources(run: StageContext) -> None:
    stage = ValueStage(section())
    found = [path.name for path in stage.source_files(run)]
    assert found == ["table.csv", "prices.csv", "dates.csv"]
    assert stage.config()["baseline"] == "GPT-4"
    assert json.loads(json.dumps(stage.config())) == stage.config()


def test_names_are_checked_with_the_recipe() -> None:
    value = section(benchmark="astromlab1")
    value.check_names(["base", "merged"], ["astromlab1"])
    with pytest.raises(ValueError, match="no model 'merged', only base"):
        value.check_names(["base"], ["astromlab1"])
    with pytest.raises(ValueError, match="no 'astromlab1', only mine"):
        value.check_names(["merged"], ["mine"])


def test_a_section_without_files_has_the_papers(run: StageContext) -> None:
    files = section_files(Value(), run.path)
    names = ["astromlab4_table1.csv", "list_prices.csv", "release_dates.csv"]
    assert [path.name for path in files.listed()] == names
    assert len(load_table(Value(), files).entries) == 123
    # Own prices beside the paper's scores.
    assert section_files(Value(costs="prices.csv"), run.path).costs == run.path("prices.csv")
    # Own scores have nobody else's prices.
    assert section_files(Value(scores=["table.csv"]), run.path).costs is None
