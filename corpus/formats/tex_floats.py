"""Handlers of floats and tables: figures leave their captions, tables become plain ones."""

from __future__ import annotations

from corpus.formats import tex_tables
from corpus.formats.name_set import name_set
from corpus.formats.tex_blocks import ARGUMENTS, CLOSES, ENVIRONMENTS, one_line, read_arguments
from corpus.formats.tex_commands import HANDLERS, handles
from corpus.formats.tex_engine import Engine, Handler, Scope

_FIGURES = name_set(
    """figure figure* wrapfigure marginfigure sidewaysfigure sidewaysfigure* SCfigure SCfigure*
    floatingfigure figurehere plate plate* wrapfloat"""
)
_TABLES = name_set(
    """table table* sidewaystable sidewaystable* wraptable margintable tablehere SCtable
    planotable*"""
)
# How the arguments of tabulars read.
_TABULARS = {
    "tabular": "om", "tabular*": "mom", "tabularx": "mom", "tabulary": "mom", "tabularew": "om",
    "supertabular": "om", "xtabular": "om", "tabu": "om", "NiceTabular": "om", "tblr": "om",
    "mpxtabular": "om", "array": "om",
}  # fmt: skip
# A float and its tabular in one.
_BOTH = name_set(
    """deluxetable deluxetable* longtable longtable* longdeluxetable splitdeluxetable
    splitdeluxetable* planotable mcotable longtabu"""
)


def _float(kind: str, name: str) -> Handler:
    def end(engine: Engine, scope: Scope) -> None:
        captions = "\n\n".join(scope.facts.get("captions", []))
        body = scope.text() if kind == "table" else ""
        notes = "\n\n".join(scope.facts.get("notes", []))
        engine.emit(f"\n\n{captions}\n\n{body}\n\n{notes}\n\n")

    def begin(engine: Engine) -> None:
        read_arguments(engine, ARGUMENTS.get(name, "o"))
        engine.open(kind, end, math=False)

    return begin


for _kind, _names in (("figure", _FIGURES), ("table", _TABLES)):
    for _name in _names:
        ENVIRONMENTS[_name] = _float(_kind, _name)
        CLOSES[_name] = (_kind,)


def _end_subfloat(engine: Engine, scope: Scope) -> None:
    outer = engine.inside("figure", "table")
    if outer is not None:
        outer.facts.setdefault("captions", []).extend(scope.facts.get("captions", []))
        if outer.name == "table":
            engine.emit(scope.text())


def _subfloat(engine: Engine) -> None:
    read_arguments(engine, "om")
    engine.open("subfloat", _end_subfloat)


for _name in ("subfigure", "subtable"):
    ENVIRONMENTS[_name] = _subfloat
    CLOSES[_name] = ("subfloat",)


def _caption_as(named: bool) -> Handler:
    def caption(engine: Engine) -> None:
        starred = engine.stream.star()
        kind = engine.stream.argument().strip() if named else ""
        engine.stream.option()
        source = engine.stream.argument()
        scope = engine.inside("figure", "table", "subfloat")
        kind = scope.name if scope is not None else kind or "figure"
        title = ""
        if kind in ("figure", "table") and not starred:
            first = scope is None or not scope.facts.get("captions")
            if first:
                engine.counters[kind] += 1
            number = f"{engine.counters[kind]}"
            if engine.counters["chapter"] and not engine.appendix:
                number = f"{engine.counters['chapter']}.{number}"
            engine.current_label = (kind, number)
            for label in scope.facts.get("labels", []) if scope is not None else []:
                engine.labels[label] = engine.current_label
            title = f"{kind.capitalize()} {number}: " if first else ""
        text = one_line(engine.expand(source, name="caption"))
        if not text:
            return
        if scope is not None:
            scope.facts.setdefault("captions", []).append(title + text)
        else:
            engine.emit(f"\n\n{title}{text}\n\n")

    return caption


HANDLERS["caption"] = _caption_as(named=False)
HANDLERS["captionof"] = _caption_as(named=True)


def _end_tabular(engine: Engine, scope: Scope) -> None:
    header, body = tex_tables.clean_rows(scope.text())
    if engine.inside("tabular", "caption") is not None:
        cells = [" ".join(c for c in row if c) for row in [*header, *body]]
        engine.emit(" ".join(cells))
        return
    # A tabular of images leaves nothing.
    if any(c for row in [*header, *body] for c in row):
        engine.emit(tex_tables.render(header, body))


def _tabular(name: str) -> Handler:
    def begin(engine: Engine) -> None:
        read_arguments(engine, _TABULARS[name])
        engine.open("tabular", _end_tabular, math=False)

    return begin


for _name in _TABULARS:
    ENVIRONMENTS[_name] = _tabular(_name)
    CLOSES[_name] = ("tabular",)


def _table_and_tabular(engine: Engine) -> None:
    _float("table", "deluxetable")(engine)
    engine.stream.argument()
    engine.open("tabular", _end_tabular, math=False)


for _name in _BOTH:
    ENVIRONMENTS[_name] = _table_and_tabular
    CLOSES[_name] = ("tabular", "table")


@handles("multicolumn")
def _multicolumn(engine: Engine) -> None:
    width = engine.expand(engine.stream.argument()).strip()
    engine.stream.argument()
    text = one_line(engine.expand(engine.stream.argument(), name="tabular"))
    engine.emit(f"\x07{width if width.isdecimal() else 1}\x07{text}")


@handles("tablehead")
def _tablehead(engine: Engine) -> None:
    head = engine.expand(engine.stream.argument(), name="tabular")
    engine.emit(f"{head} \\\\ {tex_tables.HEADER_END} ")


@handles("cutinhead", "sidehead", "cutinhead*")
def _cutinhead(engine: Engine) -> None:
    engine.emit(f"{engine.expand(engine.stream.argument(), name='tabular')} \\\\ ")


@handles("startdata", "enddata", "tablebreak")
def _data(engine: Engine) -> None:
    return


@handles("tablecomments", "tablerefs", "tablefoot", "tabnote")
def _tablecomments(engine: Engine) -> None:
    _note(engine, engine.stream.argument())


@handles("tablenotetext", "tablefoottext")
def _tablenotetext(engine: Engine) -> None:
    mark, text = engine.stream.argument(), engine.stream.argument()
    _note(engine, f"{mark}: {text}")


def _note(engine: Engine, source: str) -> None:
    text = one_line(engine.expand(source, name="caption"))
    scope = engine.inside("table")
    if scope is not None:
        scope.facts.setdefault("notes", []).append(text)
    else:
        engine.emit(f"\n\n{text}\n\n")


def _rule(name: str) -> Handler:
    def rule(engine: Engine) -> None:
        if engine.inside("tabular") is not None:
            engine.emit(f"\\{name} ")
        elif name in ("cline", "cmidrule", "noalign", "hhline"):
            engine.stream.argument()

    return rule


for _name in [
    "hline",
    "toprule",
    "midrule",
    "bottomrule",
    "tableline",
    "endhead",
    "endfirsthead",
    "endfoot",
    "endlastfoot",
    "cline",
    "cmidrule",
    "noalign",
    "addlinespace",
    "hhline",
    "specialrule",
    "firsthline",
    "lasthline",
]:
    HANDLERS[_name] = _rule(_name)
