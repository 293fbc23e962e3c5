"""The card, and the numbers on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.front_matter import split_front_matter
from core.recipe.merge import Merge
from core.stage import StageContext
from merge.card import CARD_NAME, short_names, stated_licence, write_card
from merge.run import measured
from merge.voice import Voice
from tests.merge.conftest import USER, weights

VOICE = Voice("recipe", True, ("<|end_of_text|>", "<|eot_id|>"))


def merge(**values: Any) -> Merge:
    models = [
        {"model": "train.sft", "weight": 0.85, "density": 0.9},
        {"model": USER, "weight": 0.15, "density": 0.5},
    ]
    return Merge.model_validate({"base": "train.cpt", "models": models, **values})


def card(section: Merge, ctx: StageContext, out: Path, **values: Any) -> tuple[dict[str, Any], str]:
    folders = {name: Path(ctx.model_path(name)) for name in section.names}
    out.mkdir(exist_ok=True)
    vectors = values.get("vectors")
    write_card(section, folders, 11, values.get("voice", VOICE), vectors, out)
    return split_front_matter((out / CARD_NAME).read_text("utf-8"))


def test_the_numbers_are_those_of_the_weights(merge_ctx: StageContext) -> None:
    section = merge()
    folders = {name: Path(merge_ctx.model_path(name)) for name in section.names}
    found = measured(section, folders, "w")
    assert found is not None
    flat = [
        np.concatenate(
            [t.double().numpy().ravel() for _, t in sorted(weights(merge_ctx, n).items())]
        )
        for n in section.names
    ]
    first, second = flat[1] - flat[0], flat[2] - flat[0]
    assert found.base_norm == pytest.approx(np.linalg.norm(flat[0]), rel=1e-6)
    assert found.norms == pytest.approx((np.linalg.norm(first), np.linalg.norm(second)), rel=1e-5)
    assert found.relative[0] == pytest.approx(np.linalg.norm(first) / np.linalg.norm(flat[0]))
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert found.cosine == pytest.approx(cosine, abs=1e-5)
    assert found.disagreeing == pytest.approx(np.mean(first * second < 0), abs=1e-4)
    assert 0.4 < found.disagreeing < 0.6, "independent noise"


def test_a_model_that_is_its_base_has_no_direction(merge_ctx: StageContext) -> None:
    from merge.task_vectors import measure
    from merge.weights import read_weights

    base = read_weights(Path(merge_ctx.model_path("train.cpt")), "w")
    found = measure(base, [base, base])
    assert found.norms == (0.0, 0.0)
    assert found.cosine is None
    assert found.disagreeing == 0


def test_what_the_card_says(merge_ctx: StageContext, tmp_path: Path) -> None:
    section = merge(hub={"train.cpt": "org/base", USER: "org/instruct"})
    folders = {name: Path(merge_ctx.model_path(name)) for name in section.names}
    vectors = measured(section, folders, "w")
    front, text = card(section, merge_ctx, tmp_path, vectors=vectors)
    assert front == {
        "base_model": ["org/base", "org/instruct"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["merge", "mergekit", "astromill"],
    }
    assert vectors is not None
    for said in (
        "# DARE-TIES merge of 2 models",
        "sign(wᵢδᵢ) = sign(Σ wδ)",
        "Yu et al. 2024 divide by the density",
        f"| `train.sft` | 0.85 | 0.9 | {vectors.relative[0]:.3%} |",
        "https://huggingface.co/org/instruct",
        "Base: `train.cpt`",
        "seed 11",
        "written as bfloat16",
        f"pull {vectors.disagreeing:.1%} of the parameters in opposite directions",
        "An answer ends at `<|end_of_text|>`, `<|eot_id|>`",
        "enable_thinking=True",
        "- `train.sft`: not stated",
    ):
        assert said in text, said
    assert str(merge_ctx.root) not in text


def test_a_card_without_pruning_or_base(merge_ctx: StageContext, tmp_path: Path) -> None:
    models = [{"model": "train.sft"}, {"model": USER}]
    section = merge(method="slerp", base=None, models=models, t=0.3)
    front, text = card(section, merge_ctx, tmp_path, voice=Voice("none", False, ()))
    assert "base_model" not in front
    assert "| `train.sft` | 0.7 |" in text
    assert "density" not in text
    assert "Base:" not in text
    assert "no chat template" in text
    assert "enable_thinking" not in text
    one = [{"model": "train.sft", "weight": 0.5}]
    _, text = card(merge(models=one), merge_ctx, tmp_path)
    assert "sum to 0.5, not 1" in text
    assert "pruned" not in text


def test_the_licence_is_named_where_all_models_agree(tmp_path: Path) -> None:
    names = ("a", "b")
    section = Merge.model_validate(
        {"method": "linear", "models": [{"model": n, "weight": 0.5} for n in names]}
    )
    ctx = StageContext(tmp_path / "run", tmp_path, seed=1)
    for name, licence in zip(names, ("llama3.1", "[llama3.1]"), strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / CARD_NAME).write_text(f"---\nlicense: {licence}\n---\n# {name}\n")
        assert stated_licence(tmp_path / name) == "llama3.1"
    front, text = card(section, ctx, tmp_path / "out")
    assert front["license"] == "llama3.1"
    (tmp_path / "b" / CARD_NAME).write_text("---\nlicense: mit\n---\n")
    front, text = card(section, ctx, tmp_path / "out")
    assert "license" not in front
    assert "- `a`: llama3.1\n- `b`: mit" in text
    (tmp_path / "b" / CARD_NAME).write_bytes(b"\xff\xfe")
    assert stated_licence(tmp_path / "b") is None


def test_names_on_the_card_tell_folders_apart() -> None:
    assert short_names(["train.sft", "/x/m/Llama"]) == {
        "train.sft": "train.sft",
        "/x/m/Llama": "Llama",
    }
    assert set(short_names(["/x/a/model", "/x/b/model"]).values()) == {"a/model", "b/model"}
    deep = ["/1/a/b/c", "/2/a/b/c"]
    assert set(short_names(deep).values()) == {"model 1", "model 2"}
