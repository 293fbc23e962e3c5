"""What is cut, and what stays."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from core.recipe.repetition import Repetition
from core.rejects import Reason
from core.stage import StageContext, Unit
from corpus.documents import Document, cut, documents_table
from corpus.repetition.cuts import find_cuts
from corpus.repetition.stage import RepetitionStage, cut_loops

PutShard = Callable[[str, pa.Table], Unit]

BEFORE = "We observed the galaxy in winter. Its spectrum shows broad lines of hydrogen.\n\n"
AFTER = "\n\nThe mass of the black hole follows from their width and the luminosity."
PARAGRAPH = "The model of the disc is fitted. It has three free parameters, two of them known.\n\n"
SENTENCE = "The flux is constant over time. "
REFERENCE = "[{}] A. Author, B. Buthor, and C. Cuthor, The Astrophysical Journal, 2012, 123, 456."


def _cleaned(text: str, settings: Repetition | None = None) -> str:
    cuts = find_cuts(text, settings or Repetition())
    return cut(text, None, [(found.start, found.end) for found in cuts])[0]


def _lines(template: str, numbers: range) -> str:
    return "\n".join(template.format(number) for number in numbers)


LOOPS = {
    "a word": ("galaxy " * 40, "galaxy"),
    "a phrase": ("The program is" + " a program that is" * 900, "The program is a program that is"),
    "a sentence": (SENTENCE * 30, SENTENCE.strip()),
    "a paragraph": (PARAGRAPH * 6, PARAGRAPH.strip()),
    "paragraphs and code": (
        (PARAGRAPH + "```\na, b = 1, 2\n```\n\n") * 20,
        PARAGRAPH + "```\na, b = 1, 2\n```",
    ),
    "a heading and a sentence": (
        f"## Chapter 1\n\n{SENTENCE}\n\n" * 9,
        f"## Chapter 1\n\n{SENTENCE.strip()}",
    ),
    "no spaces": ("frame={}," * 300, "frame={},"),
    "marks": ("**j**th** " * 300, "**j**th**"),
    "formulas in a sentence": (
        "We show that \\(\\alpha\\) is of the form \\(\\alpha = \\beta\\). " * 50,
        "We show that \\(\\alpha\\) is of the form \\(\\alpha = \\beta\\).",
    ),
    "characters": ("a" * 500, "a"),
    "a number": ("in 2017)." + " 2017)." * 60, "in 2017)."),
    "dots": ("see" + "." * 500, "see."),
    "dotted": ("so" + " ." * 200, "so ."),
    "a script without spaces": (
        "这个星系的光谱显示出宽发射线。" * 20,
        "这个星系的光谱显示出宽发射线。",
    ),
    "spaces in a formula": ("\\[x = y" + "\\quad" * 60 + "\\]", "\\[x = y\\quad\\]"),
    "thin spaces": ("\\(a" + "\\," * 60 + "b\\)", "\\(a\\,b\\)"),
    "braces": ("see " + "{" * 200 + "a", "see {a"),
    "figures that count": (
        _lines("Figure {}: The spectrum of the galaxy NGC 1068.", range(12, 40)),
        "Figure 12: The spectrum of the galaxy NGC 1068.",
    ),
    "sections that count": (
        " ".join(f"1.2.{n}. The method of the fit." for n in range(3, 30)),
        "1.2.3. The method of the fit.",
    ),
    "one reference, counted": (_lines(REFERENCE, range(12, 40)), REFERENCE.format(12)),
    "rows of nothing": (
        "| a | b |\n|---|---|\n| 1 | 2 |\n" + "| | |\n" * 40,
        "| a | b |\n|---|---|\n| 1 | 2 |",
    ),
    "a table that never ends": (
        "\\begin{tabular}{ll} a & b" + " & c \\\\ a & b" * 100,
        "\\begin{tabular}{ll} a & b & c \\\\ a & b",
    ),
    "a counter of letters": (
        " ".join(f"({c}) the flux of the star in the band;" for c in "abcdefghijklmnopqrstuvwxyz"),
        "(a) the flux of the star in the band;",
    ),
    "in code, on one line": (
        "```\nx = " + "the frame of " * 200 + "\n```",
        "```\nx = the frame of \n```",
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_cut_to_their_first_copy(name: str) -> None:
    loop, left = LOOPS[name]
    cleaned = _cleaned(BEFORE + loop.strip() + AFTER)
    assert cleaned.startswith(BEFORE)
    assert cleaned.endswith(AFTER)
    middle = cleaned[len(BEFORE) : -len(AFTER)]
    # One copy, at most one more where that ends a sentence, and a shred of the last.
    assert middle.startswith(left[: len(left) // 2]), middle
    assert len(middle) <= 2 * len(left) + 20, middle
    assert find_cuts(cleaned, Repetition()) == []


@pytest.mark.parametrize("name", ["a sentence", "a paragraph", "paragraphs and code"])
def test_a_cut_leaves_whole_sentences_and_pairs_of_marks(name: str) -> None:
    loop, left = LOOPS[name]
    assert _cleaned(BEFORE + loop.strip() + AFTER) == BEFORE + left + AFTER


KEPT = {
    "three copies": PARAGRAPH * 3,
    "a refrain": "A rose is a rose is a rose is a rose. Ha ha ha ha ha ha!",
    "a song": "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily.\n" * 3,
    "a table": "| a | b |\n|---|---|\n" + "| 0 | yes |\n" * 60,
    "a wide table": ("| " + " | ".join(["0"] * 40) + " |\n") * 30,
    "an HTML table": "<table>" + "<tr><td>0</td><td>yes</td></tr>" * 30 + "</table>",
    "a table without bars": ("-" * 20 + "  " + "-" * 40 + "\nMethod  MAE\n") * 4,
    "a matrix": "\\[\\begin{pmatrix}"
    + "\\\\".join(["&".join(["0"] * 20)] * 20)
    + "\\end{pmatrix}\\]",
    "a matrix of dots": "$$\n" + "\\\\\n".join(["\\cdots & \\vdots & \\ddots"] * 9) + "\n$$",
    "numbered equations": "\n\n".join(
        f"$$\\partial_t f_{n} + v \\nabla f_{n} = 0$$" for n in range(30)
    ),
    "spaces in a formula": "\\[a \\quad b \\quad\\quad c \\qquad\\qquad d\\]",
    "code": "```python\n" + "    print('hello world')\n" * 40 + "```",
    "data in code": "```\nx = [" + "0, " * 600 + "]\n```",
    "a code span": "bits `0b" + "1" * 60 + "` and `" + "X" * 60 + "`",
    "dot leaders": "\n".join(f"Chapter {n} " + "." * 60 + f" {n}" for n in range(9)),
    "blanks": ("Name: " + "_" * 60 + "\nDate: " + "_" * 60 + "\n") * 3,
    "a rule": "-" * 300,
    "rows of data": "\n".join(
        f"HIP {n * 17 % 9999} {n * 3 % 17}.{n % 10} ± 0.{n % 7}" for n in range(90)
    ),
    "a list of chapters": _lines("- Chapter {}", range(1, 40)),
    "roads": ", ".join(f"US-{n}" for n in range(31, 90)),
    "zeros": "The vector is " + ", ".join(["0"] * 25) + ".",
    "references": "\n".join(
        f"[{n}] {name} {n * 7 % 30 + 1990}, The Astrophysical Journal, {n * 37 % 600}, {n * 91}."
        for n, name in enumerate(["Adams", "Baker", "Cole", "Dawson", "Evans", "Fox", "Gray"] * 3)
    ),
    "exercises": "\n".join(
        f"{n}. Find the {name}."
        for n, name in enumerate(["mass of a star", "speed of light", "radius of the disc"] * 4, 1)
    ),
    "addresses": "\n".join(
        f"- <https://www.example.org/archive/of/papers/{name}>"
        for name in ("redshift", "dust", "halo", "disc", "bulge", "bar", "arm", "stream", "jet")
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_repeats_by_right_stays(name: str) -> None:
    assert find_cuts(BEFORE + KEPT[name] + AFTER, Repetition()) == []


def test_a_loop_beside_a_table_leaves_it_whole() -> None:
    table = "| year | mass |\n|------|------|\n| 2001 | 12.5 |\n"
    text = BEFORE + SENTENCE * 20 + "\n\n" + table + "\n" + SENTENCE * 20 + AFTER
    cleaned = _cleaned(text)
    assert table in cleaned
    assert cleaned.count(SENTENCE.strip()) <= 4


def test_no_equation_or_table_of_a_paper_is_changed() -> None:
    rng = random.Random(3)
    letters = "abcdfghkmnpqrstuvwxyz"
    parts, blocks = [], []
    for number in range(60):
        a, b = rng.choice(letters), rng.choice(letters)
        block = rng.choice(
            [
                f"$$\n{a} = \\frac{{{b}}}{{2}} \\quad \\quad {a} > 0\n$$",
                "\\begin{pmatrix}\n" + "0 & 0 & 0 & 0 \\\\\n" * 8 + "\\end{pmatrix}",
                f"| {a} | {b} |\n|---|---|\n" + "| 0.0 | - |\n" * 25,
                "```\n" + f"{a} = 0\n" * 30 + "```",
            ]
        )
        blocks.append(block)
        parts += [f"Step {number} takes ${a}$ to ${b}$, as found before.", block]
    loop = SENTENCE * 40
    text = "\n\n".join([*parts[:60], loop, *parts[60:]])
    cleaned = _cleaned(text)
    assert len(text) - len(cleaned) >= len(SENTENCE) * 37
    position = 0
    for block in blocks:
        position = cleaned.index(block, position) + len(block)


def test_settings() -> None:
    text = BEFORE + PARAGRAPH * 4 + AFTER
    assert _cleaned(text) == text
    assert _cleaned(text, Repetition(min_laps=2.0)).count(PARAGRAPH.strip()) == 1
    counted = BEFORE + LOOPS["figures that count"][0] + AFTER
    assert find_cuts(counted, Repetition(counters=False)) == []


def test_cuts_are_in_order_and_apart() -> None:
    rng = random.Random(7)
    pieces = [loop for loop, _ in LOOPS.values()] + list(KEPT.values())
    for _ in range(30):
        text = "\n\n".join(rng.sample(pieces, 6))
        position = 0
        for found in find_cuts(text, Repetition()):
            assert position <= found.start < found.end <= len(text)
            position = found.end


@pytest.mark.parametrize("text", ["", " ", "a", "a b c", "\n\n\n", "\x00", "\ud800"])
def test_little_text(text: str) -> None:
    assert find_cuts(text, Repetition()) == []


@pytest.mark.parametrize(
    "unit", ["a", "0 ", "$a$ ", "| | |\n", "```\na\n```\n", "\\begin{a}", "(1) "]
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    started = time.process_time()
    find_cuts(text, Repetition())
    assert time.process_time() - started < 5


def _document(doc_id: str, texts: list[str]) -> Document:
    pages: list[dict[str, Any]] = []
    position = 0
    for number, text in enumerate(texts, 1):
        pages.append(
            {
                "page": number,
                "start_char": position,
                "end_char": position + len(text),
                "method": "nougat",
            }
        )
        position += len(text) + 2
    return Document(doc_id, "a", text="\n\n".join(texts), pages=pages)


def test_stage_cuts_rejects_and_moves_pages(context: StageContext, put_shard: PutShard) -> None:
    clean = _document("a:clean", [BEFORE.strip(), AFTER.strip()])
    loop = SENTENCE * 60
    looped = _document("a:looped", [BEFORE.strip() * 3, loop.strip(), AFTER.strip() * 3])
    lost = Document("a:lost", "a", text=("galaxy " * 300).strip())
    stage = RepetitionStage(Repetition(min_chars=100), "corpus.normalize")
    table = documents_table([clean, looped, lost])
    result = stage.process(put_shard("corpus.normalize", table), context)
    assert result.kept["doc_id"].to_pylist() == ["a:clean", "a:looped"]
    assert result.kept["text"][0].as_py() == clean.text
    assert (result.rows_in, result.rows_rejected) == (3, 1)

    row = result.kept.slice(1, 1).to_pylist()[0]
    texts = [row["text"][p["start_char"] : p["end_char"]] for p in row["pages"]]
    assert texts == [BEFORE.strip() * 3, SENTENCE.strip(), AFTER.strip() * 3]

    cut_row, lost_cut, lost_row = result.rejected
    assert {r.reason for r in result.rejected} == {Reason.REPETITION}
    assert (cut_row.doc_id, lost_cut.doc_id, lost_row.doc_id) == ("a:looped", "a:lost", "a:lost")
    assert looped.text is not None
    assert cut_row.text is not None
    start = looped.text.index(cut_row.text)
    assert cut_row.detail.startswith(f"characters {start}-{start + len(cut_row.text)}: 7 tokens")
    assert looped.text.replace(cut_row.text, "", 1) == row["text"]
    assert lost_row.detail == "6 characters left of 2099"
    assert lost_row.text == "galaxy"
    cut_chars = len(cut_row.text) + 2093
    assert result.metrics == {
        "documents_cut": 2,
        "documents_lost": 1,
        "cuts": 2,
        "characters_cut": cut_chars,
    }
    assert stage.config() == Repetition(min_chars=100).model_dump(mode="json")


def test_an_empty_shard() -> None:
    kept, rejects, counts = cut_loops(documents_table([]), Repetition())
    assert (kept.num_rows, rejects, counts["cuts"]) == (0, [], 0)
