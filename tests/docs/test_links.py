"""Links between the documents lead somewhere: to a file, and to a heading in it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from ray_jobs.reference_recipe import slug
from tests.docs.markdown import ROOT, name_of, pages, prose

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r'<img[^>]*src="([^"]+)"')


def links(page: Path) -> list[str]:
    # What looks like a link in code is none.
    text = re.sub(r"`[^`]*`", lambda code: code[0].replace("](", ""), prose(page))
    found = [*_LINK.findall(text), *_IMAGE.findall(text)]
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives a page's headings; a second equal one gets ``-1``."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*)$", prose(page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor, number = slug(plain), 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / link).resolve() for link in links(index)}
    there = set((ROOT / "docs").rglob("*.md")) - {index}
    assert {p.name for p in there - listed} == set()
