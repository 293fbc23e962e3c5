from __future__ import annotations

import random
import time

import pytest

from core.paragraphs import PART_CHARS, group_paragraphs, split_paragraphs


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
        ("one\n \t\n\n\n  two\n\n", ["one", "  two"]),
        ("\n\n  one\n\ntwo", ["  one", "two"]),
        (" \n\none", ["one"]),
        ("a\n\n```\nx\n\ny\n```\n\nb", ["a", "```\nx\n\ny\n```", "b"]),
        ("a\n\n~~~ python\nx\n\ny\n~~~\n\nb", ["a", "~~~ python\nx\n\ny\n~~~", "b"]),
        ("  ```\nx\n\ny\n  ```\n\nb", ["  ```\nx\n\ny\n  ```", "b"]),
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
        gaps = [rng.choice(["\n\n", "\n \n", "\n\n\n\t\n"]) for _ in whole]
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


LONG = "prose that is no code. " * 40


@pytest.mark.parametrize(
    "block",
    [
        "$$\na\n\nb\n$$",
        "where $$\na\n\nb\n$$ is meant",
        r"\[ a" + "\n\n" + r"b \\[2pt] c \]",
        "\\begin{align*}\na\n\nb\n\\end{align*}",
        "\\begin{table}\n\\begin{tabular}{l}\na\n\nb\n\\end{tabular}\n\n\\end{table}",
        "\\begin{lstlisting}\na\n\nb\n\\end{lstlisting}",
        "<table>\n<tr><td>1</td></tr>\n\n<tr><td>2</td></tr>\n</table>",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "```python\nx\n\ny\n```",
        "````\n```\nx\n\ny\n```\n\n````",
        "```\n\nx\n\n```",
        "```\nx = 1\n\n```",
        "```{.python .numberLines}\n# comment\n\n## another\n\nx\n```",
        "    x = 1\n\n    y = 2",
        "- item\n\n  its second paragraph\n\n  - its own item",
        "12. item\n\n    its second paragraph",
    ],
)
def test_blocks_stay_whole_between_prose(block: str) -> None:
    assert _split(f"{LONG}\n\n{block}\n\n{LONG}\n\nend") == [
        LONG,
        block,
        LONG,
        "end",
    ]
    assert _split(block) == [block]
    assert _split(f"{block}\n\nand\n\n{block}") == [block, "and", block]


@pytest.mark.parametrize("number", range(6))
def test_a_lost_fence_costs_no_more_than_its_own_block(number: int) -> None:
    """Six fences; each is lost once. The prose between is never taken for code."""
    marks = ["```"] * 6
    marks[number] = ""
    code = "x = 1\ny = 2"
    text = ""
    for n in range(3):
        text += f"{n} {LONG}\n\n{marks[2 * n]}\n{code}\n{marks[2 * n + 1]}\n\n"
    for paragraph in _split(text):
        assert paragraph.count("prose") in (0, 40)
        assert not (paragraph.count("prose") and "x = 1" in paragraph)


def test_nougat_fences_do_not_swallow_chapters() -> None:
    """Patterns of fences in Nougat's output: code after the mark, marks at a line's end, loops."""
    chapter = f"{LONG}\n\n## Heading\n\n{LONG}\n\n"
    text = (
        f"To test it, call it:* ```\n### Next\n``` >>>distance(1,2,4,6) ```\n{chapter}"
        f"``` >>>word.find('na')\n\n{chapter}{chapter}"
        f"```\n``` ifword=='banana': print'right'\n```\n\n{chapter}"
        f"```\n>>>x=y >>>printy\n```\n\n{chapter}```\n\n{chapter}```\n2\n```\n\nend"
    )
    for paragraph in _split(text):
        assert paragraph.count("prose") <= 40
        assert paragraph.count("Heading") <= 1
    assert "```\n>>>x=y >>>printy\n```" in _split(text)
    assert "```\n2\n```" in _split(text)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("```\n", "\n```"), ("$$\n", "\n$$"), ("\\[\n", "\n\\]"), ("<table>", "</table>")],
)
def test_marks_too_far_apart_do_not_belong_together(opening: str, closing: str) -> None:
    inside = "\n\n".join(f"line {n}" for n in range(4000))
    text = f"a\n\n{opening}{inside}{closing}\n\nb"
    assert len(_split(text)) >= 4000
    assert _split(f"{text}\n\n```\nx\n\ny\n```")[-1] == "```\nx\n\ny\n```"


def test_formulas_side_by_side_open_no_equation() -> None:
    text = r"is $1.52$$\left( x = 3 \right)$. So" + "\n\ntwo\n\n$$\na\n\nb\n$$\n\nend"
    assert len(_split(text)) == 4
    assert _split(r"costs \$\$ now" + "\n\nb\n\n$$x$$") == [r"costs \$\$ now", "b", "$$x$$"]


def test_prose_environments_are_parted() -> None:
    text = "\\begin{abstract}\n\na\n\nb\n\n\\end{abstract}"
    assert _split(text) == ["\\begin{abstract}", "a", "b", "\\end{abstract}"]


def test_long_stretches_are_parted_at_line_ends() -> None:
    lines = [f"{n}: " + "w" * 900 for n in range(12)]
    parts = _split("\n".join(lines))
    assert "\n".join(parts) == "\n".join(lines)
    assert all(900 < len(part) <= PART_CHARS for part in parts)
    whole = "w " * 5000
    assert _split(whole) == [whole.rstrip()]


def test_long_lists_are_parted_before_items() -> None:
    items = [f"- item {n}: " + "w" * 700 + "\n  " + "v" * 700 + f"\n  - own {n}" for n in range(9)]
    parts = _split("\n".join(items))
    assert "\n".join(parts) == "\n".join(items)
    assert len(parts) > 3
    assert all(part.startswith("- item") for part in parts)


def test_long_tables_and_blocks_are_not_parted() -> None:
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | {'x' * 80} |" for n in range(300))
    text = "w" * 1500 + "\n" + table + "\n" + "v" * 1500
    assert _split(text) == ["w" * 1500, table, "v" * 1500]
    code = "```\n" + "\n".join("c" * 90 for _ in range(90)) + "\n```"
    assert _split(f"{'w' * 1900}\n{code}\n{'v' * 1900}") == ["w" * 1900, code, "v" * 1900]


@pytest.mark.parametrize(
    "piece",
    [
        *("```\n\n", "```py\n\n", "````\n`````py\n\n", "$$\n\n", "$$ ", "\\[\n\n", "<table>\n\n"),
        *("\\begin{table}\n\n", "\n", " \n", " ", "\t", "- a\n\n  ", "    x\n\n", "|\n", "a\n"),
    ],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    spans = split_paragraphs(text)
    assert time.perf_counter() - start < 6
    assert all(a < b for a, b in spans)


def test_neighbours_are_joined_up_to_the_limit() -> None:
    spans = [(0, 10), (12, 20), (22, 30), (32, 90), (92, 95)]
    assert group_paragraphs(spans, 20) == [(0, 20), (22, 30), (32, 90), (92, 95)]
    assert group_paragraphs(spans, 1000) == [(0, 95)]
    assert group_paragraphs(spans, 1) == spans
    assert group_paragraphs([], 20) == []
