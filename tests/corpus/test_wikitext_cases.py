"""Wikitext snippets and the Markdown that MediaWiki's rendering of them means.

A file of ``wikitext_cases`` reads: ``%% name``, wikitext, ``%%%``, expected Markdown.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.wikitext import render_article

FOLDER = Path(__file__).parent / "wikitext_cases"


def read_cases() -> list[tuple[str, str, str]]:
    cases = []
    for path in sorted(FOLDER.glob("*.txt")):
        for part in path.read_text(encoding="utf-8").split("\n%% "):
            name, _, rest = part.removeprefix("%% ").partition("\n")
            wikitext, _, expected = rest.partition("\n%%%\n")
            cases.append((f"{path.stem}: {name}", wikitext, expected.strip("\n")))
    return cases


CASES = read_cases()


@pytest.mark.parametrize(("name", "wikitext", "expected"), CASES, ids=[case[0] for case in CASES])
def test_case(name: str, wikitext: str, expected: str) -> None:
    assert render_article(wikitext, "T").removeprefix("# T").strip() == expected


def test_every_case_is_read() -> None:
    assert len(CASES) >= 180
    assert all(expected for _, _, expected in CASES)
    assert len({name for name, _, _ in CASES}) == len(CASES)
