"""Loss on held-out text against Hugging Face, a document at a time; the same on every layout."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import InputError
from core.recipe.evaluate import Evaluate
from core.recipe.train import Trainer
from tests.train.conftest import LENGTH
from tests.train.ranks import run_ranks
from train.engines import open_engine
from train.evaluation import Evaluator, evaluation_files, evaluation_line, pack_sets

TEXTS = {
    "stars.md": "---\ntitle: Stars\n---\nA star is a sun.",
    "galaxies.md": "A galaxy holds many stars. " * 9,
    "suns.txt": "Suns <|end_of_text|> are stars.",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heldout")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "empty.md").write_text("---\ntitle: Nothing\n---\n")
    (folder / "latin.md").write_bytes("Bételgeuse".encode("latin-1"))
    return folder


def section(*sets: tuple[str, list[str]], **changes: Any) -> Evaluate:
    found = [{"name": name, "paths": paths} for name, paths in sets]
    return Evaluate.model_validate({"every_steps": 2, "sets": found, **changes})


def packed(wanted: Evaluate, root: Path, model: Path, out: Path) -> dict[str, str]:
    return pack_sets(wanted, evaluation_files(wanted, root, "train.cpt"), model, LENGTH, out)


def by_hand(model: Path, names: list[str]) -> float:
    """Each document alone, in stretches of a sequence: the mean over its tokens and its end."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    losses = []
    for name in sorted(names):
        text = TEXTS[name].rpartition("---\n")[2].strip()
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        ids = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
        for start in range(0, len(ids), LENGTH):
            stretch = torch.tensor([ids[start : start + LENGTH]])
            if stretch.numel() > 1:
                with torch.no_grad():
                    logprobs = plain(stretch).logits[0, :-1].log_softmax(-1)
                losses.append(-logprobs.gather(-1, stretch[0, 1:, None])[:, 0])
    return float(torch.cat(losses).double().mean())


SETS = (("stars", ["stars.md", "suns.txt"]), ("galaxies", ["galaxies.md", "stars.md", "empty.md"]))


def _on_rank(model: str, folders: dict[str, str], layout: dict[str, Any]) -> dict[str, float]:
    engine = open_engine(Path(model), Trainer.model_validate(layout))
    return Evaluator(folders, engine, layout["micro_batch_size"], lambda: None).losses()


@pytest.mark.parametrize(
    "layout",
    [
        {"num_workers": 2, "global_batch_sequences": 2, "micro_batch_size": 1, "zero_stage": 3},
        {
            "num_workers": 4,
            "global_batch_sequences": 8,
            "micro_batch_size": 2,
            "parallel": {
                "engine": "pipeline",
                "tensor_parallel_size": 2,
                "pipeline_parallel_size": 2,
                "activation_checkpointing": True,
            },
        },
    ],
    ids=["zero3", "pipeline"],
)
def test_the_loss_is_that_of_each_document_alone(
    root: Path, tiny_model: Path, tmp_path: Path, layout: dict[str, Any]
) -> None:
    folders = packed(section(*SETS), root, tiny_model, tmp_path)
    expected = {name: by_hand(tiny_model, [p for p in paths if p in TEXTS]) for name, paths in SETS}
    for losses in run_ranks(layout["num_workers"], _on_rank, str(tiny_model), folders, layout):
        assert losses == pytest.approx(expected, abs=1e-5)


def test_what_is_written() -> None:
    line = evaluation_line(7, 0.25, {"stars": 2.0, "odd": 1e9})
    assert line == {
        "step": 7,
        "epoch": 0.25,
        "evaluation": {"stars": 2.0, "odd": 1e9},
        "perplexity": {"stars": math.exp(2.0), "odd": math.exp(700.0)},
    }


def test_a_set_ends_at_its_limit(root: Path, tiny_model: Path, tmp_path: Path) -> None:
    wanted = section(("all", ["galaxies.md", "stars.md"]), max_tokens=LENGTH)
    folders = packed(wanted, root, tiny_model, tmp_path)
    from train.data import SequenceDataset

    dataset = SequenceDataset(Path(folders["all"]))
    assert (len(dataset), dataset.documents(torch.arange(1).numpy())) == (1, ["galaxies.md"])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["latin.md"], "cannot read held-out text: 'utf-8' codec can't decode byte 0xe9"),
        (["empty.md"], "the held-out set 'bad' has no text"),
        (["nothing.md"], "no file found for 'nothing.md'"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_starts(
    root: Path, tiny_model: Path, tmp_path: Path, paths: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        packed(section(("bad", paths)), root, tiny_model, tmp_path)


def test_names_of_sets_are_unique() -> None:
    with pytest.raises(ValueError, match="'a' is the name of two entries"):
        section(("a", ["x"]), ("a", ["y"]))
