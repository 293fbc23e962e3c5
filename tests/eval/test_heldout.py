"""Held-out likelihood against a plain forward pass, and the files that are refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.front_matter import split_front_matter
from core.recipe.eval import HeldoutSet
from core.recipe.train import TinyModel
from core.rejects import Reason
from core.schema import HELDOUT_SCORE
from core.sources import SourceIndex
from core.stage import StageContext
from core.tiny import make_tiny_llama, save_model, train_tokenizer
from eval.heldout import HeldoutStage

TEXT = "# Parallax\n\nA star at one parsec has a parallax of one arcsecond: 206 265 au away – far."


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer([TEXT] * 2, 300)
    shape = TinyModel(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256,
    )  # fmt: skip
    save_model(make_tiny_llama(shape, tokenizer, seed=1), tokenizer, folder)
    return folder


def test_rows_and_rejects(ctx: StageContext, model_folder: Path) -> None:
    held = ctx.root / "held"
    held.mkdir()
    (held / "a.md").write_text(f"---\ntitle: Parallax\n---\n\n{TEXT}\n", encoding="utf-8")
    (held / "b.txt").write_text(TEXT, encoding="utf-8")
    (held / "c.md").write_text("---\ntitle: empty\n---\n", encoding="utf-8")
    (held / "d.md").write_bytes(b"caf\xe9")
    stage = HeldoutStage([HeldoutSet(name="astro", paths=["held"])], {"m": str(model_folder)})
    (unit,) = stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))
    result = stage.process(unit, ctx)

    assert result.rows_in == 4
    assert [(r.doc_id, r.reason) for r in result.rejected] == [
        ("held/c.md", Reason.EMPTY_TEXT),
        ("held/d.md", Reason.INVALID_UTF8),
    ]
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    assert ids[0, 0] == tokenizer.bos_token_id
    with torch.inference_mode():
        mean_loss = float(model(ids, labels=ids).loss)
    assert result.kept.schema == HELDOUT_SCORE
    for row, doc_id in zip(result.kept.to_pylist(), ["held/a.md", "held/b.txt"], strict=True):
        assert (row["doc_id"], row["set"], row["model"]) == (doc_id, "astro", "m")
        assert row["tokens"] == ids.shape[1] - 1
        assert row["bytes"] == len(TEXT.encode())
        assert row["negative_log_likelihood"] / row["tokens"] == pytest.approx(mean_loss, abs=1e-4)
    assert math.isfinite(mean_loss)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\na: 1\n---\nBody", "Body"),
        ("---\na: 1\n...\nBody", "Body"),
        ("---\n---\nBody", "Body"),
        ("Body\n\n---\n\nMore", "Body\n\n---\n\nMore"),
        ("--- dashes\nBody", "--- dashes\nBody"),
        ("---\nnever closed", "---\nnever closed"),
    ],
)
def test_front_matter(text: str, expected: str) -> None:
    assert split_front_matter(text)[1].strip() == expected
