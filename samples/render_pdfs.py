"""Renders the Markdown sources of the sample papers to PDF, always with the same bytes.

Usage::

    pip install reportlab
    python samples/render_pdfs.py
"""

# mypy: disable-error-code="import-untyped"
# The stubs of reportlab (types-reportlab) are optional; the file is clean with and without them.

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate

ARXIV_DIR = Path(__file__).resolve().parent / "arxiv"

_BODY = ParagraphStyle(
    "body", fontName="Times-Roman", fontSize=11, leading=16, alignment=TA_JUSTIFY, spaceAfter=7
)
_TITLE = ParagraphStyle(
    "title", _BODY, fontName="Times-Bold", fontSize=17, leading=21, alignment=TA_CENTER
)
_AUTHORS = ParagraphStyle("authors", _BODY, alignment=TA_CENTER, spaceAfter=12)
_HEADING = ParagraphStyle(
    "heading",
    _BODY,
    fontName="Times-Bold",
    fontSize=13,
    leading=17,
    spaceBefore=8,
    spaceAfter=5,
    keepWithNext=1,
)
_EQUATION = ParagraphStyle("equation", _BODY, alignment=TA_CENTER)
_BULLET = ParagraphStyle("bullet", _BODY, leftIndent=14, bulletIndent=3, spaceAfter=3)


def _math(source: str) -> str:
    """Turns simple TeX, with one-character indices and exponents, into paragraph markup."""
    text = re.sub(r"_(\w)", r"<sub>\1</sub>", source)
    return "<i>" + re.sub(r"\^(\w)", r"<super>\1</super>", text) + "</i>"


def _inline(source: str) -> str:
    """Escapes a run of text and sets its ``$...$`` parts in italics."""
    return re.sub(r"\$([^$]+)\$", lambda match: _math(match.group(1)), escape(source))


def _flowables(source: str) -> list[Flowable]:
    """Turns the Markdown of one paper into the flowables of its PDF."""
    story: list[Flowable] = []
    for block in re.split(r"\n\s*\n", source.strip()):
        if block.startswith("# "):
            story.append(Paragraph(_inline(block[2:]), _TITLE))
        elif block.startswith("Authors: "):
            story.append(Paragraph(_inline(block.removeprefix("Authors: ")), _AUTHORS))
        elif block.startswith("## "):
            story.append(Paragraph(_inline(block[3:]), _HEADING))
        elif block.startswith("$$"):
            story.append(Paragraph(_math(escape(block.strip("$"))), _EQUATION))
        elif block.startswith("- "):
            for line in block.splitlines():
                story.append(Paragraph(_inline(line[2:]), _BULLET, bulletText="\u2022"))
        else:
            story.append(Paragraph(_inline(" ".join(block.split())), _BODY))
    return story


def _draw_footer(canvas: Any, document: Any) -> None:
    """Writes the page number at the foot of a page."""
    canvas.saveState()
    canvas.setFont("Times-Roman", 9)
    canvas.drawCentredString(A4[0] / 2, 14 * mm, str(document.page))
    canvas.restoreState()


def render(source_path: Path, pdf_path: Path) -> None:
    """Renders one Markdown paper.

    Args:
        source_path: The Markdown source.
        pdf_path: Where the PDF goes; missing parent folders are made.
    """
    source = source_path.read_text(encoding="utf-8")
    pdf_path.parent.mkdir(parents=True, exist_ok=True)
    document = SimpleDocTemplate(
        str(pdf_path),
        pagesize=A4,
        leftMargin=34 * mm,
        rightMargin=34 * mm,
        topMargin=30 * mm,
        bottomMargin=30 * mm,
        title=source.splitlines()[0].removeprefix("# "),
        author="Sample data, CC0-1.0",
        invariant=1,
    )
    document.build(_flowables(source), onFirstPage=_draw_footer, onLaterPages=_draw_footer)


def main() -> int:
    """Renders every source under ``arxiv/src`` (or those of another folder)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, default=ARXIV_DIR / "src")
    parser.add_argument("--output", type=Path, default=ARXIV_DIR / "pdf")
    options = parser.parse_args()
    sources = sorted(options.source.glob("*.md"))
    for source_path in sources:
        identifier = source_path.stem
        render(source_path, options.output / identifier.split(".")[0] / f"{identifier}v1.pdf")
    print(f"rendered {len(sources)} papers")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
