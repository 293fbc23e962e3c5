"""Handlers of environments: lists, verbatim text, math, footnotes; floats are elsewhere."""

from __future__ import annotations

import re

from corpus.formats.tex_commands import handles, literal
from corpus.formats.tex_engine import Engine, Handler, Scope
from corpus.formats.tex_macros import arguments, substitute

ENVIRONMENTS: dict[str, Handler] = {}
CLOSES: dict[str, tuple[str, ...]] = {}
"""The scopes that the end of an environment closes, innermost first."""

_SKIPPED = """tikzpicture pspicture picture pgfpicture CCSXML filecontents filecontents*
thebibliography references comment asy rcode_ overpic axis forest chemfig feynman feynmandiagram
circuitikz animateinline titlingpage highlights CSLReferences contribution_"""
_VERBATIM = "verbatim verbatim* Verbatim lstlisting minted alltt BVerbatim codeblock"
_LISTS = {
    "itemize": "itemize", "enumerate": "enumerate", "description": "description",
    "compactitem": "itemize", "compactenum": "enumerate", "inparaenum": "enumerate",
    "asparaenum": "enumerate", "asparaitem": "itemize", "itemize*": "itemize",
    "enumerate*": "enumerate", "easylist": "itemize", "inparaitem": "itemize",
    "quote": "quote", "quotation": "quote", "verse": "quote", "displayquote": "quote",
    "trivlist": "itemize", "list": "itemize", "issues": "itemize", "summary": "itemize_",
}  # fmt: skip
_LISTS.pop("summary")
_MATH = {
    "equation": "", "displaymath": "", "align": "aligned", "eqnarray": "eqnarray",
    "gather": "gathered", "multline": "gathered", "flalign": "aligned", "alignat": "aligned",
    "dmath": "", "IEEEeqnarray": "eqnarray", "mathletters": "", "empheq": "", "xalignat": "aligned",
    "dgroup": "gathered", "falign": "aligned",
}  # fmt: skip
# How the arguments of environments read whose content is plain text.
ARGUMENTS = {
    "minipage": "ooom", "multicols": "mo", "multicols*": "mo", "adjustbox": "m",
    "adjustwidth": "mm",
    "spacing": "m", "textblock": "m", "textblock*": "m", "otherlanguage": "m", "CJK": "mm",
    "CJK*": "mm", "wrapfigure": "omom", "tcolorbox": "o", "mdframed": "o", "list": "mm",
    "threeparttable": "o", "tablenotes": "o", "sidewaystable": "o", "spacing*": "m",
    "floatrow": "o", "column": "m", "columns": "o", "turn": "m", "rotate": "m", "sideways": "",
    "changemargin": "mm", "textbox": "o", "armarginnote": "o", "marginnote": "o", "hangparas": "mm",
    "restatable": "om", "subfigure": "om", "subtable": "om", "wraptable": "omom", "scope": "o",
    "thebibliography": "m", "alignat": "m", "alignat*": "m", "IEEEeqnarray": "om", "xalignat": "m",
    "empheq": "om", "SCfigure": "oo", "floatingfigure": "om", "wrapfloat": "mom", "cases_": "",
}  # fmt: skip


def read_arguments(engine: Engine, spec: str) -> None:
    """Reads and forgets arguments: ``o`` optional ones, ``m`` mandatory ones."""
    for kind in spec:
        if kind == "o":
            engine.stream.option()
        else:
            engine.stream.argument()


def one_line(text: str) -> str:
    """Returns LaTeX without line ends, for where a paragraph cannot end."""
    return re.sub(r"\s+", " ", text).strip()


@handles("begin")
def _begin(engine: Engine) -> None:
    name = engine.stream.argument().strip()
    if name in engine.user_environments:
        macro = engine.user_environments[name][0]
        values = arguments(engine.stream, macro)
        engine.stream.push(substitute(macro.body, values))
    elif name in ENVIRONMENTS and not (engine.math and name == "array"):
        ENVIRONMENTS[name](engine)
    elif engine.math:
        engine.emit(f"\\begin{{{name}}}")
    else:
        if name in ARGUMENTS:
            read_arguments(engine, ARGUMENTS[name])
        else:
            engine.stream.option()
        engine.emit("\n\n")


@handles("end")
def _end(engine: Engine) -> None:
    name = engine.stream.argument().strip()
    if name in engine.user_environments:
        engine.stream.push(engine.user_environments[name][1].body)
    elif name == "document":
        engine.stopped = True
    elif name in CLOSES and not (engine.math and name == "array"):
        for scope in CLOSES[name]:
            engine.close(scope)
    elif name in _MATH or name.rstrip("*") in _MATH:
        engine.close("equation")
    elif name in _LISTS:
        engine.close(name)
    elif engine.math and name not in _MATH_WRAPPERS:
        engine.emit(f"\\end{{{name}}}")
    else:
        engine.emit("\n\n")


_MATH_WRAPPERS = frozenset(["linenomath", "linenomath*", "subequations"])


def _document(engine: Engine) -> None:
    engine.in_body = True
    engine.math = False
    engine.unknown.clear()
    for scope in engine.scopes:
        scope.out.clear()
        scope.depth = 0


ENVIRONMENTS["document"] = _document


def _raw(name: str, keep: bool) -> Handler:
    def skip(engine: Engine) -> None:
        text = engine.stream.raw_until(f"\\end{{{name}}}")
        if keep:
            text = re.sub(r"\A(?:[ \t]*\[[^\]\n]*\])?(?:\{[^}\n]*\})?[ \t]*\n", "", text)
            text = text.replace("\\end{verbatim}", "")
            engine.emit(f"\n\n\\begin{{verbatim}}\n{text.rstrip()}\n\\end{{verbatim}}\n\n")

    return skip


for _name in _SKIPPED.split():
    ENVIRONMENTS[_name] = _raw(_name, keep=False)
for _name in _VERBATIM.split():
    ENVIRONMENTS[_name] = _raw(_name, keep=True)


def _list(name: str) -> Handler:
    target = _LISTS[name]

    def end(engine: Engine, scope: Scope) -> None:
        text = scope.text().strip()
        if target != "quote" and "\\item" not in text:
            engine.emit(f"\n\n{text}\n\n")
        elif text:
            # What stands before the first item would end pandoc's reading.
            before, item, rest = text.partition("\\item") if target != "quote" else ("", "", text)
            engine.emit(f"\n\n{before}\n\n\\begin{{{target}}}\n{item}{rest}\n\\end{{{target}}}\n\n")

    def begin(engine: Engine) -> None:
        if name == "list":
            read_arguments(engine, "mm")
        else:
            engine.stream.option()
        engine.open(name, end)

    return begin


for _name in _LISTS:
    ENVIRONMENTS[_name] = _list(_name)


@handles("item")
def _item(engine: Engine) -> None:
    scope = engine.scope
    if scope.name in _LISTS and _LISTS[scope.name] != "quote":
        engine.stream.skip_space()
        label = engine.stream.option()
        if label is None:
            engine.emit("\n\\item ")
        elif _LISTS[scope.name] == "description":
            engine.emit(f"\n\\item[{{{engine.expand(label)}}}] ")
        else:
            engine.emit(f"\n\\item {engine.expand(label)} ")
    else:
        label = engine.stream.option()
        engine.emit("\n\n" + (f"{engine.expand(label)} " if label else ""))


def _end_equation(engine: Engine, scope: Scope) -> None:
    inner = scope.facts["inner"][0]
    numbered = scope.facts["numbered"][0] == "yes"
    text = _number_rows(engine, scope.text(), inner, numbered).strip()
    text = re.sub(r"\n\s*\n", "\n", text)
    if not text:
        return
    if inner == "eqnarray":
        text = re.sub(r"&\s*([^&\\]{1,20}|\\[A-Za-z]+\s*)\s*&", r"&\1 ", text)
        inner = "aligned"
    if inner and ("\\\\" in text or "&" in text):
        text = f"\\begin{{{inner}}}\n{text}\n\\end{{{inner}}}"
    if engine.inside("tabular", "caption", "heading", "note"):
        engine.emit(f" ${one_line(text)}$ ")
    else:
        engine.emit(f"\n\n$${text}$$\n\n")


def _number_rows(engine: Engine, text: str, inner: str, numbered: bool) -> str:
    """Counts a display's numbered rows, and gives its labels their numbers."""
    rows = re.split(r"(\\\\)", text) if inner in ("aligned", "eqnarray", "gathered") else [text]
    parts = []
    for row in rows:
        if numbered and row != "\\\\" and row.strip() and not _UNNUMBERED.search(row):
            engine.counters["equation"] += 1
        number = str(engine.counters["equation"])
        if engine.counters["chapter"]:
            number = f"{engine.counters['chapter']}.{number}"
        for label in _LABEL.findall(row):
            engine.labels[label] = ("equation", number)
        parts.append(_UNNUMBERED.sub("", _LABEL.sub("", row)))
    return "".join(parts)


_LABEL = re.compile("\x05([^\x05]*)\x05")
_UNNUMBERED = re.compile("\x08")


@handles("nonumber", "notag")
def _nonumber(engine: Engine) -> None:
    engine.emit("\x08" if engine.inside("equation") else "")


def _equation(name: str) -> Handler:
    def begin(engine: Engine) -> None:
        read_arguments(engine, ARGUMENTS.get(name, ""))
        if engine.math:
            # The start of an equation inside another: the outer one was not closed.
            engine.close("equation")
        engine.open("equation", _end_equation, math=True)
        base = name.rstrip("*")
        engine.scope.facts["inner"] = [_MATH[base]]
        numbered = not name.endswith("*") and name != "displaymath"
        engine.scope.facts["numbered"] = ["yes" if numbered else "no"]
        engine.scope.opened_math = True

    return begin


for _name in _MATH:
    ENVIRONMENTS[_name] = _equation(_name)
    ENVIRONMENTS[_name + "*"] = _equation(_name + "*")
for _name in _MATH_WRAPPERS:
    ENVIRONMENTS[_name] = lambda engine: None


@handles("[")
def _open_display(engine: Engine) -> None:
    ENVIRONMENTS["displaymath"](engine)


@handles("]")
def _close_display(engine: Engine) -> None:
    engine.close("equation")


@handles("(", ")")
def _inline(engine: Engine) -> None:
    engine.math = not engine.math
    engine.emit("$")


@handles("\\")
def _newline(engine: Engine) -> None:
    stream = engine.stream
    stream.star()
    if engine.math or engine.inside("tabular"):
        engine.emit("\\\\ ")
        return
    if stream.peek() == "[":
        stream.option()
    stream.skip_space()
    before = "".join(engine.scope.out[-3:]).rstrip()
    ends = before.endswith((".", "!", "?", ":", "$$")) and stream.peek()[:1].isupper()
    engine.emit("\n\n" if ends else " ")


@handles("tabularnewline")
def _tabularnewline(engine: Engine) -> None:
    engine.emit("\\\\ ")


@handles("marginnote", "marginpar", "sidenote")
def _margin(engine: Engine) -> None:
    engine.stream.option()
    body = engine.stream.argument()
    engine.stream.option()
    written = "".join(engine.scope.out[-3:])
    if engine.math or not written.strip() or written.rstrip(" \t").endswith("\n"):
        # Between paragraphs it is one of its own.
        engine.stream.push(f"\n\n{body}\n\n" if not engine.math else "")
    else:
        engine.stream.push(f"\\footnote{{{body}}}")


@handles("footnote", "endnote", "footnotetext", "tablefootnote")
def _footnote(engine: Engine) -> None:
    engine.stream.option()
    text = one_line(engine.expand(engine.stream.argument(), name="note"))
    if not text:
        return
    if engine.math or engine.inside("heading"):
        return
    if engine.inside("tabular", "caption", "note", "table"):
        engine.emit(f" ({text})")
    else:
        engine.emit(f"\\footnote{{{text}}}")


@handles("includeonly_", "verbatiminput", "lstinputlisting", "inputminted", "VerbatimInput")
def _outside(engine: Engine) -> None:
    # Files that would be typeset as they are: never read.
    engine.stream.star()
    engine.stream.option()
    name = engine.stream.argument()
    engine.facts.setdefault("not_read", []).append(literal(name)[:200])
