"""The YAML block that a Markdown file may open with."""

from __future__ import annotations

import re
from typing import Any

from core.yaml_reader import read_yaml

_BLOCK = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Returns (front matter, rest). A head that is not a YAML mapping stays in the text."""
    block = _BLOCK.match(text)
    if block is None:
        return {}, text
    try:
        front = read_yaml(block[1]) if block[1].strip() else {}
    except Exception:  # PyYAML lets many kinds through: a 13th month is a ValueError
        front = None
    return (front, text[block.end() :].lstrip("\n")) if isinstance(front, dict) else ({}, text)
