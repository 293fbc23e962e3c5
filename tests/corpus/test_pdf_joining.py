"""Pages joined to a document: paragraphs over page breaks, floats in between, spans."""

from __future__ import annotations

import time

import pytest

from corpus.pdf.joining import ReadPage, goes_on, is_caption, join_pages


def _joined(*texts: str) -> str:
    pages = [ReadPage(n, text, "textlayer", 1.0) for n, text in enumerate(texts, 1)]
    text, spans = join_pages(pages)
    position = 0
    for span in spans:
        assert text[position : span["start_char"]] in ("", " ", "\n\n")
        position = span["end_char"]
    assert position == len(text)
    assert [span["page"] for span in spans] == [page.number for page in pages]
    return text


def test_an_unfinished_sentence_goes_on() -> None:
    assert _joined("First.\n\nThe gas falls in under", "its own weight.\n\nNext.") == (
        "First.\n\nThe gas falls in under its own weight.\n\nNext."
    )
    assert _joined("The gas, observed with the", "Hubble telescope.") == (
        "The gas, observed with the Hubble telescope."
    )
    assert _joined("as found by Smith et al.", "(2003) in their survey.") == (
        "as found by Smith et al. (2003) in their survey."
    )


def test_a_cut_word_is_joined_and_a_compound_keeps_its_hyphen() -> None:
    assert _joined("many distant galax-", "ies are red.") == "many distant galaxies are red."
    assert _joined("The well-known law is well-", "known.") == "The well-known law is well-known."


@pytest.mark.parametrize(
    "second",
    [
        "## 2. Data",
        "- an item of a list",
        "1. an item",
        "$$ x = y $$",
        r"\[ x = y \]",
        "| a | b |",
        "Figure 3. The sky.",
        "```code```",
        "",
    ],
)
def test_other_blocks_do_not_go_on(second: str) -> None:
    text = _joined("The gas falls in under", second)
    assert text == f"The gas falls in under\n\n{second}".rstrip()


def test_a_finished_sentence_ends_its_paragraph() -> None:
    for end in (".", "!", "?", ":", '."', ".)"):
        assert _joined(f"It ends here{end}", "where x is y.") == (
            f"It ends here{end}\n\nwhere x is y."
        )
    assert _joined("## A heading", "and text.") == "## A heading\n\nand text."


def test_floats_between_the_halves_move_out_of_the_way() -> None:
    assert _joined("The gas falls\n\nFigure 1. The sky.", "in. So.") == (
        "Figure 1. The sky.\n\nThe gas falls in. So."
    )
    assert _joined("The gas falls", "**Table 2:** Stars.\n\n| a |\n| --- |\n\nin. So.\n\nEnd.") == (
        "The gas falls in. So.\n\n**Table 2:** Stars.\n\n| a |\n| --- |\n\nEnd."
    )


def test_pages_keep_their_method_and_quality() -> None:
    pages = [ReadPage(3, "One", "nougat", None), ReadPage(5, "two.", "textlayer", 0.5)]
    assert join_pages(pages) == (
        "One two.",
        [
            {"page": 3, "start_char": 0, "end_char": 3, "method": "nougat", "quality": None},
            {"page": 5, "start_char": 4, "end_char": 8, "method": "textlayer", "quality": 0.5},
        ],
    )
    assert join_pages([]) == ("", [])
    assert join_pages([ReadPage(1, " \n\n ", "nougat", None)])[0] == ""


def test_an_empty_page_in_between_is_looked_past() -> None:
    assert _joined("The gas falls", "", "in.") == "The gas falls in."


@pytest.mark.parametrize(
    ("block", "caption"),
    [
        ("Figure 3. The sky.", True),
        ("Fig. 3: The sky.", True),
        ("FIG. 3.— The sky.", True),
        ("**Table A1.** Stars", True),
        ("Table IV", True),
        ("Extended Data Fig. 1 | Spectra", True),
        ("Figure 3 shows the sky.", False),
        ("Figures of merit are", False),
        ("Tables are", False),
        ("Table of contents", False),
    ],
)
def test_captions(block: str, caption: bool) -> None:
    assert is_caption(block) == caption


def test_a_name_with_an_initial_is_no_end() -> None:
    assert goes_on("as shown by J.", "Smith and others")
    assert not goes_on("The end.", "Smith and others")
    assert not goes_on("", "Smith")


def test_hostile_text_takes_linear_time() -> None:
    start = time.process_time()
    for unit in ("a-", "*_", "figure ", "e.g.", "((", "\n \n", "- ", "fig 1"):
        text = unit * (1_000_000 // len(unit))
        join_pages([ReadPage(1, text, "nougat", None), ReadPage(2, text, "nougat", None)])
    assert time.process_time() - start < 10
