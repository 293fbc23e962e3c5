"""The tiny model: deterministic, Llama-shaped, and readable by transformers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from core.chat import CHAT_TEMPLATE
from core.recipe.train import TinyModel
from core.tiny import SPECIAL_TOKENS, make_tiny_llama, save_model, train_tokenizer

TEXTS = ["Jupiter's radius is 69911 km.", "The Moon orbits the Earth.", "Größe: 🎉 α\n\n  x"] * 5
SHAPE = TinyModel(
    vocab_size=400,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=64,
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 400)


@pytest.mark.parametrize("text", ["The Moon", "  two  spaces\n\n", "Größe 🎉", "", "12345", "日本"])
def test_any_text_survives_encoding(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(ids[1:]) == text


def test_special_tokens_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    for token in SPECIAL_TOKENS:
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|finetune_right_pad_id|>",
    )


def test_numbers_split_in_threes_as_in_llama_3(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("69911 km's\n\nx")
    assert [piece for piece, _ in pieces] == ["699", "11", "Ġkm", "'s", "ĊĊ", "x"]


def test_vocabulary_stays_within_its_limit() -> None:
    assert len(train_tokenizer(TEXTS, 300)) == 300


def test_model_has_the_tokenizers_vocabulary_and_tied_embeddings(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = make_tiny_llama(SHAPE, tokenizer, seed=1)
    assert model.config.vocab_size == len(tokenizer)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert model.dtype == torch.float32
    eot = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id, eot]


def test_seed_decides_the_weights_and_leaves_torch_alone(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = make_tiny_llama(SHAPE, tokenizer, seed=1)
    assert torch.equal(torch.rand(3), expected)
    two, other = make_tiny_llama(SHAPE, tokenizer, 1), make_tiny_llama(SHAPE, tokenizer, 2)
    assert torch.equal(one.lm_head.weight, two.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_files_load_again_and_say_nothing_of_where_they_were_made(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = make_tiny_llama(SHAPE, tokenizer, seed=1)
    save_model(model, tokenizer, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    again = AutoTokenizer.from_pretrained(tmp_path / "model")
    ids = torch.tensor([tokenizer.encode("The Moon orbits")])
    assert again.encode("The Moon orbits") == ids[0].tolist()
    assert again.chat_template == CHAT_TEMPLATE
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded(ids).logits)
    for path in (tmp_path / "model").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "transformers_version" not in text
    saved = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert saved["eos_token_id"] == model.generation_config.eos_token_id


_SCRIPT = """
import sys
from pathlib import Path
import tests_shape as s
tokenizer = s.train_tokenizer(s.TEXTS, 400)
s.save_model(s.make_tiny_llama(s.SHAPE, tokenizer, 1), tokenizer, Path(sys.argv[1]))
"""


def test_words_without_end_teach_no_more_than_long_ones() -> None:
    # Merging within a word takes quadratic time: a run of a million blanks would take an hour.
    def learnt(length: int) -> dict[str, int]:
        runs = [mark * length for mark in (" ", "-", "x")]
        return train_tokenizer([f"a star {run} shines" for run in runs], 300).get_vocab()

    assert learnt(1_000_000) == learnt(1001)


def test_two_processes_write_the_same_bytes(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    save_model(make_tiny_llama(SHAPE, tokenizer, 1), tokenizer, tmp_path / "one")
    script = _SCRIPT.replace("import tests_shape as s", _import_this_file())
    command = [sys.executable, "-c", script, str(tmp_path / "two")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], timeout=120)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")


def _import_this_file() -> str:
    return (
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('shape', {__file__!r})\n"
        "s = importlib.util.module_from_spec(spec)\n"
        "sys.path.insert(0, '.')\n"
        "spec.loader.exec_module(s)"
    )


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
