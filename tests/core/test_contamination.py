from __future__ import annotations

import json
import random
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from core.benchmark_text import BenchmarkItem, read_benchmark
from core.contamination import ContaminationIndex
from core.errors import InputError
from core.letters import letters
from core.overlap import Rules
from core.passages import passage_letters

LONG = (
    "Which observed property of Cepheid variables lets astronomers infer the distance of a "
    "galaxy from the period of their pulsation?"
)
SHORT = "In which arm of the Milky Way does the Sun lie?"
TINY = "Why is the sky blue?"
TEX = (
    "A star of effective temperature $T_{\\rm eff} = 10^{4}$ K shows strong H$\\alpha$ absorption; "
    'what is the most likely spectral class of this Schr\\"odinger star?'
)
ITEMS = [
    BenchmarkItem("b", "long", LONG, ("Their colour", "Their mean luminosity", "Their metals")),
    BenchmarkItem("b", "short", SHORT, ("Perseus Arm", "Carina Arm", "Orion Arm")),
    BenchmarkItem(
        "b",
        "tiny",
        TINY,
        (
            "Because molecules of the air scatter short wavelengths of light more than long ones",
            "Because the oceans reflect their colour into the air above them",
        ),
    ),
    BenchmarkItem("b", "tex", TEX),
]
BEFORE = "Students were asked the following in class, and many of them did well. "
AFTER = " This ends the list of what they were asked, and the lesson went on with galaxies."


@pytest.fixture(scope="module")
def index() -> ContaminationIndex:
    return ContaminationIndex(ITEMS)


def _found(index: ContaminationIndex, text: str) -> set[str]:
    return {match.item_id for match in index.find(text)}


def _insert(text: str, what: str, after: str) -> str:
    assert after in text
    return text.replace(after, after + what, 1)


VARIANTS: dict[str, Callable[[str], str]] = {
    "as it is": lambda t: t,
    "capitals": str.upper,
    "small": str.lower,
    "no punctuation": lambda t: "".join(c for c in t if c.isalnum() or c == " "),
    "a line per word": lambda t: t.replace(" ", "\n"),
    "indented lines": lambda t: t.replace(" of ", "\n    of\t"),
    "no spaces": lambda t: t.replace(" ", ""),
    "hyphenated": lambda t: " ".join(w[:3] + "-\n" + w[3:] if len(w) > 5 else w for w in t.split()),
    "soft hyphens": lambda t: "\u00ad".join(t),
    "full width": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    "mathematical bold": lambda t: "".join(
        chr(0x1D41A + ord(c) - 97) if "a" <= c <= "z" else c for c in t
    ),
    "ligatures": lambda t: t.replace("fi", "ﬁ").replace("fl", "ﬂ").replace("ff", "ﬀ"),
    "accents": lambda t: unicodedata.normalize("NFD", t.replace("e", "é").replace("a", "ä")),
    "emphasis": lambda t: " ".join(f"**{w}**" if len(w) > 4 else f"_{w}_" for w in t.split()),
    "tags": lambda t: "<p>" + t.replace(" of ", ' <em class="x">of</em> ') + "</p>",
    "TeX emphasis": lambda t: " ".join(f"\\textit{{{w}}}" for w in t.split()),
    "numbered citation": lambda t: _insert(
        t, " [12, 14-16]", " of the" if " of the" in t else " of"
    ),
    "key citation": lambda t: _insert(t, " [@smith2010; @li11]", " of"),
    "TeX citation": lambda t: _insert(t, "~\\citep[see][]{smith2010,li11}", " of"),
    "author and year": lambda t: _insert(t, " (Smith et al. 2010; Li & Wu, 2011a)", " of"),
    "footnote mark": lambda t: _insert(t, "[^3]", " of"),
    "superscript mark": lambda t: _insert(t, "¹²", " of"),
    "page break": lambda t: _insert(
        t, "\n\n14 A. Smith et al.\n\nMonthly Notices of the RAS 481, 1-20 (2018)\n\n", " of"
    ),
    "page break in a word": lambda t: t.replace(" of", " o-\n\n# 7\n\nf", 1),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("item", "question"), [("long", LONG), ("short", SHORT)])
def test_a_planted_question_is_found_in_every_guise(
    index: ContaminationIndex, item: str, question: str, variant: str
) -> None:
    text = BEFORE + VARIANTS[variant](question) + AFTER
    matches = index.find(text)
    assert {m.item_id for m in matches} == {item}
    (match,) = matches
    assert text[match.start_char : match.end_char] == match.text
    assert len(BEFORE) - 1 <= match.start_char <= len(BEFORE) + 20
    assert match.words <= len(question.split()) + 3


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v not in ("accents", "full width")])
def test_every_question_of_a_benchmark_is_found(checkout: Path, variant: str) -> None:
    items = [
        item
        for name in ("astronomy", "general")
        for item in read_benchmark(name, checkout / "samples" / "mcq" / f"{name}.jsonl")
    ]
    index = ContaminationIndex(items)
    change = VARIANTS[variant]
    missed = []
    for item in items:
        if len(letters(item.question).codes) < 20 or " of" not in item.question:
            continue
        if len(item.question.split()) < 6:
            continue
        if item.item_id not in _found(index, BEFORE + change(item.question) + AFTER):
            missed.append(item.question)
    assert not missed


@pytest.mark.parametrize(
    "variant",
    [
        "A star of effective temperature Teff = 10⁴ K shows strong Hα absorption; what is the most "
        "likely spectral class of this Schrödinger star?",
        "A star of effective temperature $T_{eff}=10^4\\,\\mathrm{K}$ shows strong "
        "$\\mathrm{H}\\alpha$ absorption; what is the most likely spectral class of this star?",
    ],
)
def test_tex_and_unicode_say_the_same(index: ContaminationIndex, variant: str) -> None:
    assert _found(index, variant) == {"tex"}


def test_choices_with_labels_join_the_question(index: ContaminationIndex) -> None:
    quiz = f"1. {SHORT}\n\n(A) Perseus Arm\n(B) Carina Arm\n(C) Orion Arm\n\nNext."
    (match,) = index.find(quiz)
    assert match.part == "question and choices"
    assert match.text.endswith("Orion Arm")
    assert match.words == 11 + 6


def test_a_tiny_question_needs_its_mark_or_its_choices(index: ContaminationIndex) -> None:
    assert not index.find("A child may wonder why is the sky blue, which is a good thing to ask.")
    assert _found(index, f"Children ask: *{TINY}* It is a good question.") == {"tiny"}
    first, second = ITEMS[2].others
    assert _found(index, f"{TINY[:-1]}. A. {first} B. {second}") == {"tiny"}
    assert _found(index, f"{TINY[:-1]}: A) {first[:60]}. That is all.") == set()


STEM, DOTS, TERM = "Planetary rings are", "The Large Magellanic Cloud is ...", "Sidereal Time"
STEMS = ContaminationIndex(
    [
        BenchmarkItem("b", "tiny", TINY),
        BenchmarkItem("b", "stem", STEM),
        BenchmarkItem("b", "dots", DOTS),
        BenchmarkItem("b", "term", TERM),
    ]
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Quiz.\n\n{STEM}\n\nNext.", {"stem"}),
        (f"**Question 3:** {STEM}:", {"stem"}),
        (f"- (b) {STEM} ____\n", {"stem"}),
        (f"> 12. {TINY[:-1]}\n> 13. {DOTS}\n", {"tiny", "dots"}),
        (f"# Quiz\nQ2. {TINY[:-1].upper()}", {"tiny"}),
        (f"| 4 | {STEM} | B |\n", {"stem"}),
        (f"They read \u201c{STEM}\u201d aloud.", {"stem"}),
        (f"We ask: {DOTS} And so on.", {"dots"}),
        (f"The sky: {TINY[:-1]} [12] (Smith et al. 2010)? We know.", {"tiny"}),
        (f"Is it blue? {TINY[:-1]}\u00b9\u00b2? We know.", {"tiny"}),
        (f"{STEM} wide.", set()),
        (f"All {STEM}\n", set()),
        (f"Of these, {STEM.lower()}\n", set()),
        (f"{DOTS[:-4]} near ... and small.", set()),
        (f"Long ago, {TINY[:-1]} was asked? Not so.", set()),
        (f"# {TERM}\n\nIt is long.", set()),
        (f"A {'long ' * 20}line: {STEM}\n", set()),
    ],
)
def test_a_short_question_or_stem_that_stands_alone(text: str, found: set[str]) -> None:
    assert _found(STEMS, text) == found


@pytest.mark.parametrize(
    ("end", "text", "found"),
    [
        ("of", "Who led the long eclipse expedition of\u00b9\u00b2? Next.", True),
        ("of 1919", "Who led the long eclipse expedition of 1919\u00b3? Next.", True),
        ("of 25", "Who led the long eclipse expedition of 25\u00b3? Next.", False),
        ("of", "Who led the&nbsp;long &quot;eclipse&#34; expedition of? Next.", True),
        ("of &alpha;", "Who led the long eclipse expedition of \u03b1? Next.", True),
    ],
)
def test_marks_of_notes_and_of_html_are_no_part(end: str, text: str, found: bool) -> None:
    item = BenchmarkItem("b", "1", f"Who led the long eclipse expedition {end}?")
    assert _found(ContaminationIndex([item]), text) == ({"1"} if found else set())


def test_thirteen_words_are_an_overlap_and_twelve_are_not(index: ContaminationIndex) -> None:
    words = LONG.split()
    assert not index.find("So " + " ".join(words[2:14]) + " is asked.")
    (match,) = index.find("So " + " ".join(words[2:15]) + " is asked.")
    assert (match.words, match.part) == (13, "question")
    long = ITEMS[2].others[0].split()
    assert _found(index, "We saw: " + " ".join(long[:13]) + ".") == {"tiny"}
    assert not ContaminationIndex(ITEMS, Rules(choices=False)).find(" ".join(long))


def test_a_short_question_counts_only_whole_and_at_words(index: ContaminationIndex) -> None:
    assert not index.find(SHORT.replace("In which", "Which"))
    assert not index.find(SHORT.replace("lie?", "lies?"))
    assert not index.find(SHORT.replace("Sun", "Moon"))
    assert not index.find("Here" + SHORT.lower())
    assert index.find(SHORT)


def test_a_gap_too_long_breaks_a_question(index: ContaminationIndex) -> None:
    head, tail = SHORT[:24], SHORT[24:]
    assert index.find(f"{head} {'x ' * 190} {tail}")
    assert not index.find(f"{head} {'x ' * 220} {tail}")
    assert not ContaminationIndex(ITEMS, Rules(max_gap_chars=20)).find(f"{head} {'x' * 21} {tail}")


def test_all_items_and_all_places_are_reported(index: ContaminationIndex) -> None:
    text = f"{SHORT}\n\n{LONG}\n\nAnd again: {SHORT}"
    assert [m.item_id for m in index.find(text)] == ["short", "long", "short"]
    twice = ContaminationIndex([*ITEMS, BenchmarkItem("c", "copy", SHORT)])
    assert {(m.benchmark, m.item_id) for m in twice.find(SHORT)} == {("b", "short"), ("c", "copy")}


def test_clean_text_of_the_same_field_has_no_overlap(checkout: Path) -> None:
    items = read_benchmark("astronomy", checkout / "samples" / "mcq" / "astronomy.jsonl")
    index = ContaminationIndex(items)
    texts = [p.read_text() for p in sorted((checkout / "samples").glob("*/*.md"))]
    assert sum(map(len, texts)) > 80_000
    assert [m for text in texts for m in index.find(text)] == []


def test_the_end_of_a_question_and_the_start_of_a_choice_are_nothing() -> None:
    question = "Some long words come before this one and then the rings of Saturn shine?"
    choice = "Because they are made of water ice which reflects most of the light of the Sun"
    index = ContaminationIndex([BenchmarkItem("b", "1", question, (choice, "No"))])
    assert not index.find(
        "We saw that the rings of Saturn shine because they are made of water ice."
    )
    (match,) = index.find(f"x {question} because they are red")
    assert (match.part, match.text) == ("question", question.removesuffix("?"))


def test_a_pair_of_question_and_answer(index: ContaminationIndex) -> None:
    assert not index.find_pair("What is the colour of Mars?", "It is red, as rust is.")
    (match,) = index.find_pair("why is the sky BLUE", "Because of Rayleigh scattering.")
    assert (match.item_id, match.words) == ("tiny", 5)
    assert {m.item_id for m in index.find_pair("As asked:", LONG)} == {"long"}


@pytest.mark.parametrize(
    "text",
    ["", "?", "a", "\ud800\udfff\ud800", "🎉" * 50, SHORT[:17], "(" * 5_000, "[1," * 5_000],
)
def test_odd_texts_are_no_overlap(index: ContaminationIndex, text: str) -> None:
    assert index.find(text) == []
    assert ContaminationIndex([]).find(text) == []
    assert ContaminationIndex([BenchmarkItem("b", "1", text)]).find(LONG) == []


@pytest.mark.parametrize(
    "piece",
    ["(2010 1999 ", "([", "\\cite{", "[@", "<a", "](", "gravitational wave ", SHORT[:30] + " "],
)
def test_hostile_text_takes_linear_time(index: ContaminationIndex, piece: str) -> None:
    text = piece * (400_000 // len(piece))
    start = time.process_time()
    index.find(text)
    assert time.process_time() - start < 5


def test_letters_keep_their_places() -> None:
    said = letters("Hα ﬁn, e\u0301té ½ 10⁶ 星雲 M☉")
    assert said.text() == "halphafinete12106星雲m"
    assert said.places.tolist()[:9] == [0, 1, 1, 1, 1, 1, 3, 3, 4]
    words = said.text()
    first, end = said.word_bounds()
    assert [words[a:b] for a, b in zip(first, end, strict=True)] == [
        "halpha",
        "fin",
        "ete",
        "12",
        "106",
        "星",
        "雲",
        "m",
    ]


def test_letters_agree_with_a_plain_reference() -> None:
    generator = random.Random(0)
    alphabet = [chr(c) for c in (*range(0x20, 0x180), *range(0x4E00, 0x4E20), 0x1F389, 0x301)]
    for _ in range(200):
        text = "".join(generator.choices(alphabet, k=40))
        plain = "".join(
            c
            for c in unicodedata.normalize("NFKD", text.lower()).lower()
            if c.isalnum() and unicodedata.category(c) != "Mn"
        ).replace("μ", "mu")
        assert letters(text).text() == plain


def test_marks_are_passed_over_in_place() -> None:
    said = passage_letters("a [3] b\\cite{x} $\\alpha \\times \\varepsilon$ (Li 2010) <b>c</b>")
    assert said.text() == "abalphaepsilonc"
    assert said.places[1] == 6


RECORDS = [
    ("q.jsonl", json.dumps({"item_id": "7", "question": SHORT, "choices": ["one", "two"]})),
    ("arc.jsonl", json.dumps({"id": "7", "question": {"stem": SHORT, "choices": [
        {"text": "one", "label": "A"}, {"text": "two", "label": "B"}]}, "answerKey": "A"})),
    ("a.json", json.dumps([{"id": 7, "prompt": SHORT, "options": {"A": "one", "B": "two"}}])),
    ("hf.json", json.dumps({"data": [{"id": "7", "question": SHORT, "choices": {
        "text": ["one", "two"], "label": ["A", "B"]}}]})),
    ("c.csv", f"id,question,A,B,answer\n7,{SHORT},one,two,\n"),
    ("semi.csv", f"id;Question;choice0;choice1\n7;{SHORT};one;two\n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), RECORDS)
def test_benchmark_layouts(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text("\ufeff" + content, encoding="utf-8")
    (item,) = read_benchmark("b", tmp_path / name)
    assert (item.item_id, item.question, item.others) == ("7", SHORT, ("one", "two"))


def test_any_text_column_counts_where_none_is_a_question(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"foo": LONG, "n": 3}) + "\n\nnot json " + SHORT)
    first, second = read_benchmark("b", tmp_path / "x.jsonl")
    assert (first.item_id, first.question) == ("1", LONG)
    assert (second.item_id, second.question) == ("3", "not json " + SHORT)
    (tmp_path / "x.txt").write_text(f"{LONG}\n\n{SHORT}")
    assert [i.question for i in read_benchmark("b", tmp_path / "x.txt")] == [LONG, SHORT]


@pytest.mark.parametrize(("name", "content"), [("x.jsonl", ""), ("x.csv", "q\n")])
def test_a_benchmark_without_text_is_an_error(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="holds no question"):
        read_benchmark("b", tmp_path / name)
    with pytest.raises(InputError, match="cannot read"):
        read_benchmark("b", tmp_path / ("no" + name))


def test_a_workbook_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.xlsx").write_text("PK")
    with pytest.raises(InputError, match="no workbook that can be read"):
        read_benchmark("b", tmp_path / "x.xlsx")
