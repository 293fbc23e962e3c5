"""Every YAML block of the documents fits the recipe's schema, whole or as a part of the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from core.plan import load_machine
from core.recipe import load_recipe
from core.recipe.sources import Source
from core.yaml_reader import read_yaml
from ray_jobs.pipeline import build_pipeline
from tests.docs.markdown import ROOT, Block, blocks, pages
from tests.docs.world import file_name

BLOCKS = [block for page in pages() for block in blocks(page) if block.language == "yaml"]

BESIDE: dict[str, Any] = {
    # A benchmark, models and tasks that the pages speak of.
    "docs/merging.md": {
        "merge": {
            "base": "train.base",
            "models": [
                {"model": "train.sft", "weight": 0.75},
                {"model": "models/Llama-3.1-8B-Instruct", "weight": 0.25},
            ],
        }
    },
    "docs/value.md": {
        "eval": {
            "mcq": {"benchmarks": [{"name": "astromlab1", "path": "samples/mcq/astronomy.jsonl"}]}
        }
    },
    "docs/general.md": {
        "eval": {
            "models": {"instruct": "train.instruct"},
            "general": {"tasks": [{"name": "leaderboard_ifeval", "path": "data"}]},
        }
    },
}
"""What a page takes for granted beside the demo."""


def merged(base: Any, part: Any) -> Any:
    """Returns the base with the part's keys in it; lists, and a model by another path, replace."""
    if isinstance(base, dict) and isinstance(part, dict) and "path" not in part:
        return {**base, **{k: merged(base.get(k), v) for k, v in part.items()}}
    return part


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 15


def test_every_kind_of_source_is_shown() -> None:
    shown = [read_yaml(block.text) for block in BLOCKS if block.page == "docs/sources.md"]
    kinds = {source["kind"] for data in shown for source in data["corpus"].get("sources", [])}
    models = get_args(get_args(Source)[0])
    assert kinds == {k for m in models for k in get_args(m.model_fields["kind"].annotation)}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: f"{b.page}:{b.line}")
def test_block(block: Block, tmp_path: Path) -> None:
    data = read_yaml(block.text)
    if "accelerators_per_node" in data:
        path = tmp_path / "machine.yaml"
        path.write_text(block.text)
        assert load_machine(str(path)).name == data["name"]
        return
    if not file_name(block.text):
        demo = read_yaml((ROOT / "recipes/demo.yaml").read_text())
        data = merged(merged(demo, BESIDE.get(block.page, {})), data)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**data, "root": str(ROOT), "run_dir": str(tmp_path / "run")}))
    assert build_pipeline(load_recipe(path)).stages
