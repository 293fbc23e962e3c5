"""The renderer as a whole: hostile input, parity of its scanner, the arithmetic of convert."""

from __future__ import annotations

import random
import time
from pathlib import Path

import mwparserfromhell
import pytest

from corpus.wikitext import render_article
from corpus.wikitext.arithmetic import evaluate, round_half_up
from corpus.wikitext.conversion import converted, number_text, read_amount
from corpus.wikitext.page import REGISTRY
from corpus.wikitext.render import render_page
from corpus.wikitext.scan import ExtensionTag, Link, Node, Template, scan
from corpus.wikitext.unit_table import UNITS, find_unit

FOLDER = Path(__file__).parent / "wikitext_cases"


def text_of(wikitext: str) -> str:
    return render_article(wikitext, "T").removeprefix("# T").strip()


ARTICLE = """
{{Short description|x}}
'''A''' is {{val|1|u={{nowrap|k{{sub|m}}}}}} of [[B|{{small|b}}]] {{lang|de|Wort}}.
{{sfn|Doe|2000|p=3}}
{{Infobox star
| name = {{nowrap|A [[x|y]]}}
| {{#if:1|a|b}} = c
}}
{| class="wikitable"
| {{yes}} || [[File:a.jpg|thumb|{{center|cap}} text]]
|}
{{{{{pick}}}|q}} {{a}}{{b|}}{{c||d=}}
"""


def templates_of(nodes: list[Node]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for node in nodes:
        if isinstance(node, Template):
            if all(isinstance(part, str) for part in node.parts[0]):
                name = "".join(str(part) for part in node.parts[0]).strip()
                found.append((name, len(node.parts) - 1))
            for part in node.parts:
                found.extend(templates_of(part))
        elif isinstance(node, Link):
            found.extend(templates_of(node.nodes))
    return found


def test_scanner_finds_the_templates_that_mwparserfromhell_finds() -> None:
    reference = [
        (str(template.name).strip(), len(template.params))
        for template in mwparserfromhell.parse(ARTICLE).filter_templates()
        if not template.name.filter_templates() and not template.name.filter_arguments()
    ]
    ours = [(name, count) for name, count in templates_of(scan(ARTICLE)) if name]
    assert sorted(ours) == sorted(reference)
    assert len(ours) >= 12


def test_scanner_takes_extension_tags_whole() -> None:
    nodes = scan("a<ref name='x'>{{b}}</ref><math>{{{</math><nowiki/>")
    tags = [node for node in nodes if isinstance(node, ExtensionTag)]
    assert [(tag.name, tag.inner) for tag in tags] == [
        ("ref", "{{b}}"),
        ("math", "{{{"),
        ("nowiki", None),
    ]


HOSTILE = [
    "{{", "{{a|", "[[", "{{{", "<ref>", "<ref ", "<ref name=a>x", "<math>", "<!--", "{|\n",
    "\n|-\n|",
    "\n!a!!", "'''''a", "{{a|[[", "[http://a ", "(", "(,", ", ,", "\n; a : b", "=", "<sup>", "&",
    "{{#if:", "{{#expr:1+", "{{convert|", "{{val|1|", "<table><tr><td>", "<li>", "}}", "[[File:",
    "{{nowrap|", "|", " ", "\x7f1\x7f", "&#x7f;", "{{#switch:", "<poem>", "{{ubl|", "* ", "\n:::",
]  # fmt: skip
CLOSING = {"{{": "}}", "{{a|": "}}", "[[": "]]", "{{{": "}}}", "<ref>": "</ref>", "{|\n": "\n|}",
           "<sup>": "</sup>", "(": ")", "{{nowrap|": "}}", "{{#if:": "}}",
           "{{ubl|": "}}"}  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_input_takes_linear_time(piece: str) -> None:
    """60,000 characters take a second at most; quadratic work would take minutes."""
    count = 60_000 // len(piece)
    started = time.process_time()
    text_of(piece * count)
    if piece in CLOSING:
        text_of(piece * (count // 2) + CLOSING[piece] * (count // 2))
    assert time.process_time() - started < 5


def test_nested_repetition_does_not_grow_without_end() -> None:
    wikitext = "x" * 100
    for _ in range(38):
        wikitext = "{{ill|" + wikitext + "|lt=" + wikitext[:50] + "}}"
    assert len(text_of(wikitext)) < 10 * len(wikitext) + 100_000


def test_markers_cannot_be_forged() -> None:
    wikitext = "<math>secret</math> " + "\x7f0\x7f &#127;0&#127; &#x7F;0&#x7F;"
    assert text_of(wikitext) == "$secret$ 0 0 0"


def test_damaged_pages_render_without_raw_markup() -> None:
    generator = random.Random(7)
    # Not the files that show markup on purpose.
    names = ("article.txt", "tables.txt", "lists.txt", "links.txt", "astronomy.txt")
    source = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
    pieces = [
        "{{",
        "}}",
        "[[",
        "]]",
        "|",
        "{|",
        "|}",
        "<ref>",
        "</ref>",
        "\n|-\n",
        "'''",
        "==",
        "<!--",
    ]
    paragraphs, raw = 0, 0
    for _ in range(60):
        start = generator.randrange(len(source))
        text = source[start : start + 4_000]
        for _ in range(5):
            place = generator.randrange(len(text))
            text = text[:place] + generator.choice(pieces) + text[place + generator.randrange(20) :]
        for paragraph in text_of(text).split("\n\n"):
            paragraphs += 1
            raw += any(mark in paragraph for mark in ("{{", "[[", "<ref", "\x7f"))
    assert paragraphs > 1_000
    assert raw <= paragraphs // 100


def test_same_input_gives_same_output() -> None:
    assert render_article(ARTICLE, "T") == render_article(ARTICLE, "T")


def test_the_title_comes_first_even_alone() -> None:
    assert render_article("{{Infobox star}}", "X") == "# X\n"


def test_unknown_templates_are_counted() -> None:
    page = render_page("{{Newfangled|a}} b {{newfangled|c}}", "T")[1]
    assert page.unknown == {"newfangled": 2}


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (1, "mi", "km", 1.609344),
        (1, "AU", "km", 149597870.7),
        (1, "pc", "ly", 3.2615637769),
        (1, "ly", "AU", 63241.077),
        (0, "C", "F", 32),
        (300, "K", "C", 26.85),
        (-459.67, "F", "K", 0),
        (1, "atm", "psi", 14.6959488),
        (1, "acre", "m2", 4046.8564224),
        (1, "USgal", "L", 3.785411784),
        (1, "lb", "g", 453.59237),
        (100, "km/h", "mph", 62.137119),
        (1, "e6km", "km", 1e6),
        (1, "hp", "W", 745.69987),
        (1, "g/cm3", "kg/m3", 1000),
    ],
)
def test_conversion_factors(value: float, source: str, target: str, expected: float) -> None:
    first, second = find_unit(source), find_unit(target)
    assert first is not None
    assert second is not None
    assert first.kind == second.kind
    assert converted(value, first, second) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_every_default_output_is_a_unit_of_the_same_kind() -> None:
    for code, unit in UNITS.items():
        for target in unit.default.split():
            found = find_unit(target)
            assert found is not None, (code, target)
            assert found.kind == unit.kind, (code, target)


@pytest.mark.parametrize(
    ("text", "value", "precision"),
    [("1,200", 1200, -2), ("1.50", 1.5, 2), ("1.5e6", 1.5e6, -5), ("-7", -7, 0), ("3+1/2", 3.5, 0),
     ("1/4", 0.25, 0), ("0.0012", 0.0012, 4)],
)  # fmt: skip
def test_amounts(text: str, value: float, precision: int) -> None:
    amount = read_amount(text)
    assert amount is not None
    assert (amount.value, amount.precision) == (value, precision)


@pytest.mark.parametrize("text", ["", "x", "1/0", "1,2,3x", "--1", "1e9999", "9" * 100])
def test_what_is_no_amount(text: str) -> None:
    assert read_amount(text) is None


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [(1234.5, 0, "1,235"), (1234.5, -2, "1,200"), (2.5e12, -11, "2.5×10<sup>12</sup>"),
     (-0.5, 1, "−0.5"), (0.0000123, 6, "1.2×10<sup>−5</sup>")],
)  # fmt: skip
def test_rounded_numbers(value: float, decimals: int, expected: str) -> None:
    assert number_text(value, decimals) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("1+2*3", 7), ("2^10", 1024), ("(1+2)*3", 9), ("7 mod 4", 3), ("10/4 round 0", 3),
     ("1 < 2 and 3 > 2", 1), ("not 0", 1), ("-3+5", 2), ("1/0", None), ("1+", None),
     ("__import__", None), ("9^999", None), ("(-8)^(1/3)", None), ("(" * 400, None)],
)  # fmt: skip
def test_expressions(source: str, expected: float | None) -> None:
    assert evaluate(source) == expected


def test_halves_round_away_from_zero() -> None:
    assert [round_half_up(x, 0) for x in (0.5, 1.5, -0.5, 2.4999)] == [1, 2, -1, 2]
    assert round_half_up(2.675, 2) == 2.68


HOSTILE_ARGUMENTS = [
    "",
    "|",
    "|x",
    "|1|2|3|4|5|6|7|8",
    "|-1|km|mi",
    "|1e400|km",
    "|9999999999999999999999|99999999999999999|x=|1=",
    "|{{{a}}}|[[b]]|<ref>c</ref>|<math>d</math>",
    "|text=|content=|col1=*|e=x|u=|up=|disp=table|order=flip|abbr=on",
    "|2020|13|45|0|0|0",
    "|٣|²|½|Ⅷ",
    "|a\n* b\n|c\n{|\n| d\n|}",
    "|=|==|a=b=c|99999=x",
]


@pytest.mark.parametrize("arguments", HOSTILE_ARGUMENTS)
def test_every_template_takes_any_arguments(arguments: str) -> None:
    for name in sorted(REGISTRY):
        text = text_of(f"Before {{{{{name}{arguments}}}}} after.")
        assert "{{" not in text, name
        assert "\x7f" not in text, name
        assert "after." in text, name


def test_every_template_nests_as_deep_as_the_scanner_goes() -> None:
    for name in sorted(REGISTRY):
        for opening in (f"{{{{{name}|", f"{{{{{name}|1|", f"{{{{{name}|u="):
            assert "after" in text_of(opening * 50 + "x" + "}}" * 50 + " after"), name


N = 50_000
LONG_RUNS = {
    "behaviour switch": "__" + "A" * N,
    "address": "[http://" + "a" * N,
    "spaces in a link": "[[a" + " " * N + "b|]]",
    "spaces before a tag": "<b>" + " " * N + "x",
    "table attributes": "{| " + "a" * N + "\n|x\n|}",
    "attributes never quoted": "{| " + 'a="' * N + "\n|x",
    "digits in chem": "{{chem|H|" + "1" * N + "z}}",
    "digits in chem2": "{{chem2|" + "1" * N + "z}}",
    "digits in val": "{{val|" + "1" * N + "z}}",
    "digits in convert": "{{convert|" + "1" * N + "z|km}}",
    "digits of an entity": "&#" + "1" * N + ";",
    "backticks": "<pre>" + "`" * N + "</pre>",
    "commas": "(" + ", " * N + "x",
    "wide spans": "{|\n" + "|rowspan=200 colspan=200|a\n|-\n" * (N // 40) + "|}",
    "references in a reference": "<ref>" + "<ref" * N + "</ref>",
    "prefixes": "\n".join("*" * (i % 300) for i in range(1_000)),
    "far argument": "{{ubl|1000000=x}}",
}


@pytest.mark.parametrize("name", LONG_RUNS)
def test_long_runs_take_linear_time(name: str) -> None:
    started = time.process_time()
    text_of(LONG_RUNS[name])
    assert time.process_time() - started < 5
