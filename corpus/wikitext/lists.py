"""Lists: lines with ``*``, ``#``, ``;`` and ``:`` prefixes, nested and mixed, to Markdown."""

from __future__ import annotations

import re

MAX_LEVEL = 8

_ITEM = re.compile(r"- |: |\d+\. ")


class ListLines:
    """Collects the lines of one list.

    Bullets become ``-``, numbers count, a term stands alone and its definitions follow it as
    ``: definition``. A colon alone is an indent, which a language model has no use for: its line is
    a paragraph, or goes on with the item it stands under.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._counts: dict[str, int] = {}
        self._after_term = False

    @property
    def awaits_definition(self) -> bool:
        """Whether the last line is a term."""
        return self._after_term

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, prefix: str, text: str) -> None:
        """Adds a line; ``text`` is Markdown already."""
        if not text:
            return
        kind = prefix[-1]
        # Numbering of deeper levels starts anew under every item.
        self._counts = {key: count for key, count in self._counts.items() if prefix.startswith(key)}
        outer = sum(mark in "*#" for mark in prefix[:-1])
        indent = "  " * min(outer, MAX_LEVEL)
        if kind == "#":
            self._counts[prefix] = self._counts.get(prefix, 0) + 1
            self._put(f"{indent}{self._counts[prefix]}. {text}")
        elif kind == "*":
            self._put(f"{indent}- {text}")
        elif kind == ";":
            self._paragraph(indent, text)
            self._after_term = True
            return
        elif self._after_term or (self._lines and self._lines[-1].lstrip().startswith(": ")):
            self._put(f"{indent}: {text}")
        elif outer:
            self._put(f"{indent}{text}")
        else:
            self._paragraph(indent, text)
        self._after_term = False

    def _put(self, line: str) -> None:
        if self._lines and not self._after_term and not line.startswith(" "):
            # A paragraph between items ends their list.
            last = self._lines[-1]
            if last and not last.startswith(" ") and not _ITEM.match(last):
                self._lines.append("")
        self._lines.append(line)

    def _paragraph(self, indent: str, text: str) -> None:
        if self._lines:
            self._lines.append("")
        self._lines.append(f"{indent}{text}")

    def markdown(self) -> str:
        """Returns the list."""
        return "\n".join(self._lines)
