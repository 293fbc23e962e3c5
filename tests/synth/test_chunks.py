"""Chunks: whole paragraphs, budgets, overlap, skipped sections, and nothing lost."""

from __future__ import annotations

import random

import pytest
from transformers import PreTrainedTokenizerFast

from synth.chunks import JOIN_SHARE, Chunk, Cut, Limits, cut_documents
from synth.chunks import token_counter as make_counter
from synth.overlong import MAX_PIECE_CHARS


def words(texts: list[str]) -> list[int]:
    """Counts words, so that the numbers below can be read."""
    return [len(text.split()) for text in texts]


def cut(text: str, budget: int, overlap: int = 0, *skip: str) -> Cut:
    (found,) = cut_documents([text], words, Limits(budget, overlap), skip)
    return found


def texts(text: str, found: Cut) -> list[str]:
    return [text[c.start_char : c.end_char] for c in found.chunks]


def par(letter: str, length: int) -> str:
    return " ".join([letter] * length)


# --- Bounds


def test_paragraphs_are_joined_up_to_the_budget() -> None:
    text = f"{par('a', 4)}\n\n{par('b', 4)}\n\n{par('c', 4)}"
    found = cut(text, 8)
    assert texts(text, found) == [f"{par('a', 4)}\n\n{par('b', 4)}", par("c", 4)]
    assert [c.tokens for c in found.chunks] == [8, 4]


def test_a_section_starts_a_chunk_with_its_heading() -> None:
    text = f"# A\n\n{par('a', 10)}\n\n## B\n\n{par('b', 10)}\n\n# C\n\n{par('c', 10)}"
    found = cut(text, 30)
    assert texts(text, found) == [
        f"# A\n\n{par('a', 10)}",
        f"## B\n\n{par('b', 10)}",
        f"# C\n\n{par('c', 10)}",
    ]
    assert [c.path for c in found.chunks] == [("A",), ("A", "B"), ("C",)]


def test_short_sections_share_a_chunk_and_the_headings_above_all_of_it() -> None:
    text = "# A\n\n## B\n\nb b\n\n## C\n\nc c\n\n## D\n\n" + par("d", 30)
    found = cut(text, 60)
    assert texts(text, found) == [text]
    assert found.chunks[0].path == ("A",)
    # 12 words are a quarter of 40 and more: the next section starts anew.
    found = cut("# A\n\n" + par("a", 10) + "\n\n# B\n\nb", 40)
    assert [c.path for c in found.chunks] == [("A",), ("B",)]
    assert JOIN_SHARE == 0.25


def test_no_chunk_ends_with_a_heading() -> None:
    text = f"# A\n\n{par('a', 6)}\n\n## B\n\n### C\n\n{par('c', 6)}"
    for budget in range(10, 20):
        assert not any(t.endswith(("# A", "# B", "# C")) for t in texts(text, cut(text, budget)))


def test_blocks_stay_whole() -> None:
    table = "| a | b |\n| - | - |\n| 1 | 2 |"
    code = "```\nx = 1\n\ny = 2\n```"
    equation = "$$\nE = m c^2\n\n+ 0\n$$"
    text = "\n\n".join(["Some words here.", table, code, equation, "And the end."])
    found = texts(text, cut(text, 16))
    for block in (table, code, equation):
        assert sum(block in chunk for chunk in found) == 1


# --- Overlap


def test_overlap_is_whole_paragraphs_of_the_same_section() -> None:
    parts = [par("a", 10), par("b", 3), par("c", 2), par("d", 10), par("e", 4)]
    text = "# S\n\n" + "\n\n".join(parts) + "\n\n# T\n\n" + par("t", 12)
    found = cut(text, 20, 5)
    first, second, third = found.chunks
    assert text[first.start_char : first.end_char].endswith("c c")
    assert text[second.start_char : second.own_start_char] == "b b b\n\nc c\n\n"
    assert text[second.own_start_char : second.end_char].startswith("d d")
    assert second.tokens == 19
    assert third.own_start_char == third.start_char
    # Four tokens hold one of the paragraphs, one token none: never a part of one.
    assert text[cut(text, 20, 4).chunks[1].start_char :].startswith("c c")
    assert cut(text, 20, 1).chunks[1].start_char == cut(text, 20, 1).chunks[1].own_start_char


def test_overlap_gives_way_to_the_budget() -> None:
    text = f"{par('a', 4)}\n\n{par('b', 4)}\n\n{par('c', 10)}"
    found = cut(text, 10, 5)
    assert [c.tokens for c in found.chunks] == [8, 10]
    assert found.chunks[1].start_char == found.chunks[1].own_start_char


def test_a_short_last_chunk_takes_paragraphs_of_the_one_before() -> None:
    text = "\n\n".join(par(letter, 8) for letter in "abcde") + "\n\nf"
    found = cut(text, 40)
    assert [c.tokens for c in found.chunks] == [24, 17]


# --- Paragraphs over the budget


def test_an_overlong_paragraph_is_cut_at_sentences() -> None:
    one, two, three = "See Fig. 3 of it.", 'Smith et al. did "so." Not?', "Done by J. Doe now."
    text = f"{one} {two} {three}"
    found = cut(text, 8, 4)
    assert texts(text, found) == [one, 'Smith et al. did "so." Not?', three]
    assert found.paragraphs_cut == 1
    # Its parts are no whole paragraphs, so they are not repeated.
    assert all(c.start_char == c.own_start_char for c in found.chunks)


@pytest.mark.parametrize(
    "text",
    [
        "| " + " |\n| ".join(["cell"] * 60) + " |",
        "word " * 100,
        "x" * 1000,
        "\U0001f52d" * 300,
        "a. B" * 100,
    ],
    ids=["table", "words", "letters", "emoji", "no-sentence"],
)
def test_whatever_is_overlong_is_cut_somewhere(
    text: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    count = make_counter(tokenizer)
    (found,) = cut_documents([text], count, Limits(32, 0))
    assert len(found.chunks) > 1
    assert max(count(texts(text, found))) <= 32
    assert "".join("".join(texts(text, found)).split()) == "".join(text.split())


def test_a_huge_paragraph_is_cut_before_it_is_counted() -> None:
    seen: list[int] = []

    def count(pieces: list[str]) -> list[int]:
        seen.extend(map(len, pieces))
        return words(pieces)

    text = "Stars shine. " * (MAX_PIECE_CHARS // 8)
    (found,) = cut_documents([text], count, Limits(1000))
    assert max(seen) < MAX_PIECE_CHARS
    assert found.paragraphs_cut == 1
    assert max(c.tokens for c in found.chunks) == 1000


# --- Skipped sections


def test_named_sections_are_skipped_with_those_below_them() -> None:
    text = (
        "# Paper\n\nText.\n\n## 5. REFERENCES\n\n[1] A.\n\n### Web pages\n\n[2] B.\n\n"
        "### Appendix A\n\nProof.\n\n## Funding and Acknowledgments\n\nThanks."
    )
    found = cut(text, 50, 0, "references", "funding", "acknowledgments")
    assert texts(text, found) == ["# Paper\n\nText.", "### Appendix A\n\nProof."]
    assert [(text[a:b], heading) for (a, b), heading in found.skipped] == [
        ("## 5. REFERENCES\n\n[1] A.", "5. REFERENCES"),
        ("### Web pages\n\n[2] B.", "5. REFERENCES"),
        ("## Funding and Acknowledgments\n\nThanks.", "Funding and Acknowledgments"),
    ]
    assert cut(text, 50).skipped == []


def test_chunks_do_not_reach_across_a_skipped_section() -> None:
    text = "# A\n\na\n\n# References\n\nr\n\n# B\n\nb"
    assert texts(text, cut(text, 50, 5, "references")) == ["# A\n\na", "# B\n\nb"]


def test_nothing_to_cut() -> None:
    assert cut_documents([], words, Limits(10)) == []
    assert cut("", 10) == Cut()
    assert cut(" \n\n", 10) == Cut()


# --- Properties


def _made(rng: random.Random) -> str:
    """Returns a text of headings, prose, blocks and apparatus in any order."""
    parts = []
    for _ in range(rng.randint(1, 30)):
        sentence = " ".join(rng.choice(["star", "Gas.", "$x$", "42"]) for _ in range(6)) + "."
        parts.append(
            rng.choice(
                [
                    "#" * rng.randint(1, 4) + " " + rng.choice(["Data", "Results", "References"]),
                    " ".join([sentence] * rng.randint(1, 12)),
                    "$$\na\n\nb\n$$",
                    "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * rng.randint(1, 20),
                    "```\n" + "code\n\n" * rng.randint(1, 5) + "```",
                    "ACKNOWLEDGMENTS",
                ]
            )
        )
    return rng.choice(["\n\n", "\n\n\n", "\n \n"]).join(parts)


def _check(text: str, found: Cut, limits: Limits) -> None:
    held = [0] * len(text)
    for start, end in [(c.own_start_char, c.end_char) for c in found.chunks] + [
        span for span, _ in found.skipped
    ]:
        held[start:end] = [n + 1 for n in held[start:end]]
    # Everything is in one chunk or skipped section, short of blank lines between them.
    assert all(n == 1 or (n == 0 and c.isspace()) for n, c in zip(held, text, strict=True))
    before: Chunk | None = None
    for chunk in found.chunks:
        assert chunk.start_char <= chunk.own_start_char < chunk.end_char
        assert chunk.tokens <= limits.chunk_tokens
        if before is not None:
            assert before.start_char < chunk.own_start_char >= before.end_char
            assert chunk.start_char >= before.own_start_char
        before = chunk


@pytest.mark.parametrize("seed", range(60))
def test_chunks_cover_all_but_what_is_skipped_in_order_and_within_the_budget(
    seed: int, tokenizer: PreTrainedTokenizerFast
) -> None:
    rng = random.Random(seed)
    budget = rng.choice([32, 60, 200, 1000])
    limits = Limits(budget, rng.choice([0, budget // 8, budget // 2]))
    count = make_counter(tokenizer)
    made = [_made(rng) for _ in range(3)]
    skip = ("references", "acknowledgments")
    found = cut_documents(made, count, limits, skip)
    for text, one in zip(made, found, strict=True):
        _check(text, one, limits)
        # Where paragraphs meet, a tokenizer may make one token more than of each alone.
        assert max(count(texts(text, one)), default=0) <= budget + 1
        # A document is cut the same whatever is cut with it.
        assert cut_documents([text], count, limits, skip) == [one]
