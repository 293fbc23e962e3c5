"""Normalize and repetition against their peers, on the same texts, on one core.

* Normalize: our repair and our whole step against plain ``ftfy.fix_text`` with the same options and
  datatrove's ``FTFYFormatter`` (its own options: it leaves quotes, ligatures and widths alone).
  The repair must give what ftfy gives; the number of documents where it does is printed.
* Repetition: ours against the rules that cleaned the corpus of cosmosage, written anew after its
  public ``clean_mmd.py``, and datatrove's ``GopherRepetitionFilter``, which only keeps or drops
  whole documents. Words are split for that one by a plain expression, faster than its spaCy; the
  cosmosage rules get NLTK's Punkt, untrained. Then what each leaves: the longest run of a ten-word
  phrase, and the words outside loops that survive, by a definition of loops of its own.

Run ``python -m bench.clean_text FOLDER [FILE.mmd ...]`` with a folder of document shards, such as
``runs/x/corpus/ocr``. Seconds are CPU time, the median of rounds in turn.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import ftfy
import numpy as np
import pyarrow.parquet as pq
from nltk.tokenize.punkt import PunktSentenceTokenizer
from rich.console import Console
from rich.table import Table

from core.recipe.repetition import Repetition
from corpus.documents import cut
from corpus.mojibake import FTFY, fix_text
from corpus.normalize import normalize_text
from corpus.repetition.cuts import find_cuts

_PUNKT = PunktSentenceTokenizer()
_WORD = re.compile(r"\w+|[^\w\s]")
_SIMPLE = re.compile(r"\b(\w+(?:\s+\w+){0,21})\s+\1\b")
_RULES = [
    (re.compile(r"(.)\1{4,}"), r"\1"),
    (re.compile(r"(\b\w+\b)( \1){3,}"), r"\1"),
    (re.compile(r"(\\\\quad){2,}"), r"\\\\quad\\\\quad"),
    (re.compile(r"(\\\\qquad){2,}"), r"\\\\qquad\\\\qquad"),
    (re.compile(r"(\\\\!)+"), r"\\\\!"),
    (re.compile(r"(,\\\\){2,}"), r",\\\\"),
    (re.compile(r"(\\\\,){2,}"), r"\\\\,"),
]


def cosmosage(text: str) -> str:
    """Returns a text cleaned by the rules of cosmosage's ``clean_mmd.py``."""
    while _SIMPLE.search(text):
        text = _SIMPLE.sub(r"\1", text)
    return cosmosage_as_run(text)


def cosmosage_as_run(text: str) -> str:
    """Returns a text cleaned by what that code does: a slip of quotes disables its first rule."""
    for rule, left in _RULES:
        text = rule.sub(left, text)
    kept: list[str] = []
    for sentence in _PUNKT.tokenize(text):
        if not kept or sentence != kept[-1]:
            kept.append(sentence)
    return _without_phrases(" ".join(kept).split())


def _without_phrases(words: list[str]) -> str:
    for _ in range(3):
        changed = False
        for length in range(22, 1, -1):
            at = 0
            while at <= len(words) - 2 * length:
                if words[at : at + length] == words[at + length : at + 2 * length]:
                    del words[at + length : at + 2 * length]
                    changed = True
                else:
                    at += length
        if not changed:
            break
    return " ".join(words)


def ours(text: str) -> str:
    """Returns a text without the loops we cut."""
    return cut(text, None, [(c.start, c.end) for c in find_cuts(text, Repetition())])[0]


def gopher() -> Callable[[str], str] | None:
    """Returns datatrove's filter as text to text (nothing where it drops), if it is installed."""
    try:
        from datatrove.data import Document
        from datatrove.pipeline.filters import gopher_repetition_filter as module
    except ImportError:
        return None
    module.split_into_words = lambda text, language: _WORD.findall(text)
    keeps = module.GopherRepetitionFilter()
    return lambda text: text if keeps.filter(Document(text=text, id="")) is True else ""


def formatter() -> Callable[[str], str] | None:
    """Returns datatrove's ``FTFYFormatter``, if it is installed."""
    try:
        from datatrove.pipeline.formatters.ftfy import FTFYFormatter
    except ImportError:
        return None
    return FTFYFormatter().format


def seconds(
    calls: dict[str, Callable[[str], str]], texts: Sequence[str], rounds: int
) -> dict[str, float]:
    """Returns the CPU seconds of each call over all texts: the median of rounds in turn."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.process_time()
            for text in texts:
                call(text)
            taken[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in taken.items()}


def most_in_a_row(text: str, length: int = 10, longest_period: int = 300) -> int:
    """Returns how often at most any phrase of ``length`` words comes in a row, at any period."""
    words = text.split()
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in words])
    most = 1
    for period in range(1, min(longest_period, len(ids) - length) + 1):
        edges = np.diff(np.concatenate([[0], ids[period:] == ids[:-period], [0]]).astype(np.int8))
        equal = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
        if len(equal) and equal.max() + period >= length:
            most = max(most, int(equal.max() + period - length) // period + 1)
    return most


def words_outside_loops(text: str, window: int = 60, diversity: float = 0.35) -> list[str]:
    """Returns the words of a text outside loops, by a plain definition of loops.

    A word is in a loop if some 60 words around it have less than 21 different pairs of neighbours,
    or if its line (of more than 20 characters) comes four times or more, from the second on.
    """
    lines = text.split("\n")
    often, seen = Counter(lines), set()
    words: list[str] = []
    looped: list[bool] = []
    for line in lines:
        again = len(line) > 20 and often[line] >= 4 and line in seen
        seen.add(line)
        words += line.split()
        looped += [again] * (len(words) - len(looped))
    pairs = list(itertools.pairwise(words))
    counts = Counter(pairs[:window])
    for start in range(len(pairs) - window + 1):
        if len(counts) < diversity * window:
            looped[start : start + window + 1] = [True] * (window + 1)
        counts[pairs[start]] -= 1
        if not counts[pairs[start]]:
            del counts[pairs[start]]
        if start + window < len(pairs):
            counts[pairs[start + window]] += 1
    return [word for word, loop in zip(words, looped, strict=True) if not loop]


def kept_share(text: str, cleaned: str) -> float:
    """Returns the share of words outside loops that are still there, counted without order."""
    wanted = Counter(words_outside_loops(text))
    return (wanted & Counter(cleaned.split())).total() / max(wanted.total(), 1)


def normalize(texts: list[str], rounds: int, console: Console) -> None:
    """Prints the speed of the repair, on all documents and on those it leaves alone."""
    plain = [ftfy.fix_text(text, FTFY) for text in texts]
    equal = sum(fix_text(text) == fixed for text, fixed in zip(texts, plain, strict=True))
    console.print(f"repair equal to ftfy.fix_text on {equal} of {len(texts)} documents")
    calls: dict[str, Callable[[str], str]] = {
        "ftfy.fix_text": lambda text: ftfy.fix_text(text, FTFY),
        "ours, repair": fix_text,
        "ours, whole step": normalize_text,
    }
    if peer := formatter():
        calls["datatrove FTFYFormatter"] = peer
    clean = [text for text, fixed in zip(texts, plain, strict=True) if text == fixed]
    for label, chosen in (("all", texts), ("clean", clean)):
        _print(f"normalize, {label}", seconds(calls, chosen, rounds), chosen, console)


def repetition(texts: list[str], books: list[str], rounds: int, console: Console) -> None:
    """Prints the speed of the repetition rules and what they leave of loops and of text."""
    calls: dict[str, Callable[[str], str]] = {
        "cosmosage rules": cosmosage,
        "cosmosage as run": cosmosage_as_run,
        "ours": ours,
    }
    if peer := gopher():
        calls["datatrove Gopher filter"] = peer
    for label, chosen in (("clean documents", texts), ("with loops", books)):
        if chosen:
            _print(f"repetition, {label}", seconds(calls, chosen, rounds), chosen, console)
    table = Table("what is left", *calls)
    for number, text in enumerate(books, 1):
        left = [call(text) for call in calls.values()]
        runs = [str(most_in_a_row(kept)) if kept else "dropped" for kept in left]
        shares = [f"{kept_share(text, kept):.2%}" for kept in left]
        ends = [str(kept.count("\n")) for kept in left]
        table.add_row(f"file {number}: phrase in a row, before {most_in_a_row(text)}", *runs)
        table.add_row(f"file {number}: words outside loops kept", *shares)
        table.add_row(f"file {number}: line ends, before {text.count(chr(10))}", *ends)
    changed = {name: sum(call(text) != text for text in texts) for name, call in calls.items()}
    table.add_row(f"of {len(texts)} clean documents changed", *map(str, changed.values()))
    console.print(table)


def _print(title: str, taken: dict[str, float], texts: Sequence[str], console: Console) -> None:
    chars = sum(map(len, texts))
    first = next(iter(taken.values()))
    table = Table(title, "s", "Mchar/s", "times the first")
    for name, value in taken.items():
        table.add_row(name, f"{value:.3f}", f"{chars / value / 1e6:.2f}", f"{first / value:.1f}")
    console.print(table)


def _same(one: str, other: str) -> bool:
    lines, others = set(one.split("\n")), set(other.split("\n"))
    return len(lines & others) > len(lines) / 2


def main() -> None:
    """Runs both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of document shards")
    parser.add_argument("loops", type=Path, nargs="*", help="text files with loops in them")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=120)
    texts: list[str] = []
    for path in sorted(options.folder.glob("part-*.parquet")):
        texts += [t for t in pq.read_table(path, columns=["text"])["text"].to_pylist() if t]
    normalize(texts, options.rounds, console)
    books = [normalize_text(path.read_text("utf-8")) for path in options.loops]
    normal = [normalize_text(text) for text in texts]
    # A reader may have changed a book's marks on its way into the folder.
    clean = [text for text in normal if not any(_same(text, book) for book in books)]
    repetition(clean, books, options.rounds, console)


if __name__ == "__main__":
    main()
