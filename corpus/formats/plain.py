"""Plain text and Markdown files.

Text is re-flowed: hard line ends inside a paragraph become spaces, verse, tables and drawings stay
as they are. Chapters of a text book are found by their headings, past the table of contents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from core.front_matter import split_front_matter
from core.rejects import Reason
from corpus.formats.archive import read_bytes
from corpus.formats.encoding import decode
from corpus.formats.gutenberg import gutenberg_facts, is_gutenberg, strip_gutenberg
from corpus.reading import Part, Reading, Unreadable

__all__ = ["read_markdown", "read_text", "reflow", "strip_gutenberg"]


def read_markdown(path: Path, split: bool) -> Reading:
    """Reads a Markdown file, which may open with YAML front matter.

    Args:
        path: the file.
        split: a part for each first-level heading.

    Raises:
        Unreadable: it is no text, or empty.
    """
    text, encoding = decode(read_bytes(path), path.name)
    front, body = split_front_matter(text)
    if not body.strip():
        raise Unreadable(Reason.EMPTY_TEXT, path.name)
    day = front.get("created") or front.get("date")
    facts: dict[str, Any] = {
        "title": _value(front, "title"),
        "license": _value(front, "license"),
        "created": day.date()
        if isinstance(day, datetime)
        else day
        if isinstance(day, date)
        else None,
        "url": _value(front, "url"),
        "authors": _authors(front),
        "language": _value(front, "lang") or _value(front, "language"),
    }
    meta = {} if encoding == "utf-8" else {"encoding": encoding}
    return Reading(parts=_markdown_parts(body, split), meta=meta, **facts)


def _value(front: dict[str, Any], key: str) -> str | None:
    """Returns a plain value as text: a nested one is no title or licence."""
    value = front.get(key)
    try:
        return str(value) if isinstance(value, str | int | float) and value else None
    except ValueError:  # a number of thousands of digits
        return None


def _authors(front: dict[str, Any]) -> list[str]:
    value = front.get("authors") or front.get("author") or []
    if isinstance(value, str):
        return [value]
    names = []
    for item in value if isinstance(value, list) else []:
        name = item.get("name") if isinstance(item, dict) else item
        if isinstance(name, str) and name:
            names.append(name)
    return names


def _markdown_parts(body: str, split: bool) -> list[Part]:
    pieces = list(_sections(body)) if split else [body]
    if len(pieces) < 2:
        return [Part(None, body)]
    parts = []
    for piece in pieces:
        heading = re.match(r"#[ \t]+(.+)", piece)
        if piece.strip() and piece.strip() != (heading[0] if heading else ""):
            parts.append(Part(heading[1].strip(" #") if heading else None, piece.strip() + "\n"))
    return parts or [Part(None, body)]


def _sections(text: str) -> Iterator[str]:
    """Yields pieces that begin at first-level headings, outside code fences."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if mark and not fence:
            fence = mark[1][:3]
        elif mark and mark[1].startswith(fence):
            fence = ""
        if not fence and re.match(r"#[ \t]+\S", line) and lines:
            yield "\n".join(lines)
            lines = []
        lines.append(line)
    yield "\n".join(lines)


def read_text(path: Path, split: bool) -> Reading:
    """Reads a text file.

    Args:
        path: the file.
        split: a part for each chapter that has a heading.

    Raises:
        Unreadable: it is no text, or empty.
    """
    text, encoding = decode(read_bytes(path), path.name)
    meta: dict[str, Any] = {} if encoding == "utf-8" else {"encoding": encoding}
    facts: dict[str, str] = {}
    if is_gutenberg(text):
        facts = gutenberg_facts(text)
        text = strip_gutenberg(text)
        meta["publisher"] = "Project Gutenberg"
    if not text.strip():
        raise Unreadable(Reason.EMPTY_TEXT, path.name)
    parts, faults = _text_parts(text, path.name) if split else ([], [])
    if not parts:
        parts, faults = [Part(None, reflow(text))], []
    return Reading(
        parts=parts,
        title=facts.get("title"),
        authors=[facts["author"]] if "author" in facts else [],
        license="Public domain in the USA" if facts else None,
        language=facts.get("language"),
        meta=meta,
        faults=faults,
    )


_NOT_PROSE = re.compile(r"(?i)(?:table of )?contents\b|index\b")
_FRONT_CHARS = 2_000


def _text_parts(text: str, name: str) -> tuple[list[Part], list[Unreadable]]:
    parts: list[Part] = []
    faults: list[Unreadable] = []
    chapters = list(_chapters(text))
    for title, body in chapters if len(chapters) > 2 else []:
        if not body.strip():
            continue
        front = title is None and len(body) < _FRONT_CHARS
        if front or (title is not None and _NOT_PROSE.match(title)):
            faults.append(Unreadable(Reason.NOT_PROSE, f"{name}: {title or 'front matter'}", body))
        else:
            parts.append(Part(title, _chapter_text(title, body)))
    return parts, faults


def _chapter_text(title: str | None, body: str) -> str:
    text = reflow(body)
    return f"# {title}\n\n{text}" if title else text


_NUMBER = r"(?:[IVXLC]{1,8}|\d{1,3}|ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|THE \w{3,12})"
_CHAPTER = re.compile(
    r"^[ \t]*(?:CHAPTER|Chapter|LECTURE|Lecture|BOOK|LETTER|ESSAY|PART)[ \t]+"
    rf"{_NUMBER}\b[^\n]{{0,80}}$"
    r"|^[ \t]*(?:INTRODUCTION|PREFACE[^\n]{0,40}|FOREWORD|PROLOGUE|EPILOGUE|CONCLUSION|"
    r"APPENDIX[^\n]{0,40}|INDEX|GLOSSARY|CONTENTS|FOOTNOTES:?)\.?[ \t]*$",
    re.MULTILINE,
)
_MIN_CHAPTER_CHARS = 600


def _chapters(text: str) -> Iterator[tuple[str | None, str]]:
    """Yields (title, text); what stands before the first chapter has no title.

    A heading stands between empty lines and has a chapter's worth of text after it: the lines of a
    table of contents do not.
    """
    starts: list[tuple[int, int, str]] = []
    found = [m for m in _CHAPTER.finditer(text) if _alone(text, m.start(), m.end())]
    for number, match in enumerate(found):
        title, end = _whole_title(text, match)
        following = found[number + 1].start() if number + 1 < len(found) else len(text)
        if following - end >= _MIN_CHAPTER_CHARS:
            starts.append((match.start(), end, title))
    if not starts:
        return
    yield None, text[: starts[0][0]]
    for number, (_, end, title) in enumerate(starts):
        following = starts[number + 1][0] if number + 1 < len(starts) else len(text)
        yield title, text[end:following]


def _alone(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - 200) : start]
    return not before.strip() or re.search(r"\n[ \t]*\n[ \t]*\Z", before) is not None


_SUBTITLE = re.compile(r"\n(?:[ \t]*\n){0,2}([ \t]*[^\n]{1,100}(?:\n[^\n]{1,100})?)\n[ \t]*\n")


def _whole_title(text: str, match: re.Match[str]) -> tuple[str, int]:
    """Returns a heading with the title on the lines below it, and where the text begins."""
    title = " ".join(match[0].split())
    below = _SUBTITLE.match(text, match.end())
    if below is not None:
        line = " ".join(below[1].split())
        # Short words are lower case in titles.
        words = [w for w in re.findall(r"[A-Za-z]+", line) if len(w) > 3]
        titled = line.isupper() or (bool(words) and all(w[0].isupper() for w in words))
        if titled and len(line) < 120:
            return f"{title.rstrip('.')}. {line.strip('_ ').rstrip('.')}", below.end()
    return title, match.end()


def reflow(text: str) -> str:
    """Returns text whose hard-wrapped paragraphs are one line each."""
    text = text.expandtabs(4)
    blocks = re.split(r"\n(?:[ ]*\n)+", text.strip("\n"))
    width = _width(blocks)
    return "\n\n".join(_reflow_block(b, width) for b in blocks if b.strip()) + "\n"


def _width(blocks: list[str]) -> int:
    """Returns the length that full lines have here: the longest common one."""
    lengths = sorted(len(line) for b in blocks for line in b.split("\n")[:-1] if line.strip())
    return lengths[int(len(lengths) * 0.9)] if lengths else 0


_DIVIDED = re.compile(r"[a-z]-\Z")


def _reflow_block(block: str, width: int) -> str:
    lines = [line.rstrip() for line in block.split("\n")]
    if len(lines) == 1:
        return lines[0].strip() if width else lines[0]
    if _keeps_lines(lines, width):
        return "\n".join(lines)
    joined = [lines[0].strip()]
    for line in lines[1:]:
        line = line.strip()
        # A word divided at the line's end; a dash is two hyphens in old texts.
        divided = _DIVIDED.search(joined[-1][-2:]) and re.match(r"[a-z]", line)
        joined.append(line if divided else " " + line)
    return "".join(joined)


_TABLE_LIKE = re.compile(r"\S(?: {3,}|\t)\S|\.{4,}|[-=_+|]{4,}|^\s*\|")
_LIST_ITEM = re.compile(r"\s*(?:[-*•]|\(?\d{1,3}[.)]|\([a-z]\))\s")


def _keeps_lines(lines: list[str], width: int) -> bool:
    """Tells whether a block's line ends mean something: verse, tables, lists, drawings."""
    if sum(bool(_TABLE_LIKE.search(line)) for line in lines) * 3 >= len(lines):
        return True
    if sum(bool(_LIST_ITEM.match(line)) for line in lines) * 2 >= len(lines):
        return True
    letters = sum(c.isalpha() for line in lines for c in line)
    solid = sum(not c.isspace() for line in lines for c in line)
    if letters < solid * 0.5:
        return True
    # Paragraphs are full but for their last line. Verse is short, or indented and ragged.
    body = [len(line) for line in lines[:-1]]
    full = sum(length > width * 0.8 for length in body)
    return full * 2 < len(body)
