"""Pandoc as a program: markup in, Markdown out, with nothing else within its reach.

It runs with ``--sandbox`` (no file or network access from any reader), in its own process group, an
empty environment, a heap limit and a time limit. One dialect is written everywhere: ATX headings,
unwrapped paragraphs, TeX between ``$``, pipe tables, and no raw HTML, attributes or divs.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from functools import lru_cache

import pypandoc

from core.rejects import Reason
from corpus.reading import Unreadable

_WRITER = (
    "markdown+tex_math_dollars+pipe_tables+footnotes"
    "-smart-raw_html-raw_tex-raw_attribute-native_divs-native_spans-fenced_divs-bracketed_spans"
    "-header_attributes-link_attributes-simple_tables-multiline_tables-grid_tables-superscript"
    "-subscript-definition_lists-fancy_lists-inline_code_attributes-fenced_code_attributes"
    "-implicit_figures-citations-auto_identifiers-table_attributes-table_captions-example_lists"
    "-escaped_line_breaks-line_blocks-yaml_metadata_block-pandoc_title_block"
)
_HEAP_BYTES = 1_500_000_000
_MAX_OUTPUT_BYTES = 200_000_000

TIMEOUT_SECONDS = 60.0
"""Pandoc reads a long paper in about a second; what takes this long does not end."""

READERS = {
    "latex": "latex",
    "html": "html-native_divs-native_spans-line_blocks",
}


@lru_cache(maxsize=1)
def _program() -> str:
    return str(pypandoc.get_pandoc_path())


def to_markdown(
    markup: str,
    reader: str,
    *,
    shift_headings: int = 0,
    reason: Reason = Reason.BAD_MARKUP,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> str:
    """Returns markup as Markdown.

    Args:
        markup: the document or a piece of one.
        reader: ``latex`` or ``html``.
        shift_headings: added to every heading's level.
        reason: of the failure.
        timeout_seconds: longest time it may take.

    Raises:
        Unreadable: pandoc refused it, or went over a limit.
    """
    options = ["--wrap=none", "--reference-location=block"]
    if shift_headings:
        options.append(f"--shift-heading-level-by={shift_headings}")
    text = _run(markup, READERS[reader], _WRITER, options, reason, timeout_seconds)
    return _tidy(text)


def to_plain(markup: str, reader: str, *, reason: Reason = Reason.BAD_MARKUP) -> str:
    """Returns markup as plain text without line wrapping; raises as :func:`to_markdown`."""
    text = _run(markup, READERS[reader], "plain", ["--wrap=none"], reason, TIMEOUT_SECONDS)
    return text.replace("\N{NO-BREAK SPACE}", " ").strip()


def _run(
    markup: str, reader: str, writer: str, options: list[str], reason: Reason, seconds: float
) -> str:
    command = [
        _program(),
        "+RTS",
        f"-M{_HEAP_BYTES}",
        "-RTS",
        "--sandbox",
        "--quiet",
        f"--from={reader}",
        f"--to={writer}",
        *options,
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Nothing of the caller's environment: no data folder of the user, no proxies.
        env={"PATH": "/nonexistent", "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(markup.encode("utf-8", "replace"), timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Unreadable(reason, f"pandoc took longer than {seconds:g} s") from None
    finally:
        _stop(process)
    if process.returncode != 0:
        raise Unreadable(reason, f"pandoc: {_first_line(err, process.returncode)}")
    if len(out) > _MAX_OUTPUT_BYTES:
        raise Unreadable(reason, f"pandoc wrote {len(out)} bytes")
    return out.decode("utf-8", "replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.communicate()


def _first_line(err: bytes, code: int) -> str:
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] if lines else f"exit status {code}"


_OPAQUE = re.compile(
    r"(?P<fence>^ *```[^\n]*\n(?:(?!^ *```).*\n)*? *```)"
    r"|(?P<display>\$\$[^$]{1,20000}\$\$)|(?P<math>(?<!\\)\$(?! )[^$\n]{1,4000}\$)"
    r"|(?P<code>`[^`\n]{1,2000}`)|(?P<indented>^ {4,}[^\n]*$)",
    re.MULTILINE,
)
# What the dialect escapes although it cannot be read as markup where it stands.
_OVER_ESCAPED = re.compile(r"\\([\[\]'\"~^|@…])|(?<=\s)\\(>)|\\([<>])(?=[\s\d=~])")
_BLANK_LINES = re.compile(r"\n{3,}")


def _tidy(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("&nbsp;\n", "\n")
    for space in "\u00a0\u2006\u2009\u200a\u202f\u2005\u2004":
        text = text.replace(space, " ")
    parts, position = [], 0
    for opaque in _OPAQUE.finditer(text):
        parts.append(_unescape(text[position : opaque.start()]))
        parts.append(opaque[0])
        position = opaque.end()
    parts.append(_unescape(text[position:]))
    lines = [line.rstrip() for line in "".join(parts).split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n") + "\n"


_PADDING = re.compile(r"(?<=\S) {2,}(?=\S)|(?<=[-:]) +(?=\|)")


def _unpadded(row: str) -> str:
    """Returns a table row without the blanks that align its columns."""
    if re.fullmatch(r"\s*[|:\-\s]+", row):
        return re.sub(r"-{4,}", "---", row)
    return _PADDING.sub(" ", row)


def _unescape(text: str) -> str:
    if "\\" not in text and "|" not in text:
        return text
    lines = [
        # A pipe inside a table row is a cell's end unless escaped.
        _unpadded(line)
        if line.lstrip().startswith("|")
        else _OVER_ESCAPED.sub(lambda m: m[1] or m[2] or m[3], line)
        for line in text.split("\n")
    ]
    return "\n".join(lines)
