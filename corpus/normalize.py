"""Normalize: Unicode repaired with ftfy, line endings and blank lines made uniform.

AstroMLab 4, section 2.1: "We applied ftfy for consistent Unicode text normalization". Text that a
repair changes keeps its page spans: each page is repaired on its own and the spans are laid anew.
"""

from __future__ import annotations

import re
from typing import Any

import ftfy
import pyarrow as pa

from core.recipe.corpus import Normalize
from core.rejects import Reason, Reject
from core.schema import DOCUMENT
from core.stage import ShardResult, ShardStage, StageContext, Unit
from corpus.documents import with_text

FTFY = ftfy.TextFixerConfig(
    # Markdown may show HTML entities inside code; unescaping would change what it says.
    unescape_html=False,
    # Escape codes of terminals are never part of a document.
    remove_terminal_escapes=True,
    # Mojibake: the repair this is here for.
    fix_encoding=True,
    restore_byte_a0=True,
    replace_lossy_sequences=True,
    decode_inconsistent_utf8=True,
    fix_c1_controls=True,
    # PDF fonts put ligatures into the text layer; a tokenizer should see the letters.
    fix_latin_ligatures=True,
    # Full-width Latin letters come from CJK fonts.
    fix_character_width=True,
    # One kind of quote, as in ftfy's default.
    uncurl_quotes=True,
    fix_line_breaks=True,
    fix_surrogates=True,
    remove_control_chars=True,
    # NFC composes accents; NFKC would flatten superscripts in units and formulas.
    normalization="NFC",
    max_decode_length=1_000_000,
    explain=False,
)

_BLANK_LINES = re.compile(r"\n{3,}")


def normalize_text(text: str) -> str:
    """Returns the text repaired, without trailing spaces and with at most one blank line."""
    # Line by line: a regular expression for trailing spaces takes quadratic time on long runs.
    lines = [line.rstrip(" \t") for line in ftfy.fix_text(text, FTFY).split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


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
