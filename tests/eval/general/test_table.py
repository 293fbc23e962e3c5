"""Tasks added up to benchmarks, the figures, and the two stages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import InputError, RecipeError
from core.recipe.general import General, GeneralServer, Published
from core.shards import write_shard
from core.sources import SourceIndex
from core.stage import StageContext
from eval.general.figures import draw_figures
from eval.general.report_stage import GeneralStage
from eval.general.stage import GENERAL_SCORE, GeneralTasksStage
from eval.general.table import general_table, read_published, table_csv
from eval.general.tasks import BENCHMARKS, normalized
from tests.eval.general.conftest import FOLDERS, section

MODELS = ["base", "cpt", "sft", "merged", "instruct"]


def _rows(model: str, lift: float, skip: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "benchmark": benchmark.name,
            "task": task.name,
            "metric": metric,
            "value": min(1.0, task.chance + lift),
            "stderr": None if metric.startswith("inst") else 0.02,
            "n": 100 + 10 * number,
            "chance": task.chance,
            "normalized": normalized(min(1.0, task.chance + lift), task.chance),
            "limited": False,
            "per_question": [1.0, 0.0],
            "samples": [{"question": "q", "target": "t", "answer": "a", "score": 1.0}],
        }
        for benchmark in BENCHMARKS
        if benchmark.key not in skip
        for number, task in enumerate(benchmark.tasks)
        for metric in benchmark.metrics
    ]


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    rows = [row for n, model in enumerate(MODELS) for row in _rows(model, 0.05 + 0.06 * n)]
    return general_table(rows, section(), MODELS, {"AstroSage <8B>": {"ifeval": 41.4, "bbh": 52.9}})


def test_scores_by_hand() -> None:
    rows = [
        {"model": "m", "benchmark": "leaderboard_musr", "metric": "acc_norm", "samples": [],
         "task": f"leaderboard_musr_{name}", "value": value, "stderr": error, "n": n}
        for name, value, error, n in (
            ("murder_mysteries", 0.7, 0.03, 250),
            ("object_placements", 0.4, 0.03, 256),
            ("team_allocation", 0.6, 0.03, 250),
        )
    ]  # fmt: skip
    rows += [
        {"model": "m", "benchmark": "leaderboard_gpqa", "metric": "acc_norm", "samples": [],
         "task": f"leaderboard_gpqa_{name}", "value": value, "stderr": 0.02, "n": n}
        for name, value, n in (("diamond", 0.2, 200), ("extended", 0.4, 500), ("main", 0.4, 300))
    ]  # fmt: skip
    rows += [
        {"model": "m", "benchmark": "leaderboard_ifeval", "metric": metric, "samples": [],
         "task": "leaderboard_ifeval", "value": value, "stderr": 0.02, "n": 541}
        for metric, value in (("prompt_level_strict_acc", 0.3), ("inst_level_strict_acc", 0.5))
    ]  # fmt: skip
    names = ("leaderboard_ifeval", "leaderboard_gpqa", "leaderboard_musr")
    scores = general_table(rows, section(*names), ["m"], {})["scores"]["m"]
    # The leaderboard's worked example, where a third is rounded to 0.333.
    assert scores["musr"]["normalized"] == pytest.approx(35.0)
    assert scores["musr"]["score"] == pytest.approx(100 * (175 + 102.4 + 150) / 756)
    # 0.36 of all questions, not the mean of the tasks' normalised scores (13.3).
    assert scores["gpqa"]["score"] == pytest.approx(36.0)
    assert scores["gpqa"]["normalized"] == pytest.approx(100 * 0.11 / 0.75)
    assert scores["ifeval"]["score"] == pytest.approx(40.0)
    assert scores["ifeval"]["stderr"] is None


def test_table(table: dict[str, Any], tmp_path: Path) -> None:
    assert table["models"] == [*MODELS, "AstroSage <8B>"]
    assert table["measured"] == MODELS
    assert set(table["average"]) == set(MODELS)
    assert table["figure"]["cpt"] == ["base", "cpt"]
    assert table["figure"]["sft"] == ["sft", "merged", "instruct", "AstroSage <8B>"]
    assert [b["chance"] for b in table["benchmarks"]] == [0, None, 0, 25, None, 10]
    assert json.loads(json.dumps(table)) == table
    head, *lines = table_csv(table)
    assert head == ["model", *(b.key for b in BENCHMARKS), "average_normalized"]
    assert lines[-1] == ["AstroSage <8B>", "41.40", "52.90", "", "", "", "", ""]


def test_figures_follow_light_and_dark_and_repeat(table: dict[str, Any], tmp_path: Path) -> None:
    names = draw_figures(table, tmp_path / "a")
    assert names == draw_figures(table, tmp_path / "b")
    for name in names:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes()
        if name.endswith(".svg"):
            svg = content.decode()
            assert "prefers-color-scheme: dark" in svg
            assert "http://www.w3.org/2000/svg" in svg
            # Hostile names are text; nothing is fetched or run.
            assert ("AstroSage &lt;8B&gt;" in svg) == (name == "general-benchmarks.svg")
            assert "<8B>" not in svg
            assert not re.search(r"<script|xlink:href=\"(?!#)|\bon\w+=", svg)
            assert svg.count("#0072b2") > 2
        else:
            assert content.startswith(b"\x89PNG")
            assert len(content) > 10_000


def test_figures_of_part_of_the_benchmarks(tmp_path: Path) -> None:
    rows = _rows("base", 0.1, skip=("bbh", "math", "gpqa", "musr", "mmlu_pro"))
    table = general_table(rows, section("leaderboard_ifeval", limit=10), ["base"], {})
    assert draw_figures(table, tmp_path) == ["general-benchmarks.svg", "general-benchmarks.png"]
    assert "first 10 questions of each task" in (tmp_path / "general-benchmarks.svg").read_text()
    nothing = general_table([], section("leaderboard_ifeval"), ["base"], {})
    draw_figures(nothing, tmp_path)
    assert "nothing to draw" in (tmp_path / "general-benchmarks.svg").read_text()


def test_a_normalised_figure_leaves_out_what_has_no_such_score(tmp_path: Path) -> None:
    rows = _rows("base", 0.1)
    drawn = section(figure_scores="normalized")
    table = general_table(rows, drawn, ["base"], {"other": {"bbh": 50.0}})
    draw_figures(table, tmp_path)
    svg = (tmp_path / "general-benchmarks.svg").read_text()
    assert "normalised score" in svg
    assert ">other<" not in svg


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("model,bbh\nx,101\n", "'101' is no percentage"),
        ("model,bbh\nx,half\n", "row 2, bbh: 'half'"),
        ("model,bbh\nx,nan\n", "is no percentage"),
        ("model,bbh\nx,1\nx,2\n", "'x' is there twice"),
        ("name,bbh\nx,1\n", "no model is named"),
        ("model,other\nx,1\n", "there is no score in it"),
    ],
)
def test_published_scores_are_checked(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=what):
        read_published(tmp_path / "p.csv")


def _stages(folder: Path, root: Path, run: Path) -> tuple[GeneralTasksStage, Any, StageContext]:
    chosen = section("leaderboard_musr", chat_models=["b"], samples=1)
    models = {"a": str(folder), "b": str(folder)}
    published = Published(path="p.csv")
    (root / "p.csv").write_text("model,musr\nother,38.9\n")
    chosen = chosen.model_copy(update={"published": published})
    ctx = StageContext(run_dir=run, root=root, seed=1)
    return GeneralTasksStage(chosen, models), GeneralStage(chosen, models), ctx


def test_from_tasks_to_files(tiny_folder: Path, general_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    tasks, report, ctx = _stages(tiny_folder, general_root, tmp_path / "run")
    tasks.setup(ctx)
    sources = SourceIndex(ctx.root, ctx.run_dir / "sources.json")
    units = tasks.plan(ctx, sources)
    # Model by model, so that each is loaded once.
    assert [u.payload["model"] for u in units] == ["a"] * 3 + ["b"] * 3
    for unit in units:
        result = tasks.process(unit, ctx)
        assert result.kept.schema == GENERAL_SCORE
        assert result.rows_in == result.rows_out
        write_shard(
            ctx.folder("eval.general_tasks") / f"part-{unit.index:05d}.parquet", result.kept
        )
    out = ctx.folder("eval.general")
    report.run(ctx, out)
    found = json.loads((out / "general.json").read_text())
    assert found["models"] == ["a", "b", "other"]
    assert found["scores"]["a"]["musr"]["n"] == 6
    assert len(found["samples"]) == 6
    assert (out / "general.csv").read_text().startswith("model,musr,average")
    assert (out / "general-benchmarks.svg").exists()


def test_units_follow_what_they_depend_on(tiny_folder: Path, tmp_path: Path) -> None:
    from tests.eval.general.conftest import write_data

    write_data(tmp_path)
    tasks, _, ctx = _stages(tiny_folder, tmp_path, tmp_path / "run")

    def digests() -> list[str]:
        sources = SourceIndex(ctx.root, ctx.run_dir / "sources.json")
        return [unit.digest for unit in tasks.plan(ctx, sources)]

    before = digests()
    path = tmp_path / "data" / "musr" / "team_allocation.csv"
    path.write_text(path.read_text().replace("Somebody", "Nobody"))
    changed = [a != b for a, b in zip(before, digests(), strict=True)]
    units = tasks.plan(ctx, SourceIndex(ctx.root, tmp_path / "sources.json"))
    redone = [u.payload["task"] for u, c in zip(units, changed, strict=True) if c]
    assert redone == ["leaderboard_musr_team_allocation"] * 2


def test_config_holds_what_scores_depend_on() -> None:
    def config(**more: Any) -> dict[str, Any]:
        return GeneralTasksStage(section(**more), {"m": "train.sft"}).config()

    server = GeneralServer(base_url="http://127.0.0.1:8000/v1/", model="m")
    assert server.base_url.endswith("/v1/")
    assert config() == config(workers=2, gpus=0.0, figure_scores="normalized")
    assert config() != config(batch_size=2)
    assert config() != config(limit=5)
    moved = server.model_copy(update={"base_url": "http://127.0.0.1:9000/v1"})
    assert config(servers={"m": server}) == config(servers={"m": moved})
    assert section(servers={"m": server}).servers["m"].base_url == "http://127.0.0.1:8000/v1"
    with pytest.raises(RecipeError, match="'x' is no model"):
        config(servers={"x": server})


def test_a_task_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="is listed twice"):
        section("leaderboard_bbh", "leaderboard_bbh")
    assert isinstance(section(), General)
    assert set(FOLDERS) == {benchmark.name for benchmark in BENCHMARKS}
    assert pa.types.is_list(GENERAL_SCORE.field("per_question").type)
