"""The fast path gives what ftfy gives, on everything."""

from __future__ import annotations

import itertools
import random
import re
import time
import unicodedata
from typing import Any

import ftfy
import pytest
from ftfy import badness, chardata

from corpus.mojibake import FOREIGN, FTFY, PAIR, REACH, fix_text

# Written after the kinds of cases in ftfy's own tests: mojibake of one and of two passes, in
# pieces, lossy, with lost non-breaking spaces, and text that only looks like it.
CASES = [
    "CafÃ© and â€œquotesâ€\x9d",
    "CafÃ© und Ã¼berall ist es so",
    "Ã la mode, voilÃ le travail, fÃ cil",
    "â€œlike thisâ€�, and l’humanitÃ©",
    "ÃƒÂ© twice, ÃƒÆ’Ã‚Â© three times",
    "Ñ‚ÐµÐºÑ\x81Ñ‚ Ð½Ð° Ñ€ÑƒÑ\x81Ñ\x81ÐºÐ¾Ð¼",
    "РџСЂРёРІРµС‚, РјРёСЂ",
    "ГўВЂВ™s, ГўВЂВњquotedГўВЂВќ",
    "â\x80\x9cquotesâ\x80\x9d, dots\x85 and \x93quotes\x94",
    "ＬＯＵＤ　ＮＯＩＳＥＳ and ﾊﾝｶｸ",
    "ﬂuﬃest ﬁeld ŉ Ǆ ĳ ﬅ",
    "\x1b[36;44mI'm blue\x1b[0m, \x1b alone",
    "\ud83d\ude00 and \udc80 \ud800",
    "a\r\nb\rc\u2028d\u2029e\x85f",
    "e\u0301 \u212b \u2126 \u1100\u1161 q\u0307\u0323 \u0344",
    "\u0301 first, then e",
    "± 5° × 3² – 10⁻³ m, 50 µm, ½ ≈ 0.5, §5 ¶2, ©®™, £5 €6 ¥7",
    "Œuvre, œ alone, Â à Ã b, Ångström, naïve, coöperate, garçon",
    "C’est « vrai », ¿qué?, „so“, ‚so‘, “so” ‘so’ ʼn",
    "αβγ ΑΒΓ άέ абв АБВ Ђ ѓ, 日本語, ไทย, العربية, עברית, 🎉👩‍👩‍👧",
    "│┌┐┘├ ║═ ▀▄█ ░▒▓ (ノಠ益ಠ)ノ彡┻━┻ ┬─┬ ಠ_ಠ",
    "\ufefftext\ufffc \x00\x07\x7f\u206a\ufff9",
    "¡ª¦ ¬ ¯ ´ ¸ ¨ ˆ ˜ † ‡ ‰ ◊ º ƒ ¤",
    "",
    "\n\n",
    "plain ASCII, a tab\there, a form feed\f",
]
ALPHABET = [
    *(char for name in badness.MOJIBAKE_CATEGORIES.values() for char in name),
    *map(chr, chardata.LIGATURES),
    *map(chr, list(chardata.WIDTH_MAP)[::7]),
    *map(chr, chardata.CONTROL_CHARS),
    *"\x80\x81\x85\x9d\x9f\r\u2028\u2029\ud83d\ude00\udc80\x1b\u0301\u0300\u0327\u00ad\u200b\u212b",
    *"ʼ‘’‚‛“”„‟œŒâÂÃàГўВЂΒΟ€日一ｱ　aeouzAEZ .,?!0[m",
    *["\n"] * 20,
    *["â€œ", "Ã©", "Ã ", "Â ", "\x1b[0m", "e\u0301", "ï¬\x81", "вЂ", "ā€", "ГўВЂВ.a", "\r\n"] * 3,
]


@pytest.mark.parametrize("text", CASES)
def test_fast_path_equals_ftfy(text: str) -> None:
    assert fix_text(text) == ftfy.fix_text(text, FTFY)
    lines = f"Clean line.\n{text}\nClean line, 5 ± 1 km.\n{text}"
    assert fix_text(lines) == ftfy.fix_text(lines, FTFY)


def test_fast_path_equals_ftfy_on_random_strings() -> None:
    rng = random.Random(5)
    for number in range(8_000):
        letters = ALPHABET if number % 2 else rng.sample(ALPHABET, 8)
        text = "".join(rng.choices(letters, k=rng.randrange(1, 30)))
        assert fix_text(text) == ftfy.fix_text(text, FTFY), ascii(text)


@pytest.mark.parametrize("codec", ["latin-1", "cp1252", "cp1251", "cp1250", "mac_roman", "cp437"])
def test_fast_path_equals_ftfy_on_text_decoded_wrongly(codec: str) -> None:
    for text in CASES:
        wrong = text.encode("utf-8", "surrogatepass").decode(codec, "replace")
        mixed = f"{text} {wrong}\n{wrong}"
        assert fix_text(mixed) == ftfy.fix_text(mixed, FTFY)


def test_lines_longer_than_ftfys_limit_are_cut_where_ftfy_cuts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = FTFY._replace(max_decode_length=7)
    monkeypatch.setattr("corpus.mojibake.FTFY", short)
    rng = random.Random(6)
    for _ in range(1_500):
        text = "".join(rng.choices(["e", "\u0301", "Ã©", "’", "â€", "œ", "\n", "ab ", "\r"], k=20))
        assert fix_text(text) == ftfy.fix_text(text, short), ascii(text)


def _branches(parsed: Any) -> list[Any]:
    """Returns the alternatives of a parsed expression."""
    ((operation, argument),) = list(parsed)
    assert str(operation) == "BRANCH"
    branches = argument[1]
    assert isinstance(branches, list)
    return branches


def _holds(element: Any, chars: set[str]) -> bool:
    """Tells whether an element of a parsed expression can only match one of the characters."""
    operation, argument = str(element[0]), element[1]
    if operation == "LITERAL":
        return chr(argument) in chars
    if operation != "IN":
        return False
    for kind, value in argument:
        if str(kind) not in ("LITERAL", "RANGE"):
            return False
        codes = [value] if str(kind) == "LITERAL" else range(value[0], value[1] + 1)
        if not {chr(code) for code in codes} <= chars:
            return False
    return True


def test_the_detector_never_fires_without_what_the_fast_path_looks_for() -> None:
    # On the parse tree of ftfy's own expression, so a new ftfy with another rule fails here.
    parsed = re._parser.parse(badness.BADNESS_RE.pattern, badness.BADNESS_RE.flags)  # type: ignore
    every = [chr(code) for code in range(0x80, 0x10000) if not 0xD800 <= code < 0xE000]
    pairing = {char for char in every if PAIR.fullmatch(char * 2)}
    alone = {char for char in every if PAIR.fullmatch(char)}
    foreign = {char for char in every if FOREIGN.fullmatch(char)}
    for branch in _branches(parsed):
        elements = list(branch)
        single = any(_holds(element, alone | foreign) for element in elements)
        double = any(
            _holds(first, pairing | foreign) and _holds(second, pairing | foreign)
            for first, second in itertools.pairwise(elements)
        )
        assert single or double, elements
        assert branch.getwidth()[1] < REACH


def test_clean_text_takes_little_time() -> None:
    line = "The halo of M31 spans 50 ± 5 kpc, at z ≈ 0.001, says Müller; α Centauri is nearer.\n"
    text = line * 5_000
    started = time.process_time()
    assert fix_text(text) == text
    ours = time.process_time() - started
    started = time.process_time()
    assert ftfy.fix_text(text, FTFY) == text
    assert time.process_time() - started > 2 * ours


def test_what_is_not_composed_is_composed_on_every_line() -> None:
    text = "plain\nA\u030a and ’\nnaïve e\u0301\n" * 3
    assert fix_text(text) == unicodedata.normalize("NFC", text).replace("’", "'")
