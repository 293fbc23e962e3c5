from __future__ import annotations

import pytest

from core.language import is_language, known_languages, likely_language

GERMAN = "Jupiter ist der größte Planet im Sonnensystem und hat viele Monde."
PORTUGUESE = "A Lua é o único satélite natural da Terra e influencia as marés."
CHINESE = "木星是太阳系中最大的行星。它的质量是其他行星总和的两倍半。"


@pytest.mark.parametrize(
    "text",
    [
        "The planet has many moons, and most of them were found by spacecraft.",
        "The flux falls as $F \\propto r^{-2}$, so that \\textbf{distant} stars look faint.",
        "Here is what you asked for:\n```python\ndef f(x):\n    return x + 1\n```\nIt is short.",
        "The word for star is Stern in German, and stella in Latin and Italian.",
    ],
)
def test_english(text: str) -> None:
    assert is_language(text, "en") is True


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "de"),
        ("Qu'est-ce qu'une étoile à neutrons ? C'est le reste d'une supernova.", "fr"),
        ("¿Cuál es la masa del Sol? Es de unos dos quintillones de kilogramos.", "es"),
        ("Юпитер — крупнейшая планета Солнечной системы.", "ru"),
        ("木星は太陽系で最大の惑星です。", "ja"),
        (CHINESE, "zh"),
    ],
)
def test_other_languages(text: str, language: str) -> None:
    assert is_language(text, "en") is False
    assert is_language(text, language) is True
    assert likely_language(text)[0] == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "M31",
        "0.5",
        "Jupiter.",
        "$M_\\odot = 1.989\\times10^{30}$ kg",
        "google.com",
        "1.0000000\n P   1   1.00\n  0.0052857  1.0000000\n P   1   1.00\n  0.1  2.0",
        "```\nwhile (wahr) { drucke(); }\n```",
        "\ud83d",
    ],
)
def test_what_is_in_no_language_is_not_dropped(text: str) -> None:
    assert is_language(text, "en") is None


def test_near_relatives_are_not_ruled_out() -> None:
    assert likely_language(PORTUGUESE)[0] == "gl"
    assert is_language(PORTUGUESE, "pt") is None
    assert is_language(PORTUGUESE, "en") is False


def test_a_long_text_is_judged_by_its_start_middle_and_end() -> None:
    head = "The stars of this cluster are old and poor in metals. " * 5
    assert is_language(head + CHINESE * 2000, "en") is False
    assert is_language(head * 2000 + CHINESE, "en") is True


def test_a_language_that_is_not_known() -> None:
    assert {"en", "de", "zh"} <= known_languages()
    with pytest.raises(ValueError, match="unknown language 'xx'"):
        is_language("text", "xx")
