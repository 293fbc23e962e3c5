"""Tokens and loops, against slow and plain versions of them."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from corpus.repetition.loops import MAX_PERIOD_TOKENS, MIN_TOKENS, NGRAM, counts_up, find_repeats
from corpus.repetition.tokens import DIGIT, LETTER, SIGN, tokenize


def _words(text: str) -> list[str]:
    tokens = tokenize(text)
    return [text[a:b] for a, b in zip(tokens.start.tolist(), tokens.end.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t", []),
        ("The halo of M31.", ["The", "halo", "of", "M", "31", "."]),
        (r"\quad\,x_1", ["\\", "quad", "\\", ",", "x", "_", "1"]),
        ("naïve Größe, α–β", ["naïve", "Größe", ",", "α", "–", "β"]),
        ("日本語の。", ["日", "本", "語", "の", "。"]),
        ("a\u2009b\u3000c", ["a", "b", "c"]),
        ("12.5e3", ["12", ".", "5", "e", "3"]),
        ("x" * 32, ["x" * 32]),
        ("x" * 33, ["x"] * 33),  # too long for a word
        ("😀😀 a", ["😀", "😀", "a"]),
        ("\udc80a", ["\udc80", "a"]),
    ],
)
def test_tokens(text: str, words: list[str]) -> None:
    assert _words(text) == words


def test_equal_words_have_equal_hashes_and_others_do_not() -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdeé", k=rng.randrange(1, 9))) for _ in range(5_000)]
    tokens = tokenize(" ".join(words))
    seen: dict[str, int] = {}
    for word, value in zip(words, tokens.hash.tolist(), strict=True):
        assert seen.setdefault(word, value) == value
    assert len(set(seen.values())) == len(seen)


def test_kinds_and_counters() -> None:
    tokens = tokenize("Figure 12 (b): mass")
    assert tokens.kind.tolist() == [LETTER, DIGIT, SIGN, LETTER, SIGN, SIGN, LETTER]
    assert tokens.counts().tolist() == [False, True, False, True, False, False, False]
    other = tokenize("Figure 13 (c): mass")
    assert tokens.masked().tolist() == other.masked().tolist()
    assert tokens.hash.tolist() != other.hash.tolist()


def test_distances_equal_those_of_a_plain_search() -> None:
    rng = random.Random(2)
    for letters in (2, 3, 20):
        values = [rng.randrange(letters) for _ in range(600)]
        found = find_repeats(np.array(values, np.uint64)).distance.tolist()
        seen: dict[tuple[int, ...], int] = {}
        for at in range(len(values)):
            gram = tuple(values[at : at + NGRAM])
            wanted = 0
            if len(gram) == NGRAM:
                wanted = at - seen.get(gram, at)
                seen[gram] = at
            assert found[at] == (wanted if wanted <= MAX_PERIOD_TOKENS else 0)


@pytest.mark.parametrize("period", [1, 2, 7, 8, 9, 50, 900])
@pytest.mark.parametrize("copies", [2, 3, 6])
def test_an_exact_loop_is_found_with_its_period_and_laps(period: int, copies: int) -> None:
    rng = random.Random(period)
    unit = [rng.randrange(10, 10**9) for _ in range(period)]
    before = [rng.randrange(10**9, 10**10) for _ in range(40)]
    after = [rng.randrange(10**9, 10**10) for _ in range(40)]
    stream = np.array([*before, *(unit * copies), *after], np.uint64)
    loops = find_repeats(stream).loops
    repeated = period * (copies - 1)
    laps = (repeated - NGRAM + 1) / period
    if repeated < MIN_TOKENS or laps < 1:
        assert loops == []
        return
    (loop,) = loops
    assert (loop.start, loop.end) == (40 + period, 40 + period * copies)
    assert (loop.period, loop.laps) == (period, pytest.approx(laps))


def test_a_loop_that_drifts_is_one_loop() -> None:
    rng = random.Random(4)
    words = ["that", "is", "a", "model"]
    drift = " ".join(
        " ".join(words if rng.random() < 0.9 else ["that", *words]) for _ in range(300)
    )
    text = f"The first sentence is not part of it. {drift} And the last one is not."
    loops = find_repeats(tokenize(text).hash).loops
    loop = max(loops, key=lambda found: found.laps)
    assert loop.end - loop.start > 1_100
    assert loop.laps > 150


def test_lists_with_one_beginning_are_no_loop() -> None:
    rng = random.Random(5)
    names = ["".join(rng.choices("abcdefgh", k=7)) for _ in range(60)]
    text = "\n".join(f"- <https://www.example.org/archive/of/all/papers/{name}>" for name in names)
    assert all(loop.laps < 3 for loop in find_repeats(tokenize(text).hash).loops)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (range(1, 40), True),
        (range(40, 1, -1), True),
        ([7] * 40, True),
        (range(1000, 3000, 50), False),
        ([31, 2, 77, 45, 10, 9, 64, 23] * 5, False),
    ],
)
def test_counters_step_by_one(values: list[int], counts: bool) -> None:
    text = " ".join(
        f"Figure {value} shows the spectrum of the star with its fit." for value in values
    )
    tokens = tokenize(text)
    repeats = find_repeats(tokens.masked())
    (loop,) = repeats.loops
    assert counts_up(loop, repeats.distance, tokens, text) is counts


@pytest.mark.parametrize("unit", ["a", "ab ", "0 ", "x_1 ", "the program is ", "日", "\\quad "])
def test_time_is_linear(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    started = time.process_time()
    find_repeats(tokenize(text).hash)
    assert time.process_time() - started < 3
