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
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import InputError
from core.recipe.merge import Merge, MergeInput
from core.recipe.train import TinyModel
from core.stage import StageContext
from core.tiny import make_tiny_llama, save_model, train_tokenizer
from merge.stage import MergeStage

SHAPE = TinyModel(
    vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
)
TEXT = "A merger of two galaxies makes an elliptical one."


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """A base, two models trained from it (noise added), one of them a folder of the user's."""
    root = tmp_path_factory.mktemp("root")
    ctx = StageContext(root / "run", root, seed=11)
    tokenizer = train_tokenizer([TEXT], SHAPE.vocab_size)
    folders = [ctx.folder("train.cpt"), ctx.folder("train.sft"), root / "users+models@home"]
    for number, folder in enumerate(folders):
        model = make_tiny_llama(SHAPE, tokenizer, seed=1)
        torch.manual_seed(number)
        with torch.no_grad():
            for parameter in model.parameters() if number else []:
                parameter += 0.01 * torch.randn_like(parameter)
        model.config.eos_token_id = [1, 10 + number]
        save_model(model, tokenizer, folder if number == 2 else folder / "model")
    (folders[2] / "chat_template.jinja").write_text("the last model's template")
    return ctx


def section(**changes: object) -> Merge:
    models = [
        MergeInput(model="train.sft", weight=0.75),
        MergeInput(model="users+models@home", weight=0.25),
    ]
    values = {"base": "train.cpt", "models": models, "out_dtype": "float32"}
    return Merge.model_validate({**values, **changes})


def weights(ctx: StageContext, name: str) -> dict[str, torch.Tensor]:
    return load_file(Path(ctx.model_path(name)) / "model.safetensors")


def merged(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in (out / "model").glob("*.safetensors"):
        found.update(load_file(path))
    return found


def test_density_one_is_a_sum_of_the_task_vectors_that_agree(
    ctx: StageContext, tmp_path: Path
) -> None:
    result = MergeStage(section()).run(ctx, tmp_path)
    base, sft, user = (weights(ctx, n) for n in ("train.cpt", "train.sft", "users+models@home"))
    found = merged(tmp_path)
    assert found.keys() == base.keys()
    assert result.metrics["tensors"] == len(base)
    plain = 0.0
    for name, start in base.items():
        parts = [0.75 * (sft[name] - start), 0.25 * (user[name] - start)]
        sign = torch.sign(parts[0] + parts[1])
        expected = start.clone()
        for part in parts:
            expected += torch.where(torch.sign(part) == sign, part, torch.zeros_like(part))
        assert torch.allclose(found[name], expected, atol=1e-6, rtol=0), name
        plain = max(plain, float((found[name] - start - parts[0] - parts[1]).abs().max()))
    assert plain > 1e-3, "signs never disagree: the test shows nothing"


@pytest.mark.parametrize("method", ["linear", "ties"])
def test_linear_and_ties_follow_their_formulas(
    ctx: StageContext, tmp_path: Path, method: str
) -> None:
    MergeStage(section(method=method)).run(ctx, tmp_path)
    base, sft, user = (weights(ctx, n) for n in ("train.cpt", "train.sft", "users+models@home"))
    for name, found in merged(tmp_path).items():
        if method == "linear":
            expected = 0.75 * sft[name] + 0.25 * user[name]
        else:
            parts = torch.stack([0.75 * (sft[name] - base[name]), 0.25 * (user[name] - base[name])])
            agree = torch.sign(parts) == torch.sign(parts.sum(0))
            weight = torch.tensor([0.75, 0.25]).view(2, *[1] * base[name].ndim)
            share = (agree * weight).sum(0).clamp(min=0.25)
            expected = base[name] + (parts * agree).sum(0) / share
        assert torch.allclose(found, expected, atol=1e-6, rtol=0), name


def test_pruning_keeps_the_density_and_the_norm(ctx: StageContext, tmp_path: Path) -> None:
    one = [MergeInput(model="train.sft", weight=1.0, density=0.5)]
    MergeStage(section(models=one)).run(ctx, tmp_path)
    base, sft = weights(ctx, "train.cpt"), weights(ctx, "train.sft")
    found = merged(tmp_path)
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
            MergeInput(model="users+models@home", weight=0.25, density=0.5),
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
    assert {t.dtype for t in merged(tmp_path).values()} == {torch.bfloat16}
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config.eos_token_id == [1, 12]
    assert tokenizer.chat_template == "the last model's template"
    user = ctx.root / "users+models@home"
    for name in ("tokenizer.json", "generation_config.json"):
        assert (folder / name).read_bytes() == (user / name).read_bytes()
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    assert torch.isfinite(model(input_ids=ids).logits).all()

    document = yaml.safe_load((folder / "mergekit_config.yml").read_text())
    assert document["base_model"] == "train.cpt"
    assert [m["model"] for m in document["models"]] == ["train.sft", "users+models@home"]
    assert document["parameters"] == {"normalize": False, "rescale": True}


def test_inputs_and_sources(ctx: StageContext) -> None:
    stage = MergeStage(section())
    assert stage.inputs == ("train.cpt", "train.sft")
    assert {p.parent.name for p in stage.source_files(ctx)} == {"users+models@home"}
    absolute = section(models=[MergeInput(model=str(ctx.root / "users+models@home"), weight=1.0)])
    assert str(ctx.root) not in json.dumps(MergeStage(absolute).config())


def broken(ctx: StageContext, tmp_path: Path) -> tuple[Path, Merge]:
    """A copy of the user's model, to be damaged, and a merge with it."""
    folder = tmp_path / "odd"
    shutil.copytree(ctx.root / "users+models@home", folder)
    return folder, section(models=[MergeInput(model=str(folder), weight=1.0)])


def test_a_tensor_of_another_shape_is_named(ctx: StageContext, tmp_path: Path) -> None:
    folder, merge = broken(ctx, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = tensors[name][:-1].contiguous()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError) as error:
        MergeStage(merge).run(ctx, tmp_path / "out")
    assert error.value.what == f"tensor {name} is (63, 32) in {folder} but (64, 32) in train.cpt"


def test_a_missing_tensor_is_named(ctx: StageContext, tmp_path: Path) -> None:
    folder, merge = broken(ctx, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"odd has no tensor model\.norm\.weight"):
        MergeStage(merge).run(ctx, tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "value"), [("num_attention_heads", 8), ("rms_norm_eps", 1e-3), ("vocab_size", 301)]
)
def test_another_architecture_is_refused(
    ctx: StageContext, tmp_path: Path, key: str, value: float
) -> None:
    folder, merge = broken(ctx, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config.pop("head_dim", None)
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(InputError, match=f"{key} is {value} in .*odd but .* in train.cpt"):
        MergeStage(merge).run(ctx, tmp_path / "out")


def test_another_tokenizer_is_refused(ctx: StageContext, tmp_path: Path) -> None:
    folder, merge = broken(ctx, tmp_path)
    train_tokenizer(["quite another text"], SHAPE.vocab_size).save_pretrained(folder)
    with pytest.raises(InputError, match="number tokens differently"):
        MergeStage(merge).run(ctx, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("config.json", "no readable config.json"),
        ("model.safetensors", "no safetensors weights"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_an_incomplete_model_is_named(
    ctx: StageContext, tmp_path: Path, file: str, what: str
) -> None:
    folder, merge = broken(ctx, tmp_path)
    (folder / file).unlink()
    with pytest.raises(InputError, match=what):
        MergeStage(merge).source_files(ctx)


def test_truncated_weights_are_named(ctx: StageContext, tmp_path: Path) -> None:
    folder, merge = broken(ctx, tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=f"cannot read the weights in {path}"):
        MergeStage(merge).run(ctx, tmp_path / "out")
