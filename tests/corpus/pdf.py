"""Small PDFs for tests, made with reportlab."""

from __future__ import annotations

from pathlib import Path

from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

Placed = tuple[float, float, float, str] | tuple[float, float, float, str, str]
"""Left edge and baseline in points, font size, text, and a font other than Helvetica."""


def block(
    left: float,
    top: float,
    *texts: str,
    size: float = 10,
    pitch: float = 12,
    font: str = "Helvetica",
) -> list[Placed]:
    """Returns lines set one below the other."""
    return [(left, top - pitch * n, size, text, font) for n, text in enumerate(texts)]


def make_pdf(
    path: Path, *pages: list[Placed], encrypt: StandardEncryption | None = None, raw: str = ""
) -> Path:
    """Writes a PDF; ``raw`` are content operators put at the end of the first page."""
    canvas = Canvas(str(path), invariant=1, encrypt=encrypt)
    for number, page in enumerate(pages):
        for left, baseline, size, text, *font in page:
            canvas.setFont(font[0] if font else "Helvetica", size)
            canvas.drawString(left, baseline, text)
        if raw and number == 0:
            canvas._code.append(raw)
        canvas.showPage()
    canvas.save()
    return path


def pdf_without_pages(count: int = 0, kids: str = "") -> bytes:
    """Returns a well-formed PDF of no page, which may claim to have some."""
    body = b"%PDF-1.4\n"
    offsets = []
    tree = f"<</Type/Pages/Kids[{kids}]/Count {count}>>"
    objects = (b"<</Type/Catalog/Pages 2 0 R>>", tree.encode())
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, content)
    table = b"xref\n0 3\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % o for o in offsets)
    return body + table + b"trailer<</Root 1 0 R/Size 3>>\nstartxref\n%d\n%%%%EOF\n" % len(body)
