"""Comments of LaTeX taken out as TeX does."""

from __future__ import annotations

import re

_VERBATIM = re.compile(
    r"\\begin\s*\{(verbatim\*?|Verbatim|lstlisting|minted|alltt|comment|filecontents\*?)\}"
)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*")


def strip_comments(text: str) -> str:
    """Returns source without ``%`` comments; verbatim environments are left alone."""
    parts, position = [], 0
    while opening := _VERBATIM.search(text, position):
        line = text.rfind("\n", 0, opening.start()) + 1
        if _COMMENT.search(text, max(line, position), opening.start()):
            # The environment's own line is commented out.
            cut = text.find("\n", opening.start())
            cut = len(text) if cut < 0 else cut
            parts.append(_strip(text[position:cut]))
            position = cut
            continue
        parts.append(_strip(text[position : opening.start()]))
        closing = text.find(f"\\end{{{opening[1]}}}", opening.end())
        closing = len(text) if closing < 0 else closing
        if opening[1] != "comment":
            parts.append(text[opening.start() : closing])
        else:
            closing = min(len(text), closing + len("\\end{comment}"))
        position = closing
    parts.append(_strip(text[position:]))
    return "".join(parts)


def _strip(text: str) -> str:
    lines: list[str] = []
    # A comment also swallows its line end and the next line's indentation; an empty line after it
    # still ends the paragraph.
    joined = False
    for line in text.split("\n"):
        kept = _COMMENT.sub(r"\1", line) if "%" in line else line
        if joined and (kept.strip() or len(kept) != len(line)):
            lines[-1] += kept.lstrip()
        else:
            lines.append(kept)
        joined = len(kept) != len(line)
    return "\n".join(lines)
