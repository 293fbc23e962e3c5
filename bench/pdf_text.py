"""How faithful the text layer's Markdown is to the LaTeX that made the PDF, and how fast.

Usage: ``python -m bench.pdf_text FOLDER [--pages-per-second] [--memory]``. FOLDER has one folder
per paper with ``<name>.pdf`` and ``src/*.tex`` (or ``src/paper.md``, where it was written in that).

The reference is pandoc's plain text of the main file: title, abstract and text, without formulas,
figures, tables and citations. What else the page prints - captions, tables, affiliations - counts
against every reader; ``ours, no floats`` is ours without the paragraphs that it knows as captions
or tables.
Compared are ours, ``pypdf`` and ``pdfminer.six``, on the same files in the same run. All texts are
normalized alike: NFKC, Markdown marks off, words cut by a hyphen at a line end joined, everything
from the heading of the references up to the next appendix cut, parentheses with a year cut, then
lower case and only words of two letters or more - so numbers, symbols and one-letter variables do
not count on either side. Letters with accents lose them. Formulas in the PDF remain as far as they
have words; tables in the PDF remain.

- ``words``: normalized Levenshtein similarity of the two word sequences, 1 - edits / longer.
- ``chars``: the same of the words written with single spaces, by characters.
- ``order``: of the anchors (six words in a row that occur once in the reference and once in the
  text) the share that lies on the longest increasing run: 1.0 is the order of the source. Floats
  wander in print, so the very best is a little below 1.
- ``found``: the share of the reference's anchors that the text has: words lost or run together,
  and breaks inside sentences by furniture and floats, lower it.
"""

from __future__ import annotations

import argparse
import bisect
import re
import statistics
import subprocess
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pypandoc
import pypdf
import pypdfium2 as pdfium
from pdfminer.high_level import extract_text
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from bench.memory import peak_mib
from core.recipe.ocr import Ocr
from corpus.pdf.joining import is_caption
from corpus.pdf.textlayer import read_pdf
from corpus.reading import Unreadable

_FILTER = """
function Math() return {} end
function Cite() return {} end
function Image() return {} end
function Table() return {} end
function Figure() return {} end
"""
_ANCHOR_WORDS = 6
_MIN_WORDS = 100
_REFERENCES = re.compile(
    r"^[#\s]*(?:references|bibliography|literature cited|r e f e r e n c e s)[:.]?\s*$", re.I | re.M
)
_APPENDIX = re.compile(r"^[#\s]*(?:appendix|appendices)\b.{0,60}$", re.I | re.M)
_YEARS = re.compile(r"\([^()]{0,400}?\b(?:19|20)\d\d[a-z]?\b[^()]{0,80}\)")
_TWO_COLUMNS = re.compile(
    r"\\documentclass\[[^\]]*twocolumn|\\documentclass(?:\[[^\]]*\])?\{(?:emulateapj|aa|mnras)\}"
)
_ONE_COLUMN = re.compile(r"\\documentclass\[[^\]]*(?:onecolumn|modern|manuscript|preprint)")


def words_of(text: str) -> list[str]:
    """Returns the normalized words of a text, as the module says."""
    text = unicodedata.normalize("NFKC", text)
    found = _REFERENCES.search(text)
    if found is not None:
        appendix = _APPENDIX.search(text, found.end())
        text = text[: found.start()] + (text[appendix.start() :] if appendix else "")
    text = re.sub(r"(?<=[a-z])-\s*\n\s*(?=[a-z])", "", text)
    text = _YEARS.sub(" ", text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.findall(r"[a-z]{2,}", text.lower())


def reference_text(source: Path) -> tuple[str, bool] | None:
    """Returns pandoc's plain text of a paper's source, and whether it is set in two columns."""
    files = source.glob("*.tex")
    mains = [p for p in files if "\\documentclass" in p.read_text("utf-8", "replace")]
    named = [p for p in mains if p.stem in ("ms", "main", "paper", source.parent.name)] or mains
    path = max(named, key=lambda p: (p.stat().st_size, p.name), default=None)
    kind = "latex"
    if (source / "paper.md").exists():
        path, kind = source / "paper.md", "markdown"
    if path is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_FILTER)
        script.flush()
        done = subprocess.run(
            [pypandoc.get_pandoc_path(), "-f", kind, "-t", "plain", "--wrap=none", "-s",
             "--lua-filter", script.name, path.name],
            cwd=source, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        return None
    tex = path.read_text("utf-8", "replace")
    two = _TWO_COLUMNS.search(tex) is not None and _ONE_COLUMN.search(tex) is None
    return done.stdout.decode("utf-8", "replace"), two


def _ours(path: Path) -> str:
    return read_pdf(path, Ocr(min_chars_per_page=0))[0]


def _pypdf(path: Path) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)


def _pdfminer(path: Path) -> str:
    return str(extract_text(path))


def _ours_without_floats(path: Path) -> str:
    paragraphs = _ours(path).split("\n\n")
    return "\n\n".join(p for p in paragraphs if not (is_caption(p) or p.startswith("|")))


READERS: dict[str, Callable[[Path], str]] = {
    "ours": _ours,
    "ours, no floats": _ours_without_floats,
    "pypdf": _pypdf,
    "pdfminer.six": _pdfminer,
}


def anchors(words: list[str]) -> dict[tuple[str, ...], int]:
    """Returns the runs of words that occur once, with their places."""
    runs = [tuple(words[i : i + _ANCHOR_WORDS]) for i in range(len(words) - _ANCHOR_WORDS + 1)]
    counts = Counter(runs)
    return {run: place for place, run in enumerate(runs) if counts[run] == 1}


def order(reference: list[str], text: list[str]) -> tuple[float, float]:
    """Returns (share of common anchors in order, share of anchors found)."""
    wanted, have = anchors(reference), anchors(text)
    places = [have[run] for run in wanted if run in have]
    if not places:
        return 0.0, 0.0
    tails: list[int] = []
    for place in places:
        at = bisect.bisect_left(tails, place)
        tails[at : at + 1] = [place]
    return len(tails) / len(places), len(places) / len(wanted)


def scores(reference: list[str], text: list[str]) -> tuple[float, float, float, float]:
    """Returns words, chars, order, found."""
    by_words = Levenshtein.normalized_similarity(reference, text)
    by_chars = Levenshtein.normalized_similarity(" ".join(reference), " ".join(text))
    return (by_words, by_chars, *order(reference, text))


def fidelity(folder: Path, console: Console) -> None:
    """Prints the scores of every paper and reader, and their medians."""
    table = Table("paper", "columns", *(f"{n} {m}" for n in READERS for m in _MEASURES))
    rows: list[tuple[bool, list[float]]] = []
    for pdf in sorted(folder.glob("*/*.pdf")):
        found = reference_text(pdf.parent / "src") if (pdf.parent / "src").is_dir() else None
        if found is None or len(reference := words_of(found[0])) < _MIN_WORDS:
            continue
        values: list[float] = []
        for read in READERS.values():
            values += scores(reference, words_of(read(pdf)))
        if not any(values[3::4]):
            console.print(f"{pdf.stem}: left out, the PDF is not of this source")
            continue
        rows.append((found[1], values))
        table.add_row(pdf.stem, "2" if found[1] else "1", *(f"{v:.3f}" for v in values))
    for label, chosen in (("median", rows), ("median, 2 columns", [r for r in rows if r[0]])):
        if chosen:
            columns = zip(*(values for _, values in chosen), strict=True)
            medians = [statistics.median(column) for column in columns]
            table.add_row(label, str(len(chosen)), *(f"{v:.3f}" for v in medians))
    console.print(table)


_MEASURES = ("words", "chars", "order", "found")


def speed(folder: Path, console: Console, repeats: int) -> None:
    """Prints pages per second and core of raw PDFium text and of ours, taken in turn per file."""
    files = sorted(folder.glob("*/*.pdf"))
    raw_rounds, our_rounds, pages = [], [], 0
    for _ in range(repeats):
        raw_seconds = our_seconds = 0.0
        pages = 0
        for path in files:
            start = time.process_time()
            pages += _raw(path)
            middle = time.process_time()
            _read(path)
            raw_seconds += middle - start
            our_seconds += time.process_time() - middle
        raw_rounds.append(raw_seconds)
        our_rounds.append(our_seconds)
    ratios = [raw / ours for raw, ours in zip(raw_rounds, our_rounds, strict=True)]
    console.print(
        f"{pages} pages, {repeats} rounds: "
        f"raw {pages / statistics.median(raw_rounds):.0f} pages/s, "
        f"ours {pages / statistics.median(our_rounds):.0f} pages/s per core; "
        f"ours/raw median {statistics.median(ratios):.3f}, each {[round(r, 3) for r in ratios]}"
    )


def _raw(path: Path) -> int:
    document = pdfium.PdfDocument(path)
    for number in range(len(document)):
        page = document[number]
        text_page = page.get_textpage()
        text_page.get_text_range()
        text_page.close()
        page.close()
    count = len(document)
    document.close()
    return count


def _read(path: Path) -> None:
    try:
        read_pdf(path, Ocr(min_chars_per_page=0, max_pages=100_000))
    except Unreadable:
        return


def memory(folder: Path, console: Console) -> None:
    """Prints the peak memory of reading one file, of ten times its pages, and of many files."""
    path = max(folder.glob("*/*.pdf"), key=lambda p: len(pdfium.PdfDocument(p)))
    with tempfile.TemporaryDirectory() as temporary:
        source, long = pdfium.PdfDocument(path), pdfium.PdfDocument.new()
        for _ in range(10):
            long.import_pages(source)
        long.save(Path(temporary) / "long.pdf")
        many = sorted(folder.glob("*/*.pdf"))
        for label, files in (
            (f"{len(source)} pages", [path]),
            (f"{len(long)} pages in one file", [Path(temporary) / "long.pdf"]),
            (f"{len(many)} files", many),
            (f"{len(many)} files 10 times", many * 10),
        ):
            console.print(f"{label}: peak {peak_mib(_read_all, files):.0f} MiB")


def _read_all(files: list[Path]) -> None:
    for path in files:
        _read(path)


def main() -> None:
    """Runs the measurements that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--pages-per-second", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=200)
    folder = options.folder[0]
    if options.pages_per_second:
        speed(folder, console, options.repeats)
    elif options.memory:
        memory(folder, console)
    else:
        fidelity(folder, console)


if __name__ == "__main__":
    main()
