"""Normalize: Unicode repaired with ftfy, invisible characters out, line ends and blanks uniform.

AstroMLab 4, section 2.1: "We applied ftfy for consistent Unicode text normalization". Code and TeX
keep their characters: there a quote, a ligature or a full-width sign may be meant; only what no
text file should hold is taken out (controls, escape codes, broken surrogates, foreign line ends).
Where a repair would change more of them, the prose on both sides is repaired apart; everywhere else
the text is what ``ftfy.fix_text`` makes of it.

Text that a repair changes keeps its page spans: each page is repaired on its own and the spans are
laid anew.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
from ftfy import fixes

from core.recipe.corpus import Normalize
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import with_text
from corpus.mojibake import fix_text
from corpus.protected import verbatim

_BLANK_LINES = re.compile(r"\n{3,}")
# A soft hyphen at a line's end is where a word was broken: the word goes on in the next line.
_BROKEN_WORD = re.compile("\u00ad[ \t]*\n[ \t]*(?=[a-zß-öø-ÿ])")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060]")
_FORM_FEED = re.compile("\n?\f\n?")


def normalize_text(text: str) -> str:
    """Returns the text repaired, without trailing spaces and with at most one blank line."""
    cleaned = _clean(text)
    if cleaned != text and any(mark in text for mark in "`~$\\"):
        parts, position = [], 0
        for start, end, _ in verbatim(text):
            block = text[start:end]
            if _clean(block) != block:
                parts += [_clean(text[position:start]), _readable(block)]
                position = end
        if parts:
            cleaned = "".join([*parts, _clean(text[position:])])
    return _uniform_lines(cleaned).strip()


def _clean(prose: str) -> str:
    """Returns prose repaired and without soft hyphens, zero-width spaces and form feeds."""
    prose = fix_text(prose)
    if not prose.isascii() and _INVISIBLE.search(prose):
        prose = _INVISIBLE.sub("", _BROKEN_WORD.sub("", prose))
    return _FORM_FEED.sub("\n", prose) if "\f" in prose else prose


def _readable(code: str) -> str:
    """Returns code or TeX without what no text file should hold."""
    code = fixes.fix_surrogates(fixes.fix_line_breaks(code))
    cleaned: str = fixes.remove_control_chars(fixes.remove_terminal_escapes(code))
    return cleaned


def _uniform_lines(text: str) -> str:
    """Returns the text without trailing spaces and runs of blank lines, but in fenced code."""
    if " \n" not in text and "\t\n" not in text and "\n\n\n" not in text:
        return text.rstrip(" \t")
    parts, position = [], 0
    if "```" in text or "~~~" in text:
        for block in verbatim(text):
            if block.kind == "code":
                parts += [_trim(text[position : block.start]), text[block.start : block.end]]
                position = block.end
    return "".join([*parts, _trim(text[position:])])


def _trim(text: str) -> str:
    # Line by line: a regular expression for trailing spaces takes quadratic time on long runs.
    lines = [line.rstrip(" \t") for line in text.split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines))


def normalize_pages(
    text: str, pages: list[dict[str, Any]] | None
) -> tuple[str, list[dict[str, Any]] | None]:
    """Normalizes a text page by page and lays its page spans anew.

    What stands between two pages stays: a paragraph that runs over a page's end is one paragraph.
    """
    if not pages:
        return normalize_text(text), pages
    parts: list[str] = []
    moved: list[dict[str, Any]] = []
    position = end = 0
    between = ""
    for page in pages:
        raw = text[page["start_char"] : page["end_char"]]
        part = normalize_text(raw)
        between += text[end : page["start_char"]] + raw[: len(raw) - len(raw.lstrip())]
        end = page["end_char"]
        if part:
            joint = _joint(between) if position else ""
            parts += [joint, part]
            position += len(joint)
            between = raw[len(raw.rstrip()) :]
        moved.append({**page, "start_char": position, "end_char": position + len(part)})
        position += len(part)
    return "".join(parts), moved


def _joint(between: str) -> str:
    """Returns what stands between two pages: a blank line, a line's end, a space or nothing."""
    if between.count("\n") > 1:
        return "\n\n"
    return "\n" if "\n" in between else " " if between else ""


class NormalizeStage(ShardStage):
    """Unicode repair."""

    name = "corpus.normalize"
    description = "Documents with Unicode repaired by ftfy."
    code_version = 2
    schema = DOCUMENT

    def __init__(self, normalize: Normalize, documents: str) -> None:
        self.inputs = self.aligned = (documents,)
        self._normalize = normalize

    def config(self) -> dict[str, Any]:
        """Returns the section ``corpus.normalize``."""
        return self._normalize.model_dump(mode="json")

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Repairs one shard."""
        (table,) = self.read(unit, ctx)
        kept, rejects, changed = normalize_documents(table, self._normalize.min_chars)
        return ShardResult(
            kept, rejects, rows_in=table.num_rows, metrics={"documents_changed": changed}
        )


def normalize_documents(table: pa.Table, min_chars: int) -> tuple[pa.Table, list[Reject], int]:
    """Returns the shard's documents repaired, those too short as rejects, and how many changed."""
    keep, texts, pages, changed = [], [], [], 0
    rejects: list[Reject] = []
    for number, row in enumerate(table.select(["doc_id", "text", "pages"]).to_pylist()):
        text, spans = normalize_pages(row["text"], row["pages"])
        if len(text) < min_chars:
            detail = f"{len(text)} characters, at least {min_chars}"
            rejects.append(Reject(row["doc_id"], Reason.EMPTY_TEXT, detail, text))
            continue
        changed += text != row["text"]
        keep.append(number)
        texts.append(text)
        pages.append(spans)
    return with_text(table, keep, texts, pages), rejects, changed
