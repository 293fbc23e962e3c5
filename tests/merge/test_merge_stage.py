from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.recipe.merge import Merge, MergeInput
from core.stage import StageContext
from merge.stage import MergeStage
from tests.merge.conftest import TEXT, USER, merged, weights


@pytest.fixture(scope="module")
def ctx(merge_ctx: StageContext) -> StageContext:
    return merge_ctx


def section(**changes: object) -> Merge:
    models = [
        MergeInput(model="train.sft", weight=0.75),
        MergeInput(model=USER, weight=0.25),
    ]
    values = {"base": "train.cpt", "models": models, "out_dtype": "float32"}
    return Merge.model_validate({**values, **changes})


def test_pruning_keeps_the_density_and_the_norm(ctx: StageContext, tmp_path: Path) -> None:
    one = [MergeInput(model="train.sft", weight=1.0, density=0.5)]
    MergeStage(section(models=one)).run(ctx, tmp_path)
    base, sft = weights(ctx, "train.cpt"), weights(ctx, "train.sft")
    found = merged(tmp_path / "model")
    kept = total = 0
    for name, start in base.items():
        delta = found[name] - start
        kept += int((delta.abs() > 1e-7).sum())
        total += delta.numel()
        norm = float((sft[name] - start).abs().sum())
        assert float(delta.abs().sum()) == pytest.approx(norm, rel=1e-3), name
    assert kept / total == pytest.approx(0.5, abs=0.02)


def contents(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (out / "model").iterdir()}


def test_the_seed_makes_the_bytes(ctx: StageContext, tmp_path: Path) -> None:
    """Also in another process with another hash seed, thread count and folder names."""
    merge = section(
        models=[
            MergeInput(model="train.sft", weight=0.75, density=0.9),
            MergeInput(model=USER, weight=0.25, density=0.5),
        ]
    )
    for name, seed in (("here", ctx.seed), ("other", 12)):
        MergeStage(merge).run(StageContext(ctx.run_dir, ctx.root, seed), tmp_path / name)
    here = contents(tmp_path / "here")
    assert here != contents(tmp_path / "other")
    assert not any(str(ctx.root).encode() in content for content in here.values())

    moved = tmp_path / "a" / "very" / "different" / "place"
    shutil.copytree(ctx.root, moved)
    code = (
        "import sys; from pathlib import Path; from core.recipe.merge import Merge;"
        "from core.stage import StageContext; from merge.stage import MergeStage;"
        "_, root, seed, out, section = sys.argv;"
        "context = StageContext(Path(root) / 'run', Path(root), int(seed));"
        "MergeStage(Merge.model_validate_json(section)).run(context, Path(out))"
    )
    arguments = [str(moved), str(ctx.seed), str(tmp_path / "there"), merge.model_dump_json()]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True)
    assert contents(tmp_path / "there") == here


def test_the_merged_model_speaks_like_the_last_one(ctx: StageContext, tmp_path: Path) -> None:
    MergeStage(section(out_dtype="bfloat16")).run(ctx, tmp_path)
    folder = tmp_path / "model"
    assert {t.dtype for t in merged(folder).values()} == {torch.bfloat16}
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.eos_token_id == [1, 4]
    assert tokenizer.chat_template == "the last model's template"
    user = ctx.root / USER
    for name in ("tokenizer.json", "generation_config.json"):
        assert (folder / name).read_bytes() == (user / name).read_bytes()
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    assert torch.isfinite(model(input_ids=ids).logits).all()

    document = yaml.safe_load((folder / "mergekit_config.yml").read_text())
    assert document["base_model"] == "train.cpt"
    assert [m["model"] for m in document["models"]] == ["train.sft", USER]
    assert document["parameters"] == {"normalize": False, "rescale": True}


def test_inputs_and_sources(ctx: StageContext) -> None:
    stage = MergeStage(section())
    assert stage.inputs == ("train.cpt", "train.sft")
    assert {p.parent.name for p in stage.source_files(ctx)} == {USER}
    absolute = section(models=[MergeInput(model=str(ctx.root / USER), weight=1.0)])
    assert str(ctx.root) not in json.dumps(MergeStage(absolute).config())
