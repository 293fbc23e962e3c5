r"""Macros of a document: their definitions read, their uses expanded.

Pandoc knows ``\newcommand`` and simple ``\def``, and refuses a paper over anything else, so the
document reaches it with its macros already expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from corpus.formats.tex_stream import Stream

NO_VALUE = "\\NoValue"

_NAME = re.compile(r"\\(?:[A-Za-z]+\*?|[^A-Za-z])")
_PARAMETERS = re.compile(r"[^{}]*")
_LOOKUP = re.compile(
    r"\\ifnum\s*\\pdfstrcmp\s*\{#1\}\s*\{([^{}]*)\}\s*=\s*0\s*\\def\s*\\([A-Za-z]+)"
)
_FEW = 8


@dataclass
class Macro:
    r"""One macro.

    Args:
        body: replacement with ``#1`` to ``#9``.
        spec: one entry per parameter: ``m`` mandatory, ``o<default>`` optional, ``s`` star,
            ``d<text>`` delimited by a text.
        primitive: name of the command that this is another name of.
        lookup: for a table of ``\pdfstrcmp`` tests: value by argument.
    """

    body: str
    spec: list[str] = field(default_factory=list)
    primitive: str | None = None
    lookup: dict[str, str] | None = None


def command_name(stream: Stream) -> str:
    """Reads the name of a command being defined, in a group or not; without the backslash."""
    stream.skip_space()
    if stream.peek() == "{":
        return stream.argument().strip().lstrip("\\").strip()
    found = stream.match(_CSNAME)
    if found is not None:
        return stream.raw_until("\\endcsname").strip()
    token = stream.match(_NAME)
    return token[0][1:].rstrip("*") if token else ""


_CSNAME = re.compile(r"\\csname(?![A-Za-z])\s*")


def read_newcommand(stream: Stream) -> tuple[str, Macro]:
    r"""Reads what follows ``\newcommand``."""
    stream.star()
    name = command_name(stream)
    count, default = stream.option(), stream.option()
    body = stream.argument()
    return name, Macro(body, _spec(count, default), lookup=_lookup(body))


def _spec(count: str | None, default: str | None) -> list[str]:
    number = int(count) if count and count.strip().isdecimal() else 0
    spec = ["m"] * min(number, 9)
    if default is not None and spec:
        spec[0] = "o" + default
    return spec


def read_def(stream: Stream) -> tuple[str, Macro]:
    r"""Reads what follows ``\def``."""
    name = command_name(stream)
    found = stream.match(_PARAMETERS)
    text = found[0].rstrip("\n") if found else ""
    parts = re.split(r"#[1-9]", text)
    spec = ["d" + p if p.strip() else "m" for p in parts[1:]]
    # Text before the first parameter must be matched and is then gone.
    if parts[0].strip():
        spec.insert(0, "x" + parts[0].strip())
    body = stream.argument()
    return name, Macro(body, spec, lookup=_lookup(body))


def read_document_command(stream: Stream) -> tuple[str, Macro]:
    r"""Reads what follows ``\NewDocumentCommand``."""
    name = command_name(stream)
    kinds = Stream(stream.argument())
    spec: list[str] = []
    while (token := kinds.next()) is not None and len(spec) < 9:
        for kind in token:
            if kind in "mv+":
                spec += ["m"] * (kind != "+")
            elif kind == "o":
                spec.append("o" + NO_VALUE)
            elif kind == "O":
                spec.append("o" + kinds.argument())
            elif kind == "s":
                spec.append("s")
    return name, Macro(stream.argument(), spec)


def read_environment(stream: Stream) -> tuple[str, Macro, Macro]:
    r"""Reads what follows ``\newenvironment``."""
    stream.star()
    name = stream.argument().strip()
    count, default = stream.option(), stream.option()
    begin, end = stream.argument(), stream.argument()
    return name, Macro(begin, _spec(count, default)), Macro(end)


def read_let(stream: Stream) -> tuple[str, str]:
    r"""Reads what follows ``\let``: (new name, old name); the old one may be a character."""
    name = command_name(stream)
    stream.match(_EQUALS)
    if stream.peek() == "\\":
        return name, "\\" + command_name(stream)
    return name, stream.argument()


_EQUALS = re.compile(r"[ \t]*=?[ \t]?")


def arguments(stream: Stream, macro: Macro) -> list[str]:
    """Reads the arguments of one use of a macro."""
    values: list[str] = []
    for spec in macro.spec:
        kind, detail = spec[0], spec[1:]
        if kind == "m":
            values.append(stream.argument())
        elif kind == "o":
            option = stream.option()
            values.append(detail if option is None else option)
        elif kind == "s":
            values.append("\\BooleanTrue" if stream.star() else "\\BooleanFalse")
        elif kind == "d":
            values.append(stream.until(detail.strip() or detail))
        elif kind == "x":
            stream.skip_space()
            stream.match(re.compile(re.escape(detail)))
    return values


_HOLE = re.compile(r"##|#([1-9])")


def substitute(body: str, values: list[str]) -> str:
    """Returns the body with its parameters filled in."""
    if "#" not in body:
        return body

    def fill(match: re.Match[str]) -> str:
        if match[1] is None:
            return "#"
        number = int(match[1])
        return values[number - 1] if number <= len(values) else ""

    return _HOLE.sub(fill, body)


def _lookup(body: str) -> dict[str, str] | None:
    """Returns the table that a body of string tests holds, or None.

    Generated files of variables are one macro with hundreds of tests; going through them at each
    use would cost their size times their uses.
    """
    if body.count("\\pdfstrcmp") < _FEW:
        return None
    table: dict[str, str] = {}
    for match in _LOOKUP.finditer(body):
        rest = Stream(body[match.end() : match.end() + 20_000])
        table.setdefault(match[1], rest.argument())
    return table if len(table) >= _FEW else None
