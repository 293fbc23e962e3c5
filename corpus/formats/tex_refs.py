"""Handlers of what points elsewhere: labels and references, citations, acronyms."""

from __future__ import annotations

import re

from corpus.formats.tex_cites import cite_text
from corpus.formats.tex_commands import HANDLERS, handles
from corpus.formats.tex_engine import Engine, Handler

_PREFIX = {
    "section": "Section", "figure": "Figure", "table": "Table", "equation": "Equation",
    "chapter": "Chapter", "appendix": "Appendix",
}  # fmt: skip


@handles("label")
def _label(engine: Engine) -> None:
    name = engine.stream.argument().strip()
    scope = engine.inside("figure", "table", "equation")
    if scope is not None and scope.name == "equation":
        scope.facts.setdefault("labels", []).append(name)
        engine.emit(f"\x05{name}\x05")
        return
    if scope is not None:
        scope.facts.setdefault("labels", []).append(name)
    engine.labels[name] = engine.current_label


def reference(kind: str, names: str) -> str:
    """Returns the mark that stands for a reference until all labels are known."""
    return f"\x02{kind}\x03{names}\x02"


def _ref_as(kind: str) -> Handler:
    def refer(engine: Engine) -> None:
        engine.stream.star()
        names = re.sub(r"\s+", " ", engine.stream.argument()).strip()
        engine.emit(reference(kind, names.replace("{", "").replace("}", "")))

    return refer


for _kind in ("ref", "pageref", "eqref", "autoref", "cref", "Cref", "nameref", "subref", "vref"):
    HANDLERS[_kind] = _ref_as(_kind)
HANDLERS["Ref"] = HANDLERS["ref"]

_MARK = re.compile(r"(?P<space>[ \t]*)\x02(?P<kind>\w+)\x03(?P<names>[^\x02]*)\x02")


def resolve_references(text: str, labels: dict[str, tuple[str, str]]) -> str:
    """Returns the text with numbers in place of references; one without a label is dropped."""

    def number(match: re.Match[str]) -> str:
        kind = match["kind"]
        found = [labels[n.strip()] for n in match["names"].split(",") if n.strip() in labels]
        found = [label for label in found if label[1]]
        if not found or kind == "pageref":
            return ""
        numbers = " and ".join(
            [", ".join(n for _, n in found[:-1]), found[-1][1]] if len(found) > 1 else [found[0][1]]
        )
        if kind == "eqref":
            numbers = f"({numbers})"
        elif kind in ("autoref", "cref", "Cref", "vref"):
            numbers = f"{_PREFIX.get(found[0][0], '')}{'s' * (len(found) > 1)} {numbers}"
        return match["space"] + numbers

    return _MARK.sub(number, text)


def _cite_as(command: str) -> Handler:
    def cite(engine: Engine) -> None:
        full = engine.stream.star()
        before = engine.stream.option()
        after = engine.stream.option()
        if after is None:
            before, after = None, before
        keys = engine.stream.argument()
        notes = [None if n is None else engine.expand(n).strip() for n in (before, after)]
        engine.emit(cite_text(command, keys, notes[0], notes[1], engine, full))

    return cite


CITES = [
    "cite",
    "citep",
    "citet",
    "citealt",
    "citealp",
    "citeauthor",
    "citeyear",
    "citeyearpar",
    "Citet",
    "Citep",
    "Citealt",
    "Citealp",
    "Citeauthor",
    "citenum",
    "citealias",
    "onlinecite",
    "parencite",
    "textcite",
    "autocite",
    "footcite",
    "Parencite",
    "Textcite",
    "Autocite",
    "citetalias",
    "citepalias",
    "citefullauthor",
    "supercite",
    "fullcite",
    "parencites",
    "shortcite",
    "citeN",
    "citeasnoun",
    "possessivecite",
    "citeyearNP",
]
for _command in CITES:
    HANDLERS[_command] = _cite_as(_command)


@handles("citetext")
def _citetext(engine: Engine) -> None:
    engine.stream.push(f"({engine.stream.argument()})")


@handles("defcitealias")
def _defcitealias(engine: Engine) -> None:
    key, text = engine.stream.argument().strip(), engine.stream.argument()
    engine.facts[f"alias {key}"] = [text]


def _acronym_as(command: str) -> Handler:
    def define(engine: Engine) -> None:
        stream = engine.stream
        if command in ("newacronym", "newabbreviation"):
            stream.option()
            label, short, long = (stream.argument() for _ in range(3))
        elif command == "DeclareAcronym":
            label, body = stream.argument(), stream.argument()
            keys = dict(re.findall(r"(\w+)\s*=\s*\{?([^{},]*)\}?", body))
            short, long = keys.get("short", label), keys.get("long", "")
        else:
            label = stream.argument()
            short = stream.option() or label
            long = stream.argument()
        engine.acronyms[label.strip()] = (short, long)

    return define


for _command in ("newacronym", "newabbreviation", "DeclareAcronym", "acrodef", "acro", "newacro"):
    HANDLERS[_command] = _acronym_as(_command)


def _acronym_use(form: str, plural: str) -> Handler:
    def use(engine: Engine) -> None:
        engine.stream.star()
        engine.stream.option()
        label = engine.stream.argument().strip()
        short, long = engine.acronyms.get(label, (label, ""))
        first = label not in engine.acronyms_seen and bool(long)
        if form in ("", "full"):
            engine.acronyms_seen.add(label)
        if form == "long" or (form == "" and first) or form == "full":
            text = (
                f"{long}{plural}"
                if form == "long" or not long
                else (f"{long}{plural} ({short}{plural})")
            )
        else:
            text = short + plural
        engine.stream.push(f"{{{text}}}")

    return use


for _names, _form, _plural in (
    ("ac gls Ac Gls", "", ""), ("acp glspl Acp Glspl acpl", "", "s"), ("acs acrshort", "short", ""),
    ("acsp acrshortpl", "short", "s"), ("acl acrlong", "long", ""), ("aclp acrlongpl", "long", "s"),
    ("acf acrfull", "full", ""), ("acfp acrfullpl", "full", "s"),
):  # fmt: skip
    for _name in _names.split():
        HANDLERS[_name] = _acronym_use(_form, _plural)
