"""The encoder against the tokenizer's own call, text by text."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordPiece
from tokenizers.trainers import BpeTrainer, WordPieceTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from corpus.encode import TextEncoder

TEXTS = [
    "Jupiter is the largest planet in the Solar System. Its radius is 69,911 km.\n\n" * 20,
    "# Rings\n\n\tof  ice\r\n\r\n  and dust   \n\n\n$$E = mc^2$$\n" * 30,
    "Élise measured α Centauri at 4.37 light-years. 🎉 <|eot_id|> ends a turn. " * 20,
    " " * 500 + "\n" * 300 + " x" * 200 + "\t" * 200,
    "a" * 3000,
    "1234567890" * 200 + "\n " + "=" * 1000,
    "行星环绕恒星运行。\n" * 100,
    "",
    "\n",
    "x",
]


@pytest.fixture(scope="module")
def llama(tiny_folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_folder)
    return tokenizer


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerBase:
    fast: Any = PreTrainedTokenizerFast  # untyped in transformers
    wrapped: PreTrainedTokenizerBase = fast(tokenizer_object=tokenizer, unk_token="<unk>")
    return wrapped


def _metaspace(split: bool) -> PreTrainedTokenizerBase:
    """As SentencePiece: a mark before every word; with ``split=False`` merges run across words."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=split)
    tokenizer.decoder = decoders.Metaspace()
    trainer = BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator([t[:400] for t in TEXTS], trainer)
    return _wrapped(tokenizer)


def _word_piece() -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _wrapped(tokenizer)


def _expected(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(
        texts, add_special_tokens=False, split_special_tokens=True
    ).input_ids
    return ids


@pytest.mark.parametrize("piece_chars", [16, 100, 1000, 1 << 16])
def test_pieces_give_the_same_ids(llama: PreTrainedTokenizerBase, piece_chars: int) -> None:
    got = [ids.tolist() for ids in TextEncoder(llama, piece_chars).encode(TEXTS)]
    assert got == _expected(llama, TEXTS)


@pytest.mark.parametrize("make", [lambda: _metaspace(True), lambda: _metaspace(False), _word_piece])
def test_other_tokenizers_give_the_same_ids(make: Callable[[], PreTrainedTokenizerBase]) -> None:
    tokenizer = make()
    got = [ids.tolist() for ids in TextEncoder(tokenizer, 100).encode(TEXTS)]
    assert got == _expected(tokenizer, TEXTS)


def test_random_white_space_and_marks(llama: PreTrainedTokenizerBase) -> None:
    rng = random.Random(0)
    parts = [
        "\n",
        " ",
        "\t",
        "\r\n",
        "word",
        "12",
        "...",
        "'s",
        "é",
        "<|eot_id|>",
        "\u00a0",
        "\u2028",
    ]
    texts = ["".join(rng.choices(parts, k=400)) for _ in range(100)]
    got = [ids.tolist() for ids in TextEncoder(llama, 50).encode(texts)]
    assert got == _expected(llama, texts)


def test_long_texts_are_cut_into_pieces(llama: PreTrainedTokenizerBase) -> None:
    encoder = TextEncoder(llama, 200)
    pieces = list(encoder._pieces(TEXTS[0]))
    assert "".join(piece for piece, _ in pieces) == TEXTS[0]
    assert max(len(piece) for piece, _ in pieces) <= 200
    assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]
    # A line end is the better place.
    assert all(piece.endswith("\n") for piece, _ in pieces)
    # Nowhere to cut: one piece.
    assert list(encoder._pieces("a" * 3000)) == [("a" * 3000, True)]


def test_texts_are_read_a_batch_at_a_time(llama: PreTrainedTokenizerBase) -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield "Titan is a moon. " * 1000

    encoded = TextEncoder(llama).encode(texts())
    next(encoded)
    assert taken < 20
    assert sum(1 for _ in encoded) == 99


def test_the_tokenizer_is_left_as_it_was(llama: PreTrainedTokenizerBase) -> None:
    before = llama("a <|eot_id|>").input_ids
    list(TextEncoder(llama).encode(["a <|eot_id|>"]))
    assert llama("a <|eot_id|>").input_ids == before
    assert llama.backend_tokenizer.encode_special_tokens is False
    # Settings of an earlier call do not reach the encoder.
    llama(["a", "b c d e f"], padding=True, truncation=True, max_length=2)
    (ids,) = TextEncoder(llama).encode(["Titan is a moon."])
    assert ids.tolist() == _expected(llama, ["Titan is a moon."])[0]
