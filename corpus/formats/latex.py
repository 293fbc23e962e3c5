"""LaTeX sources to Markdown: one paper, or a book with a part for each chapter."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from core.rejects import Reason
from corpus.formats import tex_floats, tex_front, tex_units
from corpus.formats.pandoc import to_markdown, to_plain
from corpus.formats.tex_blocks import ENVIRONMENTS
from corpus.formats.tex_cites import read_bbl, read_bib
from corpus.formats.tex_commands import HANDLERS, package_macros
from corpus.formats.tex_engine import Engine
from corpus.formats.tex_refs import resolve_references
from corpus.formats.tex_source import Flat, Tree, find_main, flatten, open_tree
from corpus.formats.tex_stream import Runaway, mangle_all_at, mangle_at
from corpus.reading import Part, Reading, Unreadable

_AUTHOR_YEAR_CLASSES = (
    "aastex",
    "emulateapj",
    "mnras",
    "mn2e",
    "aa",
    "ar-1col",
    "pasa",
    "openjournal",
)
_CLASS = re.compile(r"\\document(?:class|style)\s*(?:\[([^\]]*)\])?\s*\{([^}]*)\}")
_PACKAGES = re.compile(r"\\usepackage\s*(?:\[([^\]]*)\])?\s*\{([^}]*)\}")
_REGISTERED = (tex_floats, tex_front, tex_units)
"""Modules imported for the handlers that they register."""

_BIB = re.compile(r"\\(?:bibliography|addbibresource)\s*\{([^}]*)\}")
_MAX_PACKAGE_CHARS = 200_000
_MAX_UNKNOWN = 20


def read_latex(path: Path, split: bool) -> Reading:
    """Reads a LaTeX document.

    Args:
        path: ``.tex``, a folder with a document, or an archive of one (``.tar.gz``, ``.zip``, and
            arXiv's ``.gz`` of a tar archive or of one file).
        split: a part for each chapter, where there are chapters.

    Raises:
        Unreadable: there is no LaTeX document, or nothing is left of it.
    """
    tree, main = open_tree(path)
    others: list[str] = []
    if main is None:
        main, others = find_main(tree)
    flat = flatten(tree, main)
    engine = Engine(dict(HANDLERS), ENVIRONMENTS)
    body = _processed(engine, tree, main, flat)
    meta = _meta(engine, flat, main, others)
    faults = list(tree.faults)
    faults += [
        Unreadable(Reason.UNSAFE_ARCHIVE, f"input outside the document: {name}")
        for name in flat.refused
    ]
    title = _plain_fact(engine, "title")
    pieces = _chapters(body) if split else [body.replace(tex_front.CHAPTER_MARK, "")]
    parts = []
    for piece in pieces:
        text, unparsed = _markdown(piece)
        if unparsed:
            meta["pieces_without_markup"] = meta.get("pieces_without_markup", 0) + unparsed
        if text.strip():
            parts.append((text, _first_heading(text) if len(pieces) > 1 else None))
    if not parts:
        raise Unreadable(Reason.EMPTY_TEXT, f"{path.name}: no text", flat.text[:2000])
    if len(parts) == 1 and title:
        parts = [(f"# {title}\n\n{parts[0][0]}", None)]
    elif len(parts) == 1 and title is None:
        title = _first_heading(parts[0][0], level=1)
    return Reading(
        parts=[Part(name, text) for text, name in parts],
        title=title,
        authors=_authors(engine),
        meta=meta,
        faults=faults,
    )


def _processed(engine: Engine, tree: Tree, main: str, flat: Flat) -> str:
    text = flat.text
    folder = PurePosixPath(main).parent
    kind = _CLASS.search(text)
    engine.in_body = kind is None or "\\begin{document}" not in text
    packages = {
        name.strip(): options or ""
        for options, names in _PACKAGES.findall(text)
        for name in names.split(",")
    }
    engine.textual_cite = _cites_in_text(kind, packages)
    engine.new_first = "changes" in packages
    engine.citations = _citations(tree, main, text)
    for name in packages:
        found = tree.find(folder, name, (".sty",))
        source = _text_or_none(tree, found)
        if source is not None and len(source) < _MAX_PACKAGE_CHARS:
            package_macros(mangle_all_at(source), engine)
    body = _run(engine, mangle_at(text), main)
    if not body.strip() and not engine.in_body:
        raise Unreadable(Reason.BAD_LATEX, f"{main}: no document", text[:2000])
    return _tidy(resolve_references(body, engine.labels))


_MAX_BANNED = 4


def _run(engine: Engine, text: str, main: str) -> str:
    """Runs the engine; a macro that expands without end is left out, and it runs again."""
    macros = dict(engine.macros)
    start = {k: getattr(engine, k) for k in ("in_body", "textual_cite", "new_first", "citations")}
    for _ in range(_MAX_BANNED):
        try:
            return engine.run(text)
        except (Runaway, RecursionError) as error:
            names = set() if isinstance(error, RecursionError) else {str(n) for n in error.args}
            if names <= engine.banned:
                break
            banned = engine.banned | names
            fresh = Engine(dict(HANDLERS), ENVIRONMENTS)
            engine.__dict__.update(fresh.__dict__, **start, banned=banned)
            engine.macros = {k: v for k, v in macros.items() if k not in banned}
    raise Unreadable(Reason.BAD_LATEX, f"{main}: macros without end", text[:2000])


def _text_or_none(tree: Tree, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return tree.text(name)
    except Unreadable:
        return None


def _cites_in_text(kind: re.Match[str] | None, packages: dict[str, str]) -> bool:
    r"""Tells whether ``\cite`` prints "Smith et al. (2020)" rather than a parenthesis."""
    if kind is not None and kind[2].strip().lower().startswith(_AUTHOR_YEAR_CLASSES):
        return True
    return "natbib" in packages and "numbers" not in packages["natbib"]


def _citations(tree: Tree, main: str, text: str) -> dict[str, tuple[str, str]]:
    folder = PurePosixPath(main).parent
    found: dict[str, tuple[str, str]] = {}
    for names in _BIB.findall(text):
        for name in names.split(","):
            source = _text_or_none(tree, tree.find(folder, name.strip(), (".bib", "")))
            found |= read_bib(source) if source else {}
    for name in [
        main.rsplit(".", 1)[0] + ".bbl",
        *sorted(n for n in tree.files if n[-4:] == ".bbl"),
    ]:
        source = _text_or_none(tree, name if name in tree.files else None)
        if source:
            found |= read_bbl(source)
            break
    return found | read_bbl(text)


_BARE_MARKS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
# Brackets around a reference or an input that is not there.
_EMPTY = re.compile(r"[ \t]+\([ \t]*[;,]?[ \t]*\)(?=[\s.,;])")


def _tidy(text: str) -> str:
    text = _EMPTY.sub("", re.sub("\x05[^\x05\n]*\x05", "", text))
    text = _BARE_MARKS.sub(lambda m: m[0] if m[0] == tex_front.CHAPTER_MARK else "", text)
    return re.sub(r"\n[ \t]*\n\s*", "\n\n", text).strip()


def _chapters(body: str) -> list[str]:
    return [piece for piece in body.split(tex_front.CHAPTER_MARK) if piece.strip()]


_WHOLE_SECONDS = 60.0
_PIECE_SECONDS = 15.0
_ALL_SECONDS = 150.0


def _markdown(latex: str) -> tuple[str, int]:
    """Returns Markdown, and how many pieces pandoc refused, which keep their bare words."""
    pieces = _Pieces(time.monotonic() + _ALL_SECONDS)
    try:
        return pieces.convert(latex, _WHOLE_SECONDS), 0
    except Unreadable:
        text = pieces.halves(list(_blocks(latex)), whole=True)
        return text, pieces.refused


class _Pieces:
    """Conversion of a document that pandoc refuses as a whole.

    It is halved until what is refused is one block, within a time for all of it.
    """

    def __init__(self, deadline: float) -> None:
        self.refused = 0
        self._deadline = deadline
        self._notes = 0

    def convert(self, latex: str, seconds: float) -> str:
        """Returns Markdown whose footnotes are numbered on from the piece before."""
        text = to_markdown(latex, "latex", reason=Reason.BAD_LATEX, timeout_seconds=seconds)
        before, found = self._notes, [int(n) for n in _NOTE.findall(text)]
        self._notes += max(found, default=0)
        return _NOTE.sub(lambda m: f"[^{int(m[1]) + before}]", text) if before else text

    def halves(self, blocks: list[str], whole: bool = False) -> str:
        """Returns the blocks converted; ``whole``: all of them together were refused already."""
        left = self._deadline - time.monotonic()
        if not blocks:
            return ""
        if not whole and left > 0:
            try:
                return self.convert("\n\n".join(blocks), min(_PIECE_SECONDS, left))
            except Unreadable:
                pass
        if len(blocks) == 1 or left <= 0:
            self.refused += len(blocks)
            return "\n".join(bare_words(block) for block in blocks)
        middle = len(blocks) // 2
        return f"{self.halves(blocks[:middle])}\n{self.halves(blocks[middle:])}"


_NOTE = re.compile(r"\[\^(\d{1,6})\]")

_NESTING = re.compile(r"\\begin\{|\\end\{|\\.|[{}]|\n\n+", re.S)


def _blocks(latex: str) -> Iterator[str]:
    """Yields pieces that stand on their own: paragraphs, whole environments."""
    start = depth = braces = 0
    for match in _NESTING.finditer(latex):
        token = match[0]
        if token == "\\begin{":
            depth += 1
        elif token == "\\end{":
            depth = max(0, depth - 1)
        if token.endswith("{") and token != "\\{":
            braces += 1
        elif token == "}":
            braces = max(0, braces - 1)
        elif token.startswith("\n\n") and depth == 0 and braces == 0:
            if latex[start : match.start()].strip():
                yield latex[start : match.start()]
            start = match.end()
    if latex[start:].strip():
        yield latex[start:]


def bare_words(latex: str) -> str:
    """Returns LaTeX without command names and groups; formulas stay."""
    parts = re.split(r"(\$\$.*?\$\$|\$[^$\n]*\$)", latex, flags=re.S)
    for i in range(0, len(parts), 2):
        words = re.sub(r"\\(?:begin|end)\{[^}]*\}|\\[A-Za-z]+\*?", " ", parts[i])
        words = re.sub(r"\\([^A-Za-z])", r"\1", words)
        parts[i] = re.sub(r"[ \t]+", " ", words.replace("{", "").replace("}", ""))
    return "".join(parts).strip() + "\n"


def _first_heading(text: str, level: int = 6) -> str | None:
    match = re.match(rf"#{{1,{level}}} (.+)", text)
    return match[1].strip() if match else None


def _plain_fact(engine: Engine, name: str) -> str | None:
    values = [v for v in engine.facts.get(name, []) if v.strip()]
    if not values:
        return None
    latex = re.sub(r"\s+", " ", engine.expand(values[-1].replace("\\\\", " "), name="heading"))
    return _plain(resolve_references(latex, engine.labels)) or None


def _plain(latex: str) -> str:
    if not re.search(r"[\\${}~`'-]", latex):
        return latex.strip()
    try:
        # Formulas in a title stay formulas.
        text = to_markdown(latex, "latex", reason=Reason.BAD_LATEX)
    except Unreadable:
        text = bare_words(latex)
    return re.sub(r"\s+", " ", re.sub(r"[*]{1,2}|\\(?=[^A-Za-z])", "", text)).strip()


def _authors(engine: Engine) -> list[str]:
    names = tex_front.author_names(engine, engine.facts.get("author", []))[:3000]
    if not names:
        return []
    try:
        plain = to_plain("\n\n".join(names), "latex", reason=Reason.BAD_LATEX).split("\n\n")
    except Unreadable:
        plain = [bare_words(name) for name in names]
    return [" ".join(name.split()) for name in plain if name.strip()]


def _meta(engine: Engine, flat: Flat, main: str, others: list[str]) -> dict[str, Any]:
    meta: dict[str, Any] = {"main_file": main}
    if flat.missing:
        meta["missing_inputs"] = sorted(set(flat.missing))[:50]
    if others:
        meta["other_main_files"] = others[:20]
    if engine.unknown:
        # The most frequent first: what a rule could be written for.
        meta["unknown_commands"] = [name for name, _ in engine.unknown.most_common(_MAX_UNKNOWN)]
    if engine.banned:
        meta["macros_ignored"] = sorted(engine.banned)
    return meta
