from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import RecipeError
from core.recipe import load_recipe
from core.stage import JobStage, ShardStage
from ray_jobs.pipeline import build_pipeline


def _build(checkout: Path, *values: str):  # type: ignore[no-untyped-def]
    return build_pipeline(load_recipe(str(checkout / "recipes" / "demo.yaml"), list(values)))


def test_needs_reach_the_stages_and_make_nothing_stale(checkout: Path) -> None:
    plain = _build(checkout)
    changed = _build(
        checkout,
        "cluster.stages={corpus.ocr: {cpus: 4.0, gpus: 0.5, memory_gib: 2.0, workers: 64},"
        " corpus.normalize: {workers: 3}, merge.merged: {memory_gib: 100.0}}",
    )
    ocr = changed.get("corpus.ocr")
    assert (ocr.resources.cpus, ocr.resources.gpus) == (4.0, 0.5)
    assert ocr.resources.gpus_if_any == 0.0
    assert ocr.resources.memory_bytes == 2 * 2**30
    normalize = changed.get("corpus.normalize")
    assert isinstance(normalize, ShardStage)
    assert (normalize.actors, normalize.workers) == (None, 3)
    score = _build(checkout, "cluster.stages={corpus.perplexity_score: {workers: 5}}")
    scorer = score.get("corpus.perplexity_score")
    assert isinstance(scorer, ShardStage)
    assert scorer.actors == 5
    merged = changed.get("merge.merged")
    assert isinstance(merged, JobStage)
    assert merged.resources.memory_bytes == 100 * 2**30
    for name, stage in plain.stages.items():
        assert stage.config_digest(plain.ctx) == changed.get(name).config_digest(changed.ctx)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{corpus.normalise: {cpus: 2.0}}", "corpus.normalize"),
        ("{train.cpt: {gpus: 8.0}}", "num_workers"),
        ("{merge.merged: {workers: 2}}", "leave the key out"),
    ],
)
def test_needs_that_cannot_be_are_refused(checkout: Path, value: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        _build(checkout, f"cluster.stages={value}")
    assert says in caught.value.remedy
    assert "cluster.stages" in caught.value.where
