"""What documents say their licence is, as the Hub names it, and what it asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable

OTHER = "other"
UNKNOWN = "unknown"
"""The Hub's name where nothing is stated."""

_CC_ADDRESS = re.compile(r"creativecommons\.org/licenses/(by(?:-nc)?(?:-sa|-nd)?)/(\d\.\d)", re.I)
_CC_NAME = re.compile(r"\bCC[ -](BY(?:[ -]NC)?(?:[ -](?:SA|ND))?)[ -](\d\.\d)", re.I)
_CC_ZERO = re.compile(r"creativecommons\.org/publicdomain/zero/|\bCC[ -]?0\b", re.I)
_ARXIV = re.compile(r"arxiv\.org/licenses/", re.I)

# Licences with a name of their own on the Hub that text comes under:
# https://huggingface.co/docs/hub/repositories-licenses
_ON_HUB = frozenset(
    {
        *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"),
        *("cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0"),
        *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"),
        *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
        *("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
        *("apache-2.0", "mit", "gfdl", "odc-by", "pddl", "unlicense"),
    }
)


def hub_licence(stated: str | None) -> str | None:
    """Returns the Hub's name of a licence: ``cc-by-4.0``, ``other``; None where none is stated.

    Args:
        stated: an address, a name, or a sentence that has one of these in it.
    """
    if not stated or not stated.strip():
        return None
    name = creative_commons(stated) or stated.strip().lower()
    return name if name in _ON_HUB else OTHER


def creative_commons(stated: str) -> str | None:
    """Returns the Creative Commons licence that a text names, such as ``cc-by-sa-2.5``."""
    if _CC_ZERO.search(stated):
        return "cc0-1.0"
    found = _CC_ADDRESS.search(stated) or _CC_NAME.search(stated)
    return f"cc-{found[1].lower().replace(' ', '-')}-{found[2]}" if found else None


def obligations(stated: Iterable[str | None]) -> list[str]:
    """Returns what a reader must know about the licences in a data set, a sentence or two each.

    Args:
        stated: the licences, as the documents state them.
    """
    texts = list(stated)
    names = [creative_commons(text) or "" for text in texts if text]
    found = []
    if any("-sa-" in name for name in names):
        found.append(
            "Part of the text is under Creative Commons Attribution-ShareAlike, as Wikipedia's "
            "articles are: name the authors (the column `url` and, for Wikipedia, `notice` in "
            "`meta` lead to them), and pass the text on under the same licence."
        )
    if any(name.startswith("cc-by") for name in names):
        found.append(
            "Creative Commons Attribution asks to name the authors, the source and the changes: "
            "`title`, `url` and `license` are kept with every document; the changes are the steps "
            "listed here."
        )
    if any("-nc" in name for name in names):
        found.append("Part of the text may not be used commercially (the -NC licences).")
    if any("-nd" in name for name in names):
        found.append(
            "Part of the text may not be passed on in changed form (the -ND licences), and "
            "cleaning changes it."
        )
    if any(text and _ARXIV.search(text) for text in texts):
        found.append(
            "Papers under arXiv's own licence may be distributed by arXiv; it gives nobody else "
            "the right to. Do not publish their text."
        )
    if any(not text or not text.strip() for text in texts):
        found.append(
            "Some documents state no licence: their text is their authors', and may not be "
            "published without asking them."
        )
    return found
