"""The recipe's reference, written from its pydantic models: every section, every key.

A section that stands in one place is headed by its key path (``corpus.tokens``); one that several
keys share (an engine, a training run) is told once, under its name, with the list of those keys.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.recipe import Recipe

Model = type[BaseModel]

_SIMPLE = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Any: "anything",
}
_LIMITS = {Ge: ("ge", "at least"), Gt: ("gt", "above"), Le: ("le", "at most"), Lt: ("lt", "below")}
_LENGTHS = {MinLen: ("min_length", "at least"), MaxLen: ("max_length", "at most")}
_LONG_DEFAULT_CHARS = 100


@dataclass
class _Place:
    """Where a section stands: the section above it, and its key there (``engines.<name>``)."""

    above: Model
    key: str


@dataclass
class _Sections:
    """All sections below the recipe, in the recipe's order, each with its places."""

    places: dict[Model, list[_Place]] = field(default_factory=dict)

    def add(self, model: Model, place: _Place | None) -> None:
        known = model in self.places
        self.places.setdefault(model, [])
        if place:
            self.places[model].append(place)
        if known:
            return
        for name, info in model.model_fields.items():
            for key, child in _children(name, info.annotation):
                self.add(child, _Place(model, key))

    def title(self, model: Model) -> str:
        """Returns the heading: the key path, or the shared section's own name in ``<>``."""
        places = self.places[model]
        if not places:
            return ""
        if len(places) > 1:
            return f"<{_words(model.__name__)}>"
        above = self.title(places[0].above)
        kind = _kinds(model)
        path = f"{above}.{places[0].key}" if above else places[0].key
        return f"{path} ({kind})" if kind else path

    def line(self, model: Model) -> list[Model]:
        """Returns the sections from the top level, or from the shared one, down to this one."""
        places = self.places[model]
        if len(places) != 1 or places[0].above is Recipe:
            return [model]
        return [*self.line(places[0].above), model]

    def key_paths(self, model: Model) -> list[str]:
        """Returns the key paths under which a shared section stands."""
        found = []
        for place in self.places[model]:
            above = self.title(place.above)
            found.append(f"{above}.{place.key}" if above else place.key)
        return found


def recipe_reference() -> str:
    """Returns the Markdown page of every recipe section and key."""
    sections = _Sections()
    sections.add(Recipe, None)
    pages = [_INTRODUCTION, _contents(sections), _section("Top level", Recipe, sections)]
    for model in sections.places:
        if model is not Recipe:
            pages.append(_section(f"`{sections.title(model)}`", model, sections))
    return "\n\n".join(pages) + "\n"


_INTRODUCTION = """# Recipe reference

<!-- Written by `python -m ray_jobs.reference` from core/recipe: change the text there. -->

Every key of a recipe. Unknown keys are errors that name the nearest valid one. `astromill recipe
check RECIPE` checks a recipe, `astromill recipe show RECIPE` fills in the defaults, and
`astromill recipe schema` prints the same as JSON Schema, for editors. On the command line
`--set corpus.tokens.sequence_length=4096` changes a value; items of lists go by number, from 0:
`--set corpus.sources.0.name=papers`. Sections in `<angle brackets>` stand in several places."""


def _contents(sections: _Sections) -> str:
    """Returns the list of sections: those of one place in the recipe's order, then the shared."""
    own: list[str] = []
    shared: dict[Model, list[str]] = {}
    for model in sections.places:
        if model is Recipe:
            continue
        title, line = sections.title(model), sections.line(model)
        if title.startswith("<"):
            indent = "  " * (len(line) - 1)
            shared.setdefault(line[0], []).append(f"{indent}- [`{title}`](#{slug(title)})")
        else:
            own.append(f"{'  ' * (len(line) - 1)}- [`{title}`](#{slug(title)})")
    return "\n".join([*own, "", "Shared:", "", *(row for rows in shared.values() for row in rows)])


def _section(title: str, model: Model, sections: _Sections) -> str:
    parts = [f"## {title}"]
    text = _markdown(inspect.getdoc(model) or "")
    if text:
        parts.append(text)
    paths = sections.key_paths(model)
    if len(paths) > 1:
        parts.append("At " + ", ".join(f"`{path}`" for path in paths) + ".")
    rows = ["| key | value | meaning |", "|---|---|---|"]
    for name, info in model.model_fields.items():
        rows.append(f"| `{name}` | {_value(info, sections)} | {_meaning(info)} |")
    parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _meaning(info: FieldInfo) -> str:
    if info.description:
        return _cell(info.description)
    models = [child for _, child in _children("", info.annotation)]
    text = inspect.getdoc(models[0]) if len(models) == 1 else None
    return _cell(text.split("\n\n")[0]) if text else ""


def _value(info: FieldInfo, sections: _Sections) -> str:
    """Returns type, limits and default."""
    text = _type(info.annotation, sections)
    limits = _limits(info.metadata)
    if limits:
        text += f", {limits}"
    if info.is_required():
        return f"{text}; **required**"
    default = info.get_default(call_default_factory=True)
    if default is not None and NoneType in get_args(info.annotation):
        text += ", or `null`"
    if isinstance(default, BaseModel) or default is PydanticUndefined:
        return text
    if default is None:
        return f"{text}; absent by default"
    shown = yaml.safe_dump(default, default_flow_style=True, width=10_000, allow_unicode=True)
    shown = shown.removesuffix("\n").removesuffix("\n...").strip()
    if len(shown) > _LONG_DEFAULT_CHARS:
        return f"{text}; the default is long: see `astromill recipe show`"
    return f"{text}; default `{_pipes(shown)}`"


def _type(annotation: Any, sections: _Sections) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = _limits(list(arguments[1:]))
        text = _type(arguments[0], sections)
        return f"{text} ({limits})" if limits else text
    if origin in (Union, UnionType):
        # "or null" says little: a key that may be absent shows so by its default.
        return " or ".join(_type(a, sections) for a in arguments if a is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (list, tuple):
        return f"list of {_type(arguments[0], sections)}"
    if origin is dict:
        return f"mapping of names to {_type(arguments[1], sections)}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        title = sections.title(annotation)
        return f"[section `{title}`](#{slug(title)})"
    return _SIMPLE.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _limits(metadata: list[Any]) -> str:
    found = []
    for item in metadata:
        if isinstance(item, FieldInfo):
            found.append(_limits(item.metadata))
        for kinds, unit in ((_LIMITS, ""), (_LENGTHS, " long")):
            for kind, (name, words) in kinds.items():
                if isinstance(item, kind):
                    found.append(f"{words} {_number(getattr(item, name))}{unit}")
        pattern = getattr(item, "pattern", None)
        if pattern is not None:
            found.append(f"like `{_pipes(str(pattern))}`")
        multiple = getattr(item, "multiple_of", None)
        if multiple is not None:
            found.append(f"a multiple of {_number(multiple)}")
    return ", ".join(text for text in found if text)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _children(key: str, annotation: Any) -> list[tuple[str, Model]]:
    """Returns the sections that an annotation holds, with the key that leads to them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(key, annotation)]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        key += "[]"
    if origin is dict:
        key, arguments = f"{key}.<name>", arguments[1:]
    if origin is Literal:
        return []
    return [child for argument in arguments for child in _children(key, argument)]


def _kinds(model: Model) -> str:
    """Returns what a required ``kind`` may be, which tells sections of one place apart."""
    info = model.model_fields.get("kind")
    values = get_args(info.annotation) if info and info.is_required() else ()
    return f"kind: {', '.join(values)}" if values else ""


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _markdown(text: str) -> str:
    """Turns a docstring into Markdown: ``x`` to `x`, references to names."""
    text = re.sub(r":[a-z]+:`~?([^`]*)`", r"`\1`", text)
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return _pipes(" ".join(_markdown(inspect.cleandoc(text)).split()))


def _pipes(text: str) -> str:
    return text.replace("|", "\\|")


def slug(heading: str) -> str:
    """Returns the anchor that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")
