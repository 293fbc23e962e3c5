"""A sweep on Ray: points side by side, resumed, with nothing left behind."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file

from core.graph import Pipeline
from core.intervals import wilson
from core.manifest import Manifest
from core.progress import Reporter
from core.recipe.merge import Merge
from core.runner import run_pipeline
from core.stage import Resources, StageContext
from merge.sweep import MergeSweepStage, SweepScore, score_rows
from merge.sweep_figure import (
    SweepFigureStage,
    chosen_weight,
    draw,
    points_of,
    read_points,
    table_csv,
)

TENSOR = "model.norm.weight"
QUESTIONS = 1000


class NearScorer:
    """Scores a model by its nearness to two others: more of the one is less of the other.

    Args:
        domain, general: the models' folders.
        calls: a file where every scoring leaves a line.
        killed: the first worker that scores such a model dies at once.
    """

    resources = Resources()

    def __init__(
        self, domain: Path, general: Path, calls: Path, killed: Path | None = None
    ) -> None:
        self._folders = {"domain": domain, "general": general}
        self._calls = calls
        self._killed = killed

    def config(self) -> dict[str, Any]:
        return {"scorer": "near"}

    def source_files(self, ctx: StageContext) -> list[Path]:
        return []

    def score(self, model: Path, scratch: Path, ctx: StageContext) -> list[SweepScore]:
        assert scratch.is_dir()
        if self._killed is not None and not self._killed.exists():
            self._killed.touch()
            os._exit(9)
        with self._calls.open("a") as calls:
            calls.write(f"{model}\n")
        mine = _read(model)
        first, second = (_read(folder) for folder in self._folders.values())
        whole = float((first - second).norm())
        return [
            SweepScore(
                f"{group}-set", group,
                round(QUESTIONS * (1 - float((mine - _read(folder)).norm()) / whole)), QUESTIONS,
            )
            for group, folder in self._folders.items()
        ]  # fmt: skip


def _read(folder: Path) -> Any:
    return load_file(folder / "model.safetensors")[TENSOR]


Sweep = Callable[..., Pipeline]


@pytest.fixture
def sweep(merge_ctx: StageContext, tmp_path: Path) -> Sweep:
    """Makes the stages of a sweep over two folders, in a run of its own."""
    folders = [str(Path(merge_ctx.model_path(f"train.{n}"))) for n in ("sft", "instruct")]
    ctx = StageContext(tmp_path / "run", merge_ctx.root, seed=3)

    def make(killed: Path | None = None, **sweep: Any) -> Pipeline:
        section = Merge.model_validate(
            {
                "method": "linear",
                "models": [
                    {"model": folders[0], "weight": 0.75},
                    {"model": folders[1], "weight": 0.25},
                ],
                "out_dtype": "float32",
                "sweep": sweep,
            }
        )
        scorer = NearScorer(Path(folders[0]), Path(folders[1]), tmp_path / "calls", killed)
        stages = [MergeSweepStage(section, None, scorer), SweepFigureStage(section)]
        return Pipeline(stages, ctx)

    return make


def go(pipeline: Pipeline, workers: int = 1) -> list[str]:
    reporter = Reporter(Console(file=io.StringIO()))
    return run_pipeline(pipeline, pipeline.select(), reporter, workers=workers)


def left(pipeline: Pipeline) -> list[str]:
    folder = pipeline.ctx.folder("merge.sweep")
    return [p.name for p in folder.rglob("*.safetensors")]


def test_a_killed_worker_leaves_nothing_and_the_sweep_is_whole(
    sweep: Sweep, tmp_path: Path, ray_session: None
) -> None:
    killed = tmp_path / "killed"
    pipeline = sweep(killed, weights=[1.0, 0.0, 0.25, 0.5])
    orphan = pipeline.ctx.folder("merge.sweep") / "tmp" / "point-00077"
    orphan.mkdir(parents=True)
    (orphan / "model.safetensors").write_bytes(b"left by a crash")
    assert go(pipeline, workers=2) == ["merge.sweep", "merge.sweep_figure"]
    assert killed.exists()
    assert not left(pipeline)
    points = read_points(pipeline.ctx.folder("merge.sweep"))
    assert [p.weight for p in points] == [0.0, 0.25, 0.5, 1.0]
    # Of a linear merge, the distance goes with the weight; the ends are the models themselves.
    assert [p.groups["domain"].correct for p in points] == [1000, 750, 500, 0]
    assert [p.groups["general"].correct for p in points] == [0, 250, 500, 1000]
    models = (tmp_path / "calls").read_text().splitlines()
    assert sum("/train/" in model for model in models) == 2, "nothing is merged at the ends"

    folder = pipeline.ctx.folder("merge.sweep_figure")
    rows = list(csv.DictReader((folder / "sweep.csv").open()))
    assert rows[2] == {
        "weight": "0.25", "group": "domain", "correct": "750", "total": "1000",
        "accuracy": "0.750000",
        "low": f"{wilson(750, 1000)[0]:.6f}", "high": f"{wilson(750, 1000)[1]:.6f}",
    }  # fmt: skip
    assert (folder / "sweep.png").stat().st_size > 5000
    assert "merged: 0.25" in (folder / "sweep.svg").read_text()
    assert go(pipeline) == []

    # A weight more costs that weight alone, and the bytes of the rest stay.
    more = sweep(killed, weights=[0.0, 0.25, 0.5, 0.75, 1.0])
    assert go(more) == ["merge.sweep", "merge.sweep_figure"]
    assert len((tmp_path / "calls").read_text().splitlines()) == len(models) + 1
    kept = sweep(killed, weights=[0.0, 0.25], keep=True)
    assert go(kept) == ["merge.sweep", "merge.sweep_figure"]
    manifest = Manifest.load(kept.ctx.folder("merge.sweep"))
    assert manifest is not None
    assert (manifest.rows_in, manifest.rows_out) == (2, 2)
    models_folder = kept.ctx.folder("merge.sweep") / "models"
    assert [p.name for p in models_folder.iterdir()] == ["weight-0.25"]
    assert (models_folder / "weight-0.25" / "README.md").is_file()
    assert go(sweep(killed, weights=[0.0, 0.5])) == ["merge.sweep", "merge.sweep_figure"]
    assert not left(kept), "models of another sweep are not kept"


def section(**values: Any) -> Merge:
    models = [{"model": "train.sft", "weight": 1.5}, {"model": "x/instruct", "weight": 0.5}]
    return Merge.model_validate({"method": "linear", "models": models, **values})


def test_the_merge_itself_is_marked() -> None:
    assert chosen_weight(section()) == 0.25
    bare = [{"model": "train.sft"}, {"model": "x/instruct"}]
    assert chosen_weight(section(method="slerp", models=bare, t=0.3)) == 0.3


def test_a_sweep_without_weights_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no merge\.sweep"):
        MergeSweepStage(section(), None, NearScorer(tmp_path, tmp_path, tmp_path))


@pytest.mark.parametrize("groups", [("domain", "general"), ("general",), ()])
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_figures(tmp_path: Path, groups: tuple[str, ...], ending: str) -> None:
    """With both groups, one, or none that has a key; twice the same bytes."""
    import pyarrow as pa

    keyless = SweepScore("x", "domain", 0, 0)
    tables = [
        score_rows(w, [*(SweepScore(g, g, int(100 * w), 100) for g in groups), keyless])
        for w in (0.0, 0.25, 0.5)
    ]
    points = points_of(pa.concat_tables(tables))
    assert [tuple(p.groups) for p in points] == [groups] * 3
    paths = [tmp_path / f"{n}.{ending}" for n in (1, 2)]
    for path in paths:
        draw(points, 0.25, "instruct", path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(table_csv(points).splitlines()) == 1 + 3 * len(groups)
    if ending == "svg" and len(groups) == 2:
        text = paths[0].read_text()
        for said in (
            "general accuracy (%)",
            "domain accuracy (%)",
            "Merges by the weight of instruct",
        ):
            assert said in text
