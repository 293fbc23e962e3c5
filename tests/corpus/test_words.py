"""The word encoder against the tokenizer itself, on text made to break it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from core.tiny import train_tokenizer
from corpus import words
from corpus.encode import TextEncoder
from corpus.words import LLAMA_SPLIT, WordEncoder, splits_like_llama, word_encoder


@pytest.fixture
def llama(tiny_folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_folder)
    return tokenizer


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    fast: Any = tokenizer
    return fast.backend_tokenizer


def _encoder(tokenizer: PreTrainedTokenizerBase) -> WordEncoder:
    encoder = word_encoder(tokenizer, len(tokenizer))
    assert encoder is not None
    return encoder


def _expected(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(
        texts, add_special_tokens=False, split_special_tokens=True
    ).input_ids
    return ids


def _hostile(rng: random.Random, count: int) -> list[str]:
    """Strings of pieces that the split treats in special ways, and any characters at all."""
    parts = [
        "'",
        "'s",
        "'S",
        "'\u017f",
        "'ll",
        "'LL",
        "'r",
        " ",
        "  ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "1",
    ]
    parts += [
        "12",
        "a",
        "Word",
        "é",
        "e\u0301",
        ".",
        "...",
        "<|eot_id|>",
        "\u00a0",
        "\u2028",
        "\u3000",
    ]
    parts += ["\x1c", "\x85", "\u0660", "²", "½", "行", "🎉", "\u200d", "\x00", "_", "\u0558"]
    texts = []
    for _ in range(count):
        some = [
            chr(rng.choice([rng.randrange(0x2500), rng.randrange(0xE000, 0x20000)])) for _ in "123"
        ]
        texts.append("".join(rng.choices([*parts, *some], k=rng.randrange(60))))
    return texts


def test_hostile_strings_give_the_same_ids(llama: PreTrainedTokenizerBase) -> None:
    texts = _hostile(random.Random(1), 1500)
    assert [ids.tolist() for ids in TextEncoder(llama).encode(texts)] == _expected(llama, texts)
    # Known words, learnt in other surroundings.
    again = texts[::-1]
    assert [ids.tolist() for ids in TextEncoder(llama).encode(again)] == _expected(llama, again)


def test_a_word_alone_is_split_as_in_its_text(llama: PreTrainedTokenizerBase) -> None:
    split = _backend(llama).pre_tokenizer.pre_tokenize_str
    for text in _hostile(random.Random(2), 300):
        for _, (start, end) in split(text):
            assert [at for _, at in split(text[start:end])] == [(0, end - start)]


def test_a_character_the_engines_disagree_on_is_left_to_the_tokenizer(
    llama: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = _encoder(llama)
    assert encoder.encode("plain é text") is not None
    # As if Python held the digit seven for a letter.
    split = LLAMA_SPLIT.replace(r"\p{L}+", r"[\p{L}7]+").replace(r"\p{L}\p{N}", r"\p{L}7\p{N}")
    monkeypatch.setattr(words, "LLAMA_SPLIT", split)
    other = WordEncoder(_backend(llama))
    assert other._odd == set()
    assert other.encode("a star") is not None
    assert other.encode("a7b") is None
    assert other._odd == {"7"}
    assert other.encode("a star") is not None
    # With the true expression, too: letters that are younger than one of the two engines.
    (ids,) = TextEncoder(llama).encode(["x\U00010940y \u0558 \ua7dd"])
    assert ids.tolist() == _expected(llama, ["x\U00010940y \u0558 \ua7dd"])[0]


def test_memory_is_bounded(llama: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_CACHE_BYTES", 5000)
    encoder = WordEncoder(_backend(llama))
    texts = [f"number{n} word{n * n}" for n in range(500)]
    encoded = []
    for text in texts:
        ids = encoder.encode(text)
        assert ids is not None
        encoded.append(ids.tolist())
        assert len(encoder._ids) < 40
    assert encoded == _expected(llama, texts)


def test_it_is_for_llamas_split_only(llama: PreTrainedTokenizerBase) -> None:
    def changed() -> Any:
        return _backend(train_tokenizer(["A star is a sun."], 300))

    assert splits_like_llama(changed())
    assert splits_like_llama(_backend(llama))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    other = changed()
    other.normalizer = normalizers.NFC()
    assert not splits_like_llama(other)
    for steps in (
        [pre_tokenizers.Split(Regex(LLAMA_SPLIT.replace("{1,3}", "")), "isolated"), byte_level],
        [pre_tokenizers.Split(Regex(LLAMA_SPLIT), "removed"), byte_level],
        [pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated")],
        [
            pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ],
    ):
        other = changed()
        other.pre_tokenizer = pre_tokenizers.Sequence(steps)
        assert not splits_like_llama(other)
    other = changed()
    other.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert not splits_like_llama(other)
    other.pre_tokenizer = None
    assert not splits_like_llama(other)
    other = changed()
    other.model.dropout = 0.1
    assert not splits_like_llama(other)
    other = changed()
    other.add_tokens(["sun"])
    assert not splits_like_llama(other)


def test_a_vocabulary_that_grew_is_another(llama: PreTrainedTokenizerBase) -> None:
    text = "ends <here> Titan"
    assert _encoder(llama).encode(text) is not None
    llama.add_tokens(["<here>"])
    (ids,) = TextEncoder(llama).encode([text])
    assert ids.tolist() == _expected(llama, [text])[0]
    assert len(llama) - 1 in ids.tolist()
