from __future__ import annotations

import random
import time

import pytest

from core.paragraphs import group_paragraphs, split_paragraphs


def _split(text: str) -> list[str]:
    return [text[start:end] for start, end in split_paragraphs(text)]


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("", []),
        (" \n\t\n ", []),
        ("one", ["one"]),
        ("one\nstill one", ["one\nstill one"]),
        ("one\n\ntwo", ["one", "two"]),
        ("one\n \t\n\n\n  two\n\n", ["one", "two"]),
        ("\n\n  one\n\ntwo", ["one", "two"]),
        (" \n\none", ["one"]),
        ("a\n\n```\nx\n\ny\n```\n\nb", ["a", "```\nx\n\ny\n```", "b"]),
        ("a\n\n~~~ python\nx\n\ny\n~~~\n\nb", ["a", "~~~ python\nx\n\ny\n~~~", "b"]),
        ("  ```\nx\n\ny\n  ```\n\nb", ["```\nx\n\ny\n  ```", "b"]),
        ("see\n$$\na\n\nb\n$$\n\nb", ["see\n$$\na\n\nb\n$$", "b"]),
        ("$$a$$ and $$b$$\n\nb", ["$$a$$ and $$b$$", "b"]),
    ],
)
def test_blank_lines_part_paragraphs_but_not_blocks(text: str, paragraphs: list[str]) -> None:
    assert _split(text) == paragraphs


@pytest.mark.parametrize(
    ("text", "paragraphs"),
    [
        ("pay $$ now\n\ntwo\n\nthree", ["pay $$ now", "two", "three"]),
        ("```\nnever closed\n\ntwo", ["```\nnever closed", "two"]),
        ("```\necho $$\n```\n\ntwo\n\nthree", ["```\necho $$\n```", "two", "three"]),
        ("```\n~~~\n\nx\n```\n\ntwo", ["```\n~~~\n\nx\n```", "two"]),
        ("```inline```\n\ntwo\n\n```\nx\n\ny\n```", ["```inline```", "two", "```\nx\n\ny\n```"]),
        ("$$x\n\n```\ny\n\nz\n```", ["$$x", "```\ny\n\nz\n```"]),
    ],
)
def test_a_stray_mark_does_not_swallow_the_rest(text: str, paragraphs: list[str]) -> None:
    assert _split(text) == paragraphs


def test_random_texts_are_covered_and_blocks_stay_whole() -> None:
    rng = random.Random(7)
    for _ in range(300):
        pieces = [f"words {i}\nmore" for i in range(rng.randrange(1, 8))]
        blocks = [f"```\ncode {i}\n\n$$ end\n```" for i in range(2)]
        blocks += [f"$$\nx_{i}\n\ny\n$$" for i in range(2)]
        whole = [*pieces, *rng.sample(blocks, rng.randrange(5))]
        rng.shuffle(whole)
        gaps = [rng.choice(["\n\n", "\n \n", "\n\n\n\t\n", "\n\n  "]) for _ in whole]
        text = "".join(p + g for p, g in zip(whole, gaps, strict=True))
        assert _split(text) == whole


def test_spans_cover_all_that_is_not_blank_on_any_text() -> None:
    rng = random.Random(8)
    for _ in range(500):
        text = "".join(rng.choices(["a", "é", " ", "\n", "\n\n", "$$", "```\n", "\t"], k=60))
        spans = split_paragraphs(text)
        position = 0
        for start, end in spans:
            assert text[position:start].strip() == ""
            assert text[start:end].strip()
            assert end > start >= position
            position = end
        assert text[position:].strip() == ""


def test_time_grows_with_the_text_not_with_its_square() -> None:
    text = "$$\n```python\n" + "a line of text\n\n" * 40_000
    start = time.perf_counter()
    assert len(split_paragraphs(text)) == 40_000
    assert time.perf_counter() - start < 2


def test_neighbours_are_joined_up_to_the_limit() -> None:
    spans = [(0, 10), (12, 20), (22, 30), (32, 90), (92, 95)]
    assert group_paragraphs(spans, 20) == [(0, 20), (22, 30), (32, 90), (92, 95)]
    assert group_paragraphs(spans, 1000) == [(0, 95)]
    assert group_paragraphs(spans, 1) == spans
    assert group_paragraphs([], 20) == []
