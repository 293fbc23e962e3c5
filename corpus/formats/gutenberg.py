"""Project Gutenberg's header, footer and licence, found by the lines that fence the book off."""

from __future__ import annotations

import re

_START = re.compile(
    r"^[ \t]*\*{3}[ \t]*START OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^\n]*(?:\n[^\n*]+)?"
    r"\*{3}[ \t]*$"
    r"|^[ \t]*\*?END\*? ?THE SMALL PRINT![^\n]*\*END\*[ \t]*$"
    r"|^[ \t]*\*END THE SMALL PRINT! FOR PUBLIC DOMAIN E(?:BOOK|TEXT)S\*[^\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_END = re.compile(
    r"^[ \t]*\*{3}[ \t]*END OF (?:THE|THIS) PROJECT GUTENBERG EBOOK[^\n]*$"
    r"|^[ \t]*End of (?:the |this )?Project Gutenberg(?:'s|’s)?[^\n]{0,200}$",
    re.IGNORECASE | re.MULTILINE,
)
_CREDITS = re.compile(
    r"\A\s*(?:(?:Produced by|E-?text prepared by|Transcribed from|This eBook was produced by)"
    r"(?:[^\n]+\n)+|(?:Note: )?Project Gutenberg also has[^\n]*\n(?:[^\n]+\n)*"
    r"|\[?Transcriber'?s? Note[^\n]*\n(?:[^\n]+\n)*)\s*",
    re.IGNORECASE,
)
_FIELD = re.compile(r"^(Title|Author|Release Date|Language|Translator|Editor):[ \t]*(.+)$", re.M)


def is_gutenberg(text: str) -> bool:
    """Tells whether a text carries the fences."""
    return _START.search(text[:200_000]) is not None


def strip_gutenberg(text: str) -> str:
    """Returns the text between the fences; a text without them as it is."""
    start = _START.search(text[:200_000])
    if start is not None:
        text = text[start.end() :]
        while (credits_ := _CREDITS.match(text)) is not None and credits_.end() > 0:
            text = text[credits_.end() :]
    tail = max(0, len(text) - 60_000)
    # The first of the last lines: an end line of its own may stand before the fence.
    end = _END.search(text, tail)
    if end is not None:
        text = text[: end.start()]
    return text


def gutenberg_facts(text: str) -> dict[str, str]:
    """Returns title, author and so on from the header, by lower-case name."""
    head = text[:20_000]
    start = _START.search(head)
    head = head[: start.start()] if start else head[:5_000]
    return {name.lower(): value.strip() for name, value in _FIELD.findall(head)}
