"""One rule of the page layout per test, on PDFs made here."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.recipe.ocr import Ocr
from corpus.pdf.line import Line
from corpus.pdf.textlayer import lines_markdown, read_pdf
from tests.corpus.pdf import Placed, block, make_pdf

PROSE = [
    "Stars form in cold clouds of gas and dust that fall in",
    "under their own weight, and the light of young stars is",
    "seen through the dust that they formed from, in the far",
    "infrared and at longer wavelengths where dust is clear.",
]
ENDED = " ".join(PROSE)


def _read(folder: Path, *pages: list[Placed], raw: str = "") -> list[str]:
    path = make_pdf(folder / "x.pdf", *pages, raw=raw)
    return read_pdf(path, Ocr(min_chars_per_page=0))[0].split("\n\n")


def _mark(text: str, left: float, baseline: float, size: float = 8) -> list[Placed]:
    return [(left, baseline, size, text)]


# --- Furniture


def test_heads_of_even_and_odd_pages_go(tmp_path: Path) -> None:
    first = "Page {} says that stars are born in clouds of dust,"
    pages = [
        _mark(f"{n} Smith et al." if n % 2 else f"Star formation {n}", 72, 800)
        + block(72, 740, first.format("abcdef"[n]), *PROSE[1:])
        + _mark(f"MNRAS 000, 1-{n} (2023)", 72, 30)
        for n in range(6)
    ]
    text = _read(tmp_path, *pages)
    assert len(text) == 6
    assert all(part.startswith("Page ") and part.endswith("clear.") for part in text)


def test_a_line_that_repeats_inside_the_text_stays(tmp_path: Path) -> None:
    pages = [
        block(72, 740, f"{word} page.", "The same words here.", *PROSE) for word in ("One", "Two")
    ]
    assert _read(tmp_path, *pages).count("The same words here.") == 2


def test_stamps_of_the_first_page_go(tmp_path: Path) -> None:
    page = (
        _mark("Draft version May 29, 2019", 72, 800)
        + _mark("Typeset using LATEX twocolumn style in AASTeX62", 72, 790)
        + block(72, 740, *PROSE)
        + _mark("© 2023 The Authors", 72, 40)
    )
    assert _read(tmp_path, page) == [ENDED]


def test_a_banner_up_the_margin_goes(tmp_path: Path) -> None:
    banner = "BT /F1 20 Tf 0 1 -1 0 30 200 Tm (arXiv:2301.01234v2 [astro-ph.GA] 3 Jan 2023) Tj ET"
    assert _read(tmp_path, block(72, 740, *PROSE), raw=banner) == [ENDED]


def test_other_text_up_the_margin_stays_apart(tmp_path: Path) -> None:
    note = "BT /F1 10 Tf 0 1 -1 0 560 200 Tm (Seen from the side) Tj ET"
    assert _read(tmp_path, block(72, 740, *PROSE[:3]), raw=note) == [
        " ".join(PROSE[:3]),
        "Seen from the side",
    ]


def test_line_numbers_beside_and_inside_the_lines_go(tmp_path: Path) -> None:
    lines = [f"{word} stars are seen here and there." for word in "abcdefghijklmn"]
    alone = [p for n, t in enumerate(lines) for p in (
        (50.0, 740 - 12.0 * n, 5.0, str(n + 1)), (72.0, 740 - 12.0 * n, 10.0, t)
    )]  # fmt: skip
    assert _read(tmp_path, alone) == [" ".join(lines)]
    run_in = "".join(
        f"BT 1 0 0 1 72 {740 - 12 * n} Tm /F1 5 Tf ({n + 1} ) Tj /F1 10 Tf ({t}) Tj ET "
        for n, t in enumerate(lines)
    )
    top: list[Placed] = [(72.0, 752.0, 10.0, "First, these:")]
    assert _read(tmp_path, top, raw=run_in) == ["First, these: " + " ".join(lines)]


def test_numbered_rows_are_no_line_numbers(tmp_path: Path) -> None:
    rows = [f"{n} star" for n in range(1, 15)]
    assert "7 star" in _read(tmp_path, block(72, 740, *rows))[0]


# --- Headings


def test_title_section_heads_and_abstract(tmp_path: Path) -> None:
    page = (
        block(150, 790, "How stars form", size=17)
        + block(200, 765, "A. Author and B. Author", size=12)
        + block(250, 740, "ABSTRACT", font="Helvetica-Bold")
        + block(72, 720, *PROSE)
        + block(72, 655, "1. Introduction", font="Helvetica-Bold")
        + block(72, 635, *PROSE)
        + block(72, 570, "1.1. Earlier work", font="Helvetica-Oblique")
        + block(72, 550, *PROSE)
    )
    assert _read(tmp_path, page) == [
        "# How stars form",
        "A. Author and B. Author",
        "## ABSTRACT",
        ENDED,
        "## 1. Introduction",
        ENDED,
        "### 1.1. Earlier work",
        ENDED,
    ]


def test_larger_print_is_a_heading(tmp_path: Path) -> None:
    page = block(72, 780, *PROSE) + block(72, 720, "Methods", size=14) + block(72, 700, *PROSE)
    assert _read(tmp_path, page) == [ENDED, "## Methods", ENDED]


def test_a_numbered_item_is_no_heading(tmp_path: Path) -> None:
    page = block(72, 740, *PROSE) + block(72, 680, "1. Smooth the spectrum of the star")
    page += block(72, 660, "2. Measure the width of its lines") + block(72, 640, *PROSE)
    assert _read(tmp_path, page)[1:3] == [
        "1. Smooth the spectrum of the star",
        "2. Measure the width of its lines",
    ]


def test_one_bold_line_of_a_paragraph_is_no_heading(tmp_path: Path) -> None:
    page = block(72, 740, *PROSE[:1]) + block(72, 728, PROSE[1], font="Helvetica-Bold")
    page += block(72, 716, *PROSE[2:])
    assert _read(tmp_path, page) == [ENDED]


# --- Order


def test_columns_written_across_the_page_are_read_one_after_the_other(tmp_path: Path) -> None:
    left = [f"{word} left column goes down the page" for word in "abcdefghij"]
    right = [f"{word} right column goes down the page" for word in "klmnopqrst"]
    rows: list[Placed] = block(72, 780, "A line over both columns of the page stands above them.")
    for n, (one, other) in enumerate(zip(left, right, strict=True)):
        rows += [(72.0, 740 - 12.0 * n, 10.0, one), (320.0, 740 - 12.0 * n, 10.0, other)]
    assert _read(tmp_path, rows) == [
        "A line over both columns of the page stands above them.",
        " ".join(left + right),
    ]


def test_a_float_between_two_halves_of_a_paragraph(tmp_path: Path) -> None:
    page = block(72, 740, *PROSE[:2]) + block(72, 690, "Figure 1. The sky.", size=8)
    page += block(320, 740, *PROSE[2:])
    assert _read(tmp_path, page) == ["Figure 1. The sky.", ENDED]


def test_a_page_set_sideways_is_read(tmp_path: Path) -> None:
    sideways = "".join(
        f"BT /F1 10 Tf 0 1 -1 0 {100 + 12 * n} 72 Tm ({text}) Tj ET "
        for n, text in enumerate(PROSE)
    )
    assert _read(tmp_path, [], raw=sideways) == [ENDED]


def test_text_in_a_scaled_coordinate_system(tmp_path: Path) -> None:
    scaled = "".join(
        f"BT /F1 1 Tf 10 0 0 10 72 {700 - 12 * n} Tm ({text}) Tj ET "
        for n, text in enumerate(PROSE)
    )
    assert _read(tmp_path, [], raw=scaled) == [ENDED]


# --- Parts of a page


def test_a_superscript_stays_in_its_place(tmp_path: Path) -> None:
    raw = (
        "BT /F1 10 Tf 72 740 Td (The mass is 10) Tj ET BT /F1 7 Tf 137 744 Td (5) Tj ET "
        "BT /F1 10 Tf 144 740 Td (times that of the Sun.) Tj ET"
    )
    assert _read(tmp_path, [], raw=raw) == ["The mass is 105 times that of the Sun."]


def test_a_caption_is_a_paragraph_of_its_own(tmp_path: Path) -> None:
    page = block(72, 740, *PROSE) + block(72, 680, "Figure 2. The orbit", "of the planet.", size=8)
    page += block(72, 640, *PROSE)
    assert _read(tmp_path, page) == [ENDED, "Figure 2. The orbit of the planet.", ENDED]


def test_a_line_that_begins_with_a_figure_is_no_caption(tmp_path: Path) -> None:
    lines = [*PROSE[:3], "Figure 2 shows."]
    assert _read(tmp_path, block(72, 740, *lines)) == [" ".join(lines)]


def test_labels_of_a_figure_go(tmp_path: Path) -> None:
    labels = [(100.0 + 20 * n, 600.0, 7.0, f"{n}.5", "Times-Roman") for n in range(5)]
    labels += [(90.0, 590 - 20.0 * n, 7.0, f"{n}0", "Times-Roman") for n in range(5)]
    turned = "BT /F1 7 Tf 0 1 -1 0 560 300 Tm (Flux [Jy]) Tj ET"
    page = block(72, 740, *PROSE) + labels + block(72, 450, "Figure 1. The flux.")
    assert _read(tmp_path, page, raw=turned) == [ENDED, "Figure 1. The flux."]
    # Without a caption nobody knows what they are: they stay.
    assert "2.5" in "\n".join(_read(tmp_path, block(72, 740, *PROSE) + labels))


def test_a_table_of_clear_columns(tmp_path: Path) -> None:
    page = block(72, 740, *PROSE) + block(72, 670, "Table 1. Stars.")
    for n, row in enumerate((("Name", "Mass"), ("Vega", "2.1"), ("Sirius", "2.06"))):
        page += [(72.0, 645 - 12.0 * n, 10.0, row[0]), (110.0, 645 - 12.0 * n, 10.0, row[1])]
    page += block(72, 580, *PROSE)
    assert _read(tmp_path, page) == [
        ENDED,
        "Table 1. Stars.",
        "| Name | Mass |\n| --- | --- |\n| Vega | 2.1 |\n| Sirius | 2.06 |",
        ENDED,
    ]


def test_a_footnote_leaves_the_paragraph_whole(tmp_path: Path) -> None:
    page = block(72, 740, *PROSE[:2]) + block(72, 60, "1 See the archive for the data.", size=7)
    page += block(320, 740, *PROSE[2:])
    assert _read(tmp_path, page) == ["1 See the archive for the data.", ENDED]


def test_references_are_cut_by_their_hanging_indents(tmp_path: Path) -> None:
    page = block(72, 740, *PROSE) + block(72, 680, "REFERENCES", font="Helvetica-Bold")
    page += block(72, 660, "Adams, A., & Brown, B. 2001, ApJ, 1, 2")
    page += block(72, 648, "Clark, C., Davis, D., & Evans, E. E. 2002,")
    page += block(84, 636, "MNRAS, 3, 4") + block(72, 624, "Fox, F. 2003, A&A, 5, 6")
    assert _read(tmp_path, page)[2:] == [
        "Adams, A., & Brown, B. 2001, ApJ, 1, 2",
        "Clark, C., Davis, D., & Evans, E. E. 2002, MNRAS, 3, 4",
        "Fox, F. 2003, A&A, 5, 6",
    ]


@pytest.mark.parametrize("matrix", ["1e30 0 0 1e30 1e30 1e30", "0 0 0 0 0 0", "1e-30 0 0 1 0 0"])
def test_absurd_geometry_is_survived(tmp_path: Path, matrix: str) -> None:
    raw = f"BT /F1 10 Tf {matrix} Tm (Some words) Tj ET"
    assert ENDED in _read(tmp_path, block(72, 740, *PROSE), raw=raw)


def test_hostile_pages_take_little_time() -> None:
    start = time.process_time()
    for unit in ("1", "a", "aa ", "1 ", ". ", "\t", "A. ", "- ", "1.1", "(", "´", "Figure 1 "):
        text = (unit * (300_000 // len(unit))).strip() or "x"
        lines = [Line(text, 0, 9, 9, 9), Line(text, 0, 9, 0, 9)]
        lines_markdown([lines, [Line(unit.strip() or "x", n, n, 0, 9) for n in range(3000)]])
    assert time.process_time() - start < 30
