"""Planted benchmark questions: how many are found, by their length and by how they stand in a text.

Every question of the benchmarks is put into a text in each of the ways below, without its choices
unless said. Run with ``python -m bench.contamination [FILE ...]``: benchmark files of your own, or
the sample's; ``--documents FOLDER`` counts what is found in texts that hold none of them.
"""

from __future__ import annotations

import argparse
import html
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from core.benchmark_text import BenchmarkItem, read_benchmark
from core.contamination import ContaminationIndex
from core.overlap import parts_of

_SAMPLES = Path(__file__).parent.parent / "samples" / "mcq"
_BEFORE = "Students were asked the following in class, and many of them did well. "
_AFTER = " This ends the list of what they were asked, and the lesson went on with galaxies."
_PAGE = "\n\n14 A. Smith et al.\n\nMonthly Notices of the RAS 481, 1-20 (2018)\n\n"
_ENDINGS = (".txt", ".md", ".tex", ".mmd", ".jsonl", ".html")


def _within(text: str, what: str) -> str:
    words = text.split()
    middle = max(1, len(words) // 2)
    return " ".join(words[:middle]) + what + " ".join(words[middle:])


def _letters_only(text: str) -> str:
    return "".join(c for c in text if c.isalnum() or c == " ")


WAYS: dict[str, Callable[[str], str]] = {
    "within a line": lambda t: t,
    "within a line, no punctuation": _letters_only,
    "on its own line": lambda t: f"\n\n{t}\n\n",
    "on its own line, no punctuation": lambda t: f"\n\n{_letters_only(t)}\n\n",
    "numbered": lambda t: f"\n\n**Question 12:** {t}\n\n",
    "in a table": lambda t: f"\n| 3 | {t} | b |\n",
    "quoted": lambda t: f'"{t}"',
    "capitals": str.upper,
    "emphasis": lambda t: " ".join(f"**{w}**" for w in t.split()),
    "lines of 40": lambda t: re.sub(r"(.{20,40}) ", r"\1\n", t),
    "hyphenated": lambda t: " ".join(w[:3] + "-\n" + w[3:] if len(w) > 5 else w for w in t.split()),
    "HTML entities": lambda t: html.escape(t).replace(" ", "&nbsp;", 1),
    "citation in the middle": lambda t: _within(t, " [12, 14] "),
    "author and year in the middle": lambda t: _within(t, " (Smith et al. 2010) "),
    "raised mark in the middle": lambda t: _within(t, "\u00b9\u00b2 "),
    "citation before its mark": lambda t: t.rstrip("?.: ") + " [12]?",
    "raised mark before its mark": lambda t: t.rstrip("?.: ") + "\u00b9\u00b2?",
    "page break in the middle": lambda t: _within(t, _PAGE),
}


def _length(item: BenchmarkItem) -> str:
    words = parts_of(item, choices=True).asked
    return "under 6 words" if words < 6 else "6 to 12 words" if words <= 12 else "13 words or more"


def recall(benchmarks: list[list[BenchmarkItem]]) -> Table:
    """Returns the table of planted and found questions."""
    lengths = ("under 6 words", "6 to 12 words", "13 words or more")
    counts: dict[str, dict[str, list[int]]] = defaultdict(lambda: {n: [0, 0] for n in lengths})
    for items in benchmarks:
        index = ContaminationIndex(items)
        for item in items:
            choices = "".join(f"\n({chr(65 + n)}) {text}" for n, text in enumerate(item.others))
            planted = {way: change(item.question) for way, change in WAYS.items()}
            if choices:
                planted["with its choices"] = item.question + choices
            for way, text in planted.items():
                found = {match.item_id for match in index.find(_BEFORE + text + _AFTER)}
                cell = counts[way][_length(item)]
                cell[0] += item.item_id in found
                cell[1] += 1
    table = Table("how it stands in the text", *lengths)
    for way, cells in counts.items():
        table.add_row(way, *(f"{found} of {all_}" for found, all_ in cells.values()))
    return table


def search(benchmarks: list[list[BenchmarkItem]], folder: Path) -> str:
    """Returns what is found in a folder's texts, in a line."""
    index = ContaminationIndex([item for items in benchmarks for item in items])
    texts = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _ENDINGS
    ]
    started = time.process_time()
    found = {(m.benchmark, m.item_id) for text in texts for m in index.find(text)}
    seconds = time.process_time() - started
    size = sum(map(len, texts)) / 1e6
    return (
        f"{len(found)} items found in {len(texts)} texts, {size:.1f} MB, {size / seconds:.1f} MB/s"
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*", help="benchmark files")
    parser.add_argument("--documents", type=Path, help="folder of texts without these questions")
    arguments = parser.parse_args()
    files = arguments.files or sorted(_SAMPLES.glob("*.jsonl"))
    benchmarks = [read_benchmark(path.stem, path) for path in files]
    console = Console(width=120)
    console.print(recall(benchmarks))
    folder = arguments.documents or _SAMPLES.parent / "astronomy"
    console.print(search(benchmarks, folder))


if __name__ == "__main__":
    main()
