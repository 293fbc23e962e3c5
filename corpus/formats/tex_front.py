"""Handlers of headings and of what a paper says of itself: title, authors, abstract, thanks."""

from __future__ import annotations

import re

from corpus.formats.tex_blocks import ENVIRONMENTS, one_line
from corpus.formats.tex_commands import HANDLERS, handles
from corpus.formats.tex_engine import Engine, Handler

CHAPTER_MARK = "\x01"
"""Stands before every chapter's heading."""

# One level down: the title or a chapter is the first level of a document here.
_LEVELS = {
    "part": "section",
    "chapter": "section",
    "section": "subsection",
    "subsection": "subsubsection",
    "subsubsection": "paragraph",
}
_ORDER = ["part", "chapter", "section", "subsection", "subsubsection"]


def _heading(name: str) -> Handler:
    def heading(engine: Engine) -> None:
        starred = engine.stream.star()
        engine.stream.option()
        title = one_line(engine.expand(engine.stream.argument(), name="heading"))
        title = title.replace("\\\\", " ")
        if not starred:
            _count(engine, name)
        if title:
            mark = CHAPTER_MARK if name == "chapter" else ""
            engine.emit(f"\n\n{mark}\\{_LEVELS[name]}{{{title}}}\n\n")

    return heading


def _count(engine: Engine, name: str) -> None:
    level = _ORDER.index(name)
    engine.counters[name] += 1
    for lower in _ORDER[level + 1 :]:
        engine.counters[lower] = 0
    if name == "chapter":
        for kind in ("figure", "table", "equation"):
            engine.counters[kind] = 0
    top = "chapter" if engine.counters["chapter"] else "section"
    numbers = [engine.counters[n] for n in _ORDER[_ORDER.index(top) : level + 1]]
    if not numbers:
        return
    first = str(numbers[0])
    if engine.appendix and 0 < numbers[0] <= 26:
        first = chr(ord("A") + numbers[0] - 1)
    kind = "appendix" if engine.appendix else "chapter" if name == "chapter" else "section"
    engine.current_label = (kind, ".".join([first, *map(str, numbers[1:])]))


for _name in _LEVELS:
    HANDLERS[_name] = _heading(_name)


@handles("paragraph", "subparagraph")
def _paragraph(engine: Engine) -> None:
    engine.stream.star()
    engine.stream.option()
    title = one_line(engine.expand(engine.stream.argument(), name="heading"))
    engine.emit(f"\n\n\\textbf{{{title}}} " if title else "\n\n")


@handles("appendix", "appendices")
def _appendix(engine: Engine) -> None:
    engine.appendix = True
    engine.counters["chapter" if engine.counters["chapter"] else "section"] = 0
    engine.emit("\n\n")


ENVIRONMENTS["appendix"] = ENVIRONMENTS["appendices"] = _appendix


def _fact(name: str) -> Handler:
    def keep(engine: Engine) -> None:
        engine.stream.star()
        engine.stream.option()
        engine.facts.setdefault(name, []).append(engine.stream.argument())

    return keep


for _name in ("title", "author", "date", "subtitle"):
    HANDLERS[_name] = _fact(_name)

_AA_PARTS = ("Context.", "Aims.", "Methods.", "Results.", "Conclusions.")


def _plain_section(title: str) -> Handler:
    def section(engine: Engine) -> None:
        engine.stream.option()
        engine.emit(f"\n\n\\subsection{{{title}}}\n\n")

    return section


for _name in ("abstract", "Abstract", "abstract*"):
    ENVIRONMENTS[_name] = _plain_section("Abstract")
for _name in ("acknowledgments", "acknowledgements", "acknowledgment", "acknowledgement", "ack"):
    ENVIRONMENTS[_name] = _plain_section("Acknowledgments")


@handles("abstract")
def _abstract(engine: Engine) -> None:
    parts: list[str] = []
    while len(parts) < 5:
        engine.stream.skip_space()
        if engine.stream.peek() != "{":
            break
        parts.append(engine.stream.argument())
    if len(parts) == 5:
        parts = [
            f"\\textit{{{label}}} {part.strip()}"
            for label, part in zip(_AA_PARTS, parts, strict=True)
            if part.strip()
        ]
    engine.emit("\n\n\\subsection{Abstract}\n\n")
    # MNRAS papers of old write \abstract without braces: the text simply follows.
    engine.stream.push("\n\n".join(parts) + "\n\n" if parts else "")


@handles("acknowledgments", "acknowledgements", "acknowledgment", "acknowledgement", "acks")
def _acknowledgments(engine: Engine) -> None:
    engine.stream.option()
    engine.stream.skip_space()
    text = engine.stream.argument() if engine.stream.peek() == "{" else ""
    engine.emit("\n\n\\subsection{Acknowledgments}\n\n")
    engine.stream.push(text and text + "\n\n")


def _named_paragraph(title: str) -> Handler:
    def paragraph(engine: Engine) -> None:
        engine.stream.star()
        engine.stream.option()
        text = engine.stream.argument().strip()
        if text:
            engine.emit(f"\n\n\\textbf{{{title}}} ")
            engine.stream.push(text + "\n\n")

    return paragraph


for _title, _names in {
    "Keywords:": "keywords subjectheadings kword keyword subject_ jelcodes",
    "Software:": "software",
    "Facilities:": "facilities facility",
    "Data availability:": "dataavailability",
}.items():
    for _name in _names.split():
        HANDLERS[_name] = _named_paragraph(_title)
for _name in ("keywords", "keyword", "IEEEkeywords"):
    ENVIRONMENTS[_name] = lambda engine: engine.emit("\n\n\\textbf{Keywords:} ")


def author_names(engine: Engine, raw: list[str]) -> list[str]:
    """Returns the LaTeX of each author's name, affiliations and marks left out."""
    names: dict[str, None] = {}
    for text in raw:
        text = re.sub(r"\$[^$]{0,200}\$", " ", text)
        text = re.sub(r"\\(?:and|newauthor|AND|And|\\)(?![A-Za-z])", ",", text)
        text = engine.expand(text, name="heading")
        text = re.sub(r"\$[^$]{0,200}\$|\\\\", " ", text)
        pieces = re.split(r",(?![^{]*\})|;|\band\b|\\&", text)
        for piece in pieces:
            name = one_line(piece).strip(" .*") if len(piece) < 500 else ""
            if _is_name(name):
                names[name] = None
    return list(names)


_AFFILIATION = re.compile(
    r"(?i)universit|institut|department|observator|laborator|college|center|centre|school|@|\d{3}|"
    r"email|collaboration of|street|avenue"
)


def _is_name(name: str) -> bool:
    letters = sum(c.isalpha() for c in name)
    return letters >= 3 and len(name) <= 120 and not _AFFILIATION.search(name)
