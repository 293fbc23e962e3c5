"""The text layer of PDFs made here: paragraphs, headings, pages, and every way to be unreadable."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption

from core.recipe.ocr import Ocr
from core.rejects import Reason
from corpus.pdf.document import open_pdf
from corpus.pdf.line import Line
from corpus.pdf.textlayer import lines_markdown, read_pages, read_pdf
from corpus.reading import Unreadable
from tests.corpus.pdf import Placed, block, make_pdf, pdf_without_pages

BODY = ["Stars form in cold clouds of gas and dust", "that fall in under their own weight."]


def _markdown(folder: Path, *pages: list[Placed], **options: Any) -> str:
    path = make_pdf(folder / "x.pdf", *pages, **options)
    return read_pdf(path, Ocr(min_chars_per_page=0))[0]


# --- Paragraphs


def test_lines_become_a_paragraph_and_a_gap_ends_it(tmp_path: Path) -> None:
    page = block(72, 740, *BODY) + block(72, 690, "A second paragraph", "of two lines.")
    assert _markdown(tmp_path, page) == f"{' '.join(BODY)}\n\nA second paragraph of two lines."


def test_a_word_cut_at_the_line_end_is_joined_and_the_paragraph_goes_on(tmp_path: Path) -> None:
    page = block(
        72,
        740,
        "The oldest stars of our galax-",
        "ies are poor in metals and the young-",
        "est ones are rich in them, as spec-",
        "tra of single stars show, and those",
        "of whole galaxies.",
    )
    assert _markdown(tmp_path, page) == (
        "The oldest stars of our galaxies are poor in metals and the youngest ones are rich in "
        "them, as spectra of single stars show, and those of whole galaxies."
    )


def test_hyphens_that_belong_to_the_word_stay(tmp_path: Path) -> None:
    page = block(
        72,
        740,
        "A well-known low-mass star has a long-",
        "period companion, seen in X-",
        "ray light, and a third one, well-",
        "known as well, is on its main-",
        "sequence since the main epoch of this sequence.",
    )
    assert _markdown(tmp_path, page) == (
        "A well-known low-mass star has a long-period companion, seen in X-ray light, and a third "
        "one, well-known as well, is on its main-sequence since the main epoch of this sequence."
    )


def test_a_first_line_indent_starts_a_paragraph(tmp_path: Path) -> None:
    page = (
        block(72, 740, *BODY)
        + block(90, 716, "An indented first line")
        + block(72, 704, "goes on.")
    )
    assert _markdown(tmp_path, page) == f"{' '.join(BODY)}\n\nAn indented first line goes on."


def test_bullets(tmp_path: Path) -> None:
    page = block(72, 740, "Two things:", "• dust", "• gas that", "  is cold")
    assert _markdown(tmp_path, page) == "Two things:\n\n- dust\n\n- gas that is cold"


def test_a_page_of_large_print_has_no_heading(tmp_path: Path) -> None:
    assert _markdown(tmp_path, block(72, 740, *BODY, size=24, pitch=28)) == " ".join(BODY)


def test_a_sentence_goes_on_in_the_next_column(tmp_path: Path) -> None:
    second = block(320, 740, "their own", "weight.")
    page = block(72, 740, "Stars form in", "cold clouds", "that fall in under") + second
    assert _markdown(tmp_path, page) == (
        "Stars form in cold clouds that fall in under their own weight."
    )
    page = block(72, 740, "Stars form in", "cold clouds", "that fall in.") + second
    assert _markdown(tmp_path, page) == (
        "Stars form in cold clouds that fall in.\n\ntheir own weight."
    )


def test_a_paragraph_may_begin_like_markdown_marks(tmp_path: Path) -> None:
    assert _markdown(tmp_path, block(72, 740, "# 17 of 20 stars")) == r"\# 17 of 20 stars"


@pytest.mark.parametrize("number", ["7", "- 12 -", "– 3 –", "1234", "Page 3 of 9", "xii"])
def test_page_numbers_go(tmp_path: Path, number: str) -> None:
    for place in (30.0, 800.0):
        top_first = sorted(
            [*block(72, 740, *BODY), (300.0, place, 10.0, number)], key=lambda p: -p[1]
        )
        assert _markdown(tmp_path, top_first) == " ".join(BODY)


def test_characters_that_the_text_leaves_out_do_not_shift_the_lines(tmp_path: Path) -> None:
    # PDFium's text has no NUL; measured one character too early, each line looks indented.
    nuls = r"\000" * 12
    raw = (
        rf"BT /F1 10 Tf 72 700 Td (A first{nuls} line) Tj ET"
        r" BT /F1 10 Tf 72 688 Td (and more) Tj ET"
        r" BT /F1 10 Tf 72 676 Td (of it.) Tj ET"
        r" BT /F1 10 Tf 90 664 Td (A second one) Tj ET BT /F1 10 Tf 72 652 Td (goes on.) Tj ET"
    )
    text = _markdown(tmp_path, [(72.0, 780.0, 10.0, "Top.")], raw=raw)
    assert text == "Top.\n\nA first line and more of it.\n\nA second one goes on."


@pytest.mark.parametrize(
    ("lines", "markdown"),
    [
        ([], ""),
        ([Line("12", 0, 0, 0, 0)], ""),
        ([Line("a", 0, 0, 0, 0), Line("b", 0, 0, 0, 0)], "a b"),  # nothing could be measured
        ([Line("gal\ufffe", 72, 99, 100, 10), Line("axy", 72, 99, 88, 10)], "galaxy"),
        ([Line("gal\x02", 72, 99, 100, 10), Line("axy", 72, 99, 88, 10)], "galaxy"),
        ([Line("cut off\ufffe", 72, 99, 100, 10)], "cut off-"),  # the next page may go on
        ([Line("\ud835\udc43 and \ud835", 72, 99, 100, 10)], "P and \ufffd"),
    ],
)
def test_lines_at_the_edge(lines: list[Line], markdown: str) -> None:
    (page,) = lines_markdown([lines])
    assert page.text == markdown


# --- Pages


def test_spans_point_to_the_pages(tmp_path: Path) -> None:
    path = make_pdf(
        tmp_path / "x.pdf", block(72, 740, *BODY), [], block(72, 740, "Page three."), []
    )
    text, pages = read_pdf(path, Ocr(min_chars_per_page=0))
    assert text == f"{' '.join(BODY)}\n\nPage three."
    assert [text[p["start_char"] : p["end_char"]] for p in pages] == [
        " ".join(BODY),
        "",
        "Page three.",
        "",
    ]
    assert [(p["page"], p["method"]) for p in pages] == [(n, "textlayer") for n in (1, 2, 3, 4)]
    assert [p["quality"] for p in pages] == [1.0, 0.0, 1.0, 0.0]


def test_some_pages_of_a_document(tmp_path: Path) -> None:
    path = make_pdf(
        tmp_path / "x.pdf", *[block(72, 740, f"The text of the page {word}.") for word in "abcd"]
    )
    text, pages = read_pdf(path, Ocr(), first=2, last=3)
    assert text == "The text of the page b.\n\nThe text of the page c."
    assert [p["page"] for p in pages] == [2, 3]
    assert read_pdf(path, Ocr(), first=4, last=99)[0] == "The text of the page d."
    with pytest.raises(Unreadable) as error:
        read_pdf(path, Ocr(), first=5)
    assert error.value.reason is Reason.PDF_NO_TEXT


def test_an_empty_first_page_leaves_no_blank_lines(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "x.pdf", [], block(72, 740, "Page two."))
    text, pages = read_pdf(path, Ocr(min_chars_per_page=0))
    assert text == "Page two."
    assert [(p["start_char"], p["end_char"]) for p in pages] == [(0, 0), (0, 9)]


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "x.pdf", block(72, 740, *BODY))
    odd = path.rename(tmp_path / os.fsdecode(b"caf\xe9.pdf"))
    assert read_pdf(odd, Ocr())[0] == " ".join(BODY)


# --- Unreadable


def _reason(path: Path, **limits: Any) -> tuple[Reason, str]:
    with pytest.raises(Unreadable) as error:
        read_pdf(path, Ocr(**limits))
    assert error.value.detail
    return error.value.reason, error.value.detail


def test_encrypted(tmp_path: Path) -> None:
    page = block(72, 740, *BODY)
    locked = make_pdf(tmp_path / "a.pdf", page, encrypt=StandardEncryption("user", "owner"))
    assert _reason(locked)[0] is Reason.PDF_ENCRYPTED
    # An owner's password only restricts printing and copying: anyone may read it.
    open_one = make_pdf(tmp_path / "b.pdf", page, encrypt=StandardEncryption("", "owner"))
    assert read_pdf(open_one, Ocr())[0] == " ".join(BODY)


def test_corrupt(tmp_path: Path) -> None:
    good = make_pdf(tmp_path / "good.pdf", block(72, 740, *BODY)).read_bytes()
    path = tmp_path / "bad.pdf"
    for content in (b"", b"%PDF-1.4\n", b"<html>404</html>", good[:200], pdf_without_pages()):
        path.write_bytes(content)
        assert _reason(path)[0] is Reason.PDF_CORRUPT


def test_a_damaged_pdf_is_read_or_rejected_but_never_crashes(tmp_path: Path) -> None:
    good = make_pdf(
        tmp_path / "good.pdf", block(72, 740, *BODY), block(72, 740, *BODY)
    ).read_bytes()
    path = tmp_path / "bad.pdf"
    rng = random.Random(1)
    outcomes = set()
    for _ in range(150):
        damaged = bytearray(good[: rng.randrange(len(good)) if rng.random() < 0.4 else len(good)])
        for _ in range(rng.randrange(1, 9)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256) if damaged else 0
        path.write_bytes(bytes(damaged))
        try:
            text, pages = read_pdf(path, Ocr())
            assert pages[-1]["end_char"] == len(text)
            outcomes.add("read")
        except Unreadable as error:
            outcomes.add(error.reason.value)
    assert {"read", "pdf_corrupt"} <= outcomes


def test_a_header_of_100000_pages_is_refused_before_any_page_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf_without_pages(count=100_000))
    assert _reason(path) == (Reason.PDF_TOO_LARGE, "100000 pages, at most 2000")


def test_a_page_that_cannot_be_loaded_is_empty_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf_without_pages(count=2))
    document = open_pdf(path, 9, 10_000)
    assert [(p.text, p.quality) for p in read_pages(document)] == [("", 0.0), ("", 0.0)]
    document.close()


def test_a_page_tree_that_holds_itself(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf_without_pages(count=3, kids="2 0 R 2 0 R"))
    assert _reason(path)[0] in (Reason.PDF_NO_TEXT, Reason.PDF_CORRUPT)


def test_blank_or_scanned(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "x.pdf", [], block(72, 740, "nineteen characters"))
    assert _reason(path, min_chars_per_page=10) == (
        Reason.PDF_NO_TEXT,
        "19 characters on 2 pages: a scan or blank",
    )
    assert read_pdf(path, Ocr(min_chars_per_page=9))[0] == "nineteen characters"


def test_too_large(tmp_path: Path) -> None:
    path = make_pdf(tmp_path / "x.pdf", *[block(72, 740, *BODY)] * 3)
    assert _reason(path, max_pages=2) == (Reason.PDF_TOO_LARGE, "3 pages, at most 2")
    assert len(read_pdf(path, Ocr(max_pages=3))[1]) == 3
    size = path.stat().st_size
    assert _reason(path, max_file_bytes=size - 1)[0] is Reason.PDF_TOO_LARGE
    assert read_pdf(path, Ocr(max_file_bytes=size))[0]


def test_not_there(tmp_path: Path) -> None:
    assert _reason(tmp_path / "absent.pdf")[0] is Reason.UNREADABLE_FILE
    (tmp_path / "folder.pdf").mkdir()
    assert _reason(tmp_path / "folder.pdf")[0] is Reason.UNREADABLE_FILE
    os.mkfifo(tmp_path / "pipe.pdf")  # opening it would wait for ever
    assert _reason(tmp_path / "pipe.pdf")[0] is Reason.UNREADABLE_FILE
