"""Handlers of commands that define, test, refer or structure; tables and floats are elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable

from corpus.formats import tex_macros
from corpus.formats.name_set import name_set
from corpus.formats.tex_engine import Engine, Handler
from corpus.formats.tex_macros import Macro
from corpus.formats.tex_stream import Stream

HANDLERS: dict[str, Handler] = {}

# Commands with a meaning here that a document must not redefine.
PROTECTED = name_set(
    """cite citep citet citealt citealp citeauthor citeyear citeyearpar Citet Citep section
    subsection subsubsection chapter paragraph caption label ref autoref cref Cref eqref
    footnote begin end title author abstract includegraphics input include ion documentclass
    usepackage item url href tablehead colhead startdata enddata tablecomments multicolumn
    hline bibitem bibliography newcommand renewcommand def let appendix emph textbf textit
    texttt ensuremath xspace maketitle thanks par frac sqrt left right mathrm mathbf textrm
    text mbox hbox fi else or alpha beta gamma lambda mu nu rho sigma tau phi omega odot sim
    pm times acknowledgments acknowledgements keywords altaffilmark altaffiltext affil email
    plotone facility facilities software nodata natexlab bibinfo bibfnamefont bibnamefont
    footnotetext thebibliography rm it bf sc tt em cal relax expandafter csname endcsname"""
) - {"text"}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Registers a handler of commands."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


_STACKED = re.compile(r"\\(?:hbox|lower|raise|buildrel|rlap|vcenter|ooalign|mathchar|substack)")


def _define(engine: Engine, name: str, macro: Macro) -> None:
    if not name or name in PROTECTED or name in engine.banned:
        return
    body = macro.body
    if (
        "\\sim" in body
        and not macro.spec
        and _STACKED.search(body)
        and ("<" in body) != (">" in body)
    ):
        # The sign for "less than about", built by hand out of boxes.
        if name in ("lesssim", "gtrsim"):
            return
        macro = Macro("\\ensuremath{\\lesssim}" if "<" in body else "\\ensuremath{\\gtrsim}")
    engine.macros[name] = macro


@handles("newcommand", "renewcommand", "DeclareRobustCommand", "providecommand", "newrobustcmd")
def _newcommand(engine: Engine) -> None:
    _define(engine, *tex_macros.read_newcommand(engine.stream))


@handles("def", "gdef", "edef", "xdef")
def _def(engine: Engine) -> None:
    _define(engine, *tex_macros.read_def(engine.stream))


@handles("NewDocumentCommand", "RenewDocumentCommand", "DeclareDocumentCommand")
def _document_command(engine: Engine) -> None:
    _define(engine, *tex_macros.read_document_command(engine.stream))


@handles("let")
def _let(engine: Engine) -> None:
    name, old = tex_macros.read_let(engine.stream)
    if not old.startswith("\\"):
        _define(engine, name, Macro(old))
    elif old[1:] in engine.macros:
        _define(engine, name, engine.macros[old[1:]])
    elif old[1:] and old[1:] != name:
        _define(engine, name, Macro("", primitive=old[1:]))


@handles("newenvironment", "renewenvironment")
def _newenvironment(engine: Engine) -> None:
    name, begin, end = tex_macros.read_environment(engine.stream)
    if name not in engine.environments:
        engine.user_environments[name] = (begin, end)


@handles("newtheorem")
def _newtheorem(engine: Engine) -> None:
    engine.stream.star()
    name = engine.stream.argument().strip()
    engine.stream.option()
    title = engine.stream.argument()
    engine.stream.option()
    if name not in engine.environments:
        begin = Macro(f"\n\n\\textbf{{{title}.}} ", ["o"])
        engine.user_environments[name] = (begin, Macro("\n\n"))


@handles("DeclareMathOperator")
def _operator(engine: Engine) -> None:
    engine.stream.star()
    name = tex_macros.command_name(engine.stream)
    _define(engine, name, Macro(f"\\operatorname{{{engine.stream.argument()}}}"))


@handles("DeclarePairedDelimiter")
def _paired(engine: Engine) -> None:
    name = tex_macros.command_name(engine.stream)
    left, right = engine.stream.argument(), engine.stream.argument()
    _define(engine, name, Macro(f"\\left{left} #2 \\right{right}", ["s", "m"]))


@handles("newif")
def _newif(engine: Engine) -> None:
    name = tex_macros.command_name(engine.stream)
    if name.startswith("if") and len(name) > 2:
        switch = name[2:]
        engine.switches[switch] = False
        for value in (True, False):
            engine.handlers[f"{switch}{str(value).lower()}"] = _setter(switch, value)


def _setter(switch: str, value: bool) -> Handler:
    def set_switch(engine: Engine) -> None:
        engine.switches[switch] = value
        engine.stream.skip_space()

    return set_switch


_NUMBER_TEST = re.compile(
    r"\s*(?:(-?\d+)|\\pdfstrcmp\s*\{([^{}]*)\}\s*\{([^{}]*)\})\s*([<=>])\s*(-?\d+)[ \t]?"
)
_TO_LINE_END = re.compile(r"[^\\\n]*")
_TWO = re.compile(r"\s*(\\[A-Za-z]+|\\.|[^\\\s])\s*(\\[A-Za-z]+|\\.|[^\\\s])[ \t]?", re.S)
_SKIPPED_AS = frozenset(["iff", "ifthenelse", "ifblank", "ifstrempty", "iftoggle", "ifZatZstar"])


@handles("if*")
def _if(engine: Engine) -> None:
    name = engine.facts.pop("if")[0]
    taken = _condition(engine, name)
    if taken or engine.stream.skip_branch(_SKIPPED_AS, stop_at_else=True) == "else":
        engine.conditionals += 1
    engine.stream.skip_space()


def _condition(engine: Engine, name: str) -> bool:
    stream = engine.stream
    if name == "ifmmode":
        return engine.math
    if name[2:] in engine.switches:
        return engine.switches[name[2:]]
    if name == "ifnum":
        test = stream.match(_NUMBER_TEST)
        if test is None:
            stream.match(_TO_LINE_END)
            return False
        left = int(test[1]) if test[1] else (test[2] > test[3]) - (test[2] < test[3])
        right = int(test[5])
        return {"<": left < right, "=": left == right, ">": left > right}[test[4]]
    if name in ("ifx", "if", "ifcat"):
        pair = stream.match(_TWO)
        return pair is not None and _same(engine, pair[1], pair[2])
    if name == "ifdefined":
        return tex_macros.command_name(stream) in engine.macros
    if name in ("ifdim", "ifcase", "ifodd"):
        stream.match(_TO_LINE_END)
        return False
    return name in ("iftrue", "ifpdf", "ifpdftex")


def _same(engine: Engine, left: str, right: str) -> bool:
    if left == right:
        return True
    first, second = engine.macros.get(left[1:]), engine.macros.get(right[1:])
    return first is not None and second is not None and first.body == second.body


@handles("else")
def _else(engine: Engine) -> None:
    if engine.conditionals:
        engine.conditionals -= 1
        engine.stream.skip_branch(_SKIPPED_AS, stop_at_else=False)


@handles("fi", "or")
def _fi(engine: Engine) -> None:
    engine.conditionals = max(0, engine.conditionals - 1)
    engine.stream.skip_space()


@handles("csname")
def _csname(engine: Engine) -> None:
    name = engine.stream.raw_until("\\endcsname").strip()
    if name in engine.macros:
        engine.command("\\" + name)


@handles("IfNoValueTF")
def _if_no_value(engine: Engine) -> None:
    value = engine.stream.argument()
    yes, no = engine.stream.argument(), engine.stream.argument()
    engine.stream.push(yes if value.strip() == tex_macros.NO_VALUE else no)


@handles("IfBooleanTF")
def _if_boolean(engine: Engine) -> None:
    value = engine.stream.argument()
    yes, no = engine.stream.argument(), engine.stream.argument()
    engine.stream.push(yes if "True" in value else no)


@handles("ifthenelse")
def _ifthenelse(engine: Engine) -> None:
    test, yes, no = (engine.stream.argument() for _ in range(3))
    equal = re.fullmatch(r"\s*\\equal\s*\{([^{}]*)\}\s*\{([^{}]*)\}\s*", test)
    engine.stream.push(yes if equal and equal[1] == equal[2] else no)


@handles("ZatZifnextchar", "kernelZatZifnextchar")
def _if_next_char(engine: Engine) -> None:
    wanted, yes, no = (engine.stream.argument() for _ in range(3))
    engine.stream.skip_space()
    wanted = {"\\bgroup": "{", "\\egroup": "}"}.get(wanted, wanted)
    found = bool(wanted) and engine.stream.peek(len(wanted)) == wanted
    engine.stream.push(yes if found else no)


def _font_as(command: str) -> Handler:
    def font(engine: Engine) -> None:
        if engine.math:
            engine.emit("\\" + command)
            return
        body = engine.stream.argument()
        if _SEVERAL.search(body):
            # Whole paragraphs in one font: pandoc takes only running text.
            engine.stream.push(body)
        else:
            engine.emit(f"\\{command}{{{engine.expand(body)}}}")

    return font


_SEVERAL = re.compile(r"\n[ \t]*\n|\\begin\b|\$\$|\\\[|\\par\b|\\(?:sub)*section\b")
for _name in ("textbf", "textit", "emph", "textsl", "texttt", "textsc"):
    HANDLERS[_name] = _font_as(_name)


@handles("ensuremath")
def _ensuremath(engine: Engine) -> None:
    body = engine.stream.argument()
    engine.stream.push(f"{{{body}}}" if engine.math else f"${body}$")


@handles("text", "mbox", "hbox", "textnormal", "textrm", "fbox")
def _text(engine: Engine) -> None:
    body = engine.expand(engine.stream.argument())
    engine.emit(f"\\text{{{body}}}" if engine.math else f"{{{body}}}")


@handles("verb", "lstinline")
def _verb(engine: Engine) -> None:
    engine.stream.star()
    engine.stream.option()
    delimiter = engine.stream.peek()
    if delimiter == "{":
        text = engine.stream.argument()
    elif delimiter:
        engine.stream.match(re.compile(re.escape(delimiter)))
        text = engine.stream.raw_until(delimiter)
    else:
        return
    engine.emit(f"\\texttt{{{literal(text[:2000])}}}")


_ESCAPES = {c: "\\" + c for c in "{}&#_%$"} | {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}


def literal(text: str) -> str:
    """Returns characters as LaTeX that prints them."""
    return "".join(_ESCAPES.get(c, c) for c in text)


@handles("url")
def _url(engine: Engine) -> None:
    engine.emit(f"\\url{{{_address(engine)}}}")


@handles("href")
def _href(engine: Engine) -> None:
    address = _address(engine)
    text = engine.expand(engine.stream.argument())
    engine.emit(f"\\href{{{address}}}{{{text}}}" if text.strip() else f"\\url{{{address}}}")


def _address(engine: Engine) -> str:
    engine.stream.option()
    address = engine.stream.argument().strip()
    macro = engine.macros.get(address[1:]) if address.startswith("\\") else None
    address = macro.body if macro is not None else address
    address = re.sub(r"\\([#%&_~$])", r"\1", address).replace("\\string", "")
    return re.sub(r"[{}\\\s]", "", address).replace("%", "\\%").replace("#", "\\#")


@handles("hyperref")
def _hyperref(engine: Engine) -> None:
    engine.stream.option()
    engine.stream.push(f"{{{engine.stream.argument()}}}")


_ROMAN = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]


@handles("ion", "ioni")
def _ion(engine: Engine) -> None:
    element = engine.expand(engine.stream.argument())
    stage = engine.expand(engine.stream.argument()).strip()
    stage = re.sub(r"\\(?:rm|sc|textsc|scriptsize|small)\b|[{}]", "", stage).strip()
    if stage.isdecimal() and 0 < int(stage) < 40:
        tens, ones = divmod(int(stage), 10)
        stage = "X" * tens + _ROMAN[ones]
    text = f"{element} {stage.upper()}"
    engine.emit(f"\\text{{{text}}}" if engine.math else text)


@handles("replaced")
def _replaced(engine: Engine) -> None:
    engine.stream.option()
    first, second = engine.stream.argument(), engine.stream.argument()
    engine.stream.push(first if engine.new_first else second)


_GLUE = re.compile(
    r"[ \t]*=?[ \t]*(?:-?[ \t]*\d*\.?\d*[ \t]*(?:true)?[ \t]*"
    r"(?:pt|in|cm|mm|em|ex|bp|pc|sp|fill?l?)\b"
    r"|-?\d*\.?\d*\\[A-Za-z]+|-?\d+)?(?:[ \t]*(?:plus|minus)[ \t]*-?\d*\.?\d*[ \t]*[a-z]{2,5})*"
)


@handles(
    "hskip", "vskip", "kern", "parindent", "parskip", "baselineskip", "textwidth", "textheight",
    "topmargin", "oddsidemargin", "evensidemargin", "hsize", "vsize", "raise", "lower", "hoffset",
    "voffset", "columnsep", "leftskip", "rightskip", "hangindent", "hangafter", "tabcolsep",
    "arraycolsep", "headheight", "headsep", "footskip", "linewidth", "columnwidth", "itemsep",
    "parsep", "topsep", "tolerance", "hbadness", "vbadness", "clubpenalty", "widowpenalty",
    "arraystretch", "mkern", "mskip", "movetableright", "movetableleft", "movetabledown",
    "penalty", "bibhang", "bibsep", "floatsep", "textfloatsep",
)  # fmt: skip
def _glue(engine: Engine) -> None:
    engine.stream.match(_GLUE)


def package_macros(text: str, engine: Engine) -> None:
    """Takes the simple definitions of a package that lies beside the document."""
    stream = Stream(text)
    while (token := stream.next()) is not None:
        if token in ("\\newcommand", "\\renewcommand", "\\providecommand"):
            name, macro = tex_macros.read_newcommand(stream)
        elif token == "\\def":
            name, macro = tex_macros.read_def(stream)
        else:
            continue
        if "ZatZ" not in name and "ZatZ" not in macro.body and name not in HANDLERS:
            _define(engine, name, macro)
