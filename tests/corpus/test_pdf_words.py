"""Hyphens at line ends, odd glyphs, and how much of a page looks like text."""

from __future__ import annotations

import time

import pytest

from corpus.pdf.glyphs import clean, quality
from corpus.pdf.hyphens import join_cut_word, vocabulary


@pytest.mark.parametrize(
    ("head", "tail", "document", "joined"),
    [
        ("galax-", "ies", "", "galaxies"),
        ("well-", "known", "", "well-known"),
        ("X-", "ray", "", "X-ray"),
        ("Lyman-", "Werner", "", "Lyman-Werner"),
        ("SN-", "like", "", "SN-like"),
        ("10-", "20", "", "10-20"),
        ("non-", "linear", "it is nonlinear", "nonlinear"),
        ("non-", "linear", "it is non-linear", "non-linear"),
        ("object-", "oriented", "an object is oriented", "object-oriented"),
        ("over-", "view", "an overview", "overview"),
        ("poorly-", "resolved", "", "poorly-resolved"),
        ("analy-", "sing", "", "analysing"),
        ("pre-main-", "sequence", "the main-sequence", "pre-main-sequence"),
        ("naïve-", "té", "", "naïveté"),
        (" -", "ies", "", " -ies"),
        ("galax-", "(b)", "", "galax-(b)"),
    ],
)
def test_hyphens(head: str, tail: str, document: str, joined: str) -> None:
    assert join_cut_word(head, tail, vocabulary([document])) == joined


def test_pieces_of_cut_words_are_no_words() -> None:
    words = vocabulary(["the galax-", "ies are young and old", "gal\ufffe", "axies"])
    assert sorted(words) == ["and", "are", "old", "the", "young"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ("eﬃcient ﬁt ﬂux oﬀ", "efficient fit flux off"),
        ("P´erez and G¨ansicke", "Pérez and Gänsicke"),
        ("Universit`a", "Università"),
        ("Barth´el´emy and Curuc¸a", "Barthélémy and Curuça"),
        ("Ili ´ c, Basiˇ c, Ivezic´ 2015", "Ilić, Basič, Ivezić 2015"),
        ("Garc´ıa, s˜(f), Rˆ as of", "García, s˜(f), Rˆ as of"),
        ("a `quoted' word", "a `quoted' word"),
        ("mass 𝑀 and 𝛼", "mass M and α"),
        ("a\u00a0b\u2009c", "a b c"),
        ("no\x00thing\x7f", "nothing"),
        ("5 M\x0c now", "5 M⊙ now"),
        ("\x0crst e\x0bect", "first effect"),
        ("bracket \uf8f1\uf8f2 gone", "bracket  gone"),
        ("soft\u00adhyphen", "softhyphen"),
        ("سلام שלום 天文学", "سلام שלום 天文学"),
        ("~x and ^y", "~x and ^y"),
    ],
)
def test_glyphs(raw: str, text: str) -> None:
    assert clean(raw) == text


def test_quality() -> None:
    prose = "The gas falls in under its own weight and forms stars. " * 5
    assert quality(prose) == 1.0
    assert quality("") == quality(" \n") == 0.0
    assert quality("\ufffd" * 40 + prose) < quality(prose)
    assert quality("\ue001\ue002\ue003" * 50) == 0.0
    assert quality("(cid:12)(cid:8)" * 20) < 0.1
    assert quality("Thc ghst wcrr vxcd brdghts whrn strns " * 5) < 0.5
    assert quality("天文学 " * 20) == 1.0
    assert quality("NASA HST IRAF " * 20) > 0.6


def test_hostile_text_takes_linear_time() -> None:
    start = time.process_time()
    for unit in ("b", "aB", "(cid:", "-", "a-", "´", "\x0b", "¸c", " "):
        text = unit * (1_000_000 // len(unit))
        clean(text + "é")
        quality(text)
        vocabulary([text])
        join_cut_word(text + "-", text, {})
    assert time.process_time() - start < 20
