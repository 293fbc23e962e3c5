"""Read a recipe: YAML to a checked model, with errors that name file, line, key and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.errors import RecipeError
from core.recipe.model import Recipe
from core.recipe.sources import Source
from core.secrets import kind_of_secret
from core.storage.inputs import at_root, root_place
from core.storage.place import run_place, run_url
from core.storage.urls import is_url
from core.yaml_reader import YamlReader, read_yaml

Key = tuple[str | int, ...]

_KINDS = {
    kind
    for model in get_args(get_args(Source)[0])
    for kind in get_args(model.model_fields["kind"].annotation)
}
"""Of sources: pydantic names the kind between a source's number and its key."""

_MAX_VALUES = 1_000_000
"""More values are a mistake: aliases of aliases grow without end."""
_MAX_PLACE_CHARS = 1000
_CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe and where its relative paths start."""

    recipe: Recipe
    file: Path
    root: Path

    @property
    def run_dir(self) -> Path:
        """The run's folder, absolute; of a run at a URL its mirror on this node."""
        return run_place(self.root, at_root(self.root, self.recipe.run_dir))

    @property
    def remote(self) -> str | None:
        """The URL of the run, where it has one."""
        return run_url(at_root(self.root, self.recipe.run_dir))


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Reads and checks a recipe.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` texts; values are read as YAML. List items go by number.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or does not fit the schema.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot read the recipe: {error}",
            where=str(file),
            remedy="check the path; recipes/demo.yaml is a complete example",
        ) from error
    data, lines = _parse(text, file)
    for override in overrides:
        _apply(override, data)
    try:
        _refuse_secrets(data, (), file, lines, overrides)
    except RecursionError:
        raise RecipeError(
            "an alias stands inside of what it stands for",
            where=str(file),
            remedy="write out what *name stands for",
        ) from None
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise _explain(error, file, lines, overrides) from error
    _check_places(recipe, file)
    at_url = is_url(recipe.root)
    root = root_place(recipe.root) if at_url else (file.parent / recipe.root).resolve()
    loaded = LoadedRecipe(recipe, file, root)
    if loaded.run_dir.resolve() == _CHECKOUT:
        raise RecipeError(
            "the run's folder is astromill's own: stages would be written over its packages",
            where=f"{file}, key run_dir",
            remedy=f"name a folder of the run's own, such as runs/{recipe.name}",
        )
    return loaded


def _check_places(recipe: Recipe, file: Path) -> None:
    for key, value in (("root", recipe.root), ("run_dir", recipe.run_dir)):
        if not value.strip().isprintable() or len(value) > _MAX_PLACE_CHARS:
            raise RecipeError(
                f"{value[:80]!r} is no path: too long, or with characters that cannot be shown",
                where=f"{file}, key {key}",
                remedy="correct the value",
            )


def _refuse_secrets(
    value: Any, key: Key, file: Path, lines: dict[Key, int], overrides: Sequence[str]
) -> None:
    """Refuses a recipe that holds a secret: manifests, cards and jobs repeat what is in it."""
    if isinstance(value, dict):
        for name, part in value.items():
            _refuse_secrets(part, (*key, name), file, lines, overrides)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _refuse_secrets(part, (*key, number), file, lines, overrides)
    elif isinstance(value, str) and (kind := kind_of_secret(value)):
        place = f"{file}:{lines[key]}" if key in lines else str(file)
        place = "--set" if any(_sets(each, _dotted(key)) for each in overrides) else place
        raise RecipeError(
            f"the value holds {kind}; a recipe is copied into manifests and cards",
            where=f"{place}, key {_dotted(key)}",
            remedy="take it out, and put it into an environment variable: api_key_env names a "
            "server's; W&B, MLflow, the Hub and S3 have variables of their own",
        )


def _parse(text: str, file: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """Returns the data and, per key path, the line it stands on (1-based)."""
    lines: dict[Key, int] = {}
    try:
        loader = YamlReader(text)
        node = loader.get_single_node()
        _index(node, (), lines, file)
        data = loader.construct_document(node) if node else None
    except RecipeError:
        raise
    # PyYAML lets many kinds through: a 13th month is a ValueError, an unknown !!bool a KeyError.
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or f"{error} ".splitlines()[0].strip()
        raise RecipeError(
            f"this is not valid YAML: {problem}",
            where=f"{file}:{mark.line + 1}" if mark else str(file),
            remedy="check indentation, colons and quotes around that line",
        ) from error
    if not isinstance(data, dict):
        raise RecipeError(
            "a recipe is a mapping of keys to values",
            where=str(file),
            remedy="start from recipes/demo.yaml",
        )
    return data, lines


def _index(node: yaml.Node | None, key: Key, lines: dict[Key, int], file: Path) -> None:
    if len(lines) > _MAX_VALUES:
        raise RecipeError(
            f"the recipe has more than {_MAX_VALUES:,} values",
            where=str(file),
            remedy="look for an alias (*name) inside of what it stands for",
        )
    if isinstance(node, yaml.MappingNode):
        for name_node, value in node.value:
            child = (*key, str(name_node.value))
            if child in lines:
                raise RecipeError(
                    f"key '{_dotted(child)}' is given twice",
                    where=f"{file}:{name_node.start_mark.line + 1}",
                    remedy=f"keep one; the first stands on line {lines[child]}",
                )
            lines[child] = name_node.start_mark.line + 1
            _index(value, child, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*key, number)] = item.start_mark.line + 1
            _index(item, (*key, number), lines, file)


def _apply(override: str, data: dict[str, Any]) -> None:
    """Sets one ``key.path=value`` in the data, making mappings on the way."""
    name, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not name.strip():
        raise RecipeError(
            "an override has no value",
            where=where,
            remedy="write key.path=value, such as corpus.perplexity.drop_quantile=0.05",
        )
    try:
        value = read_yaml(text)
    except Exception as error:
        raise RecipeError(
            "the value is not valid YAML", where=where, remedy="quote it: key='\"text\"'"
        ) from error
    *parents, last = name.strip().split(".")
    target: Any = data
    for above, part in zip(["", *parents], parents, strict=False):
        target = _descend(target, part, above, where)
    if isinstance(target, list):
        target[_position(target, last, where)] = value
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise _no_place(parents[-1], where)


def _descend(target: Any, part: str, above: str, where: str) -> Any:
    if isinstance(target, list):
        return target[_position(target, part, where)]
    if isinstance(target, dict):
        if target.get(part) is None:
            target[part] = {}
        return target[part]
    raise _no_place(above, where)


def _position(items: list[Any], part: str, where: str) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise RecipeError(
            f"'{part}' is not a position in a list of {len(items)}",
            where=where,
            remedy="count from 0, such as corpus.sources.0.name=arxiv",
        )
    return int(part)


def _no_place(part: str, where: str) -> RecipeError:
    return RecipeError(
        f"'{part}' holds a plain value, not a section",
        where=where,
        remedy="see `astromill recipe show RECIPE` for the keys there are",
    )


def _explain(
    error: ValidationError, file: Path, lines: dict[Key, int], overrides: Sequence[str]
) -> RecipeError:
    """Turns pydantic's first complaint into what, where and remedy."""
    # A misspelt key is also a missing one: the unknown name tells more, so it comes first.
    details = sorted(error.errors(), key=lambda d: d["type"] != "extra_forbidden")
    first = details[0]
    key = _plain_key(first["loc"])
    line = next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), None)
    name = _dotted(key)
    # The last one counts, as it does in the data.
    hit = next((o for o in reversed(overrides) if _sets(o, name)), None)
    place = f"--set {hit}" if hit else f"{file}:{line}" if line else str(file)
    what, remedy = _what_and_remedy(first, key)
    if len(details) > 1:
        what += f" (and {len(details) - 1} more)"
    return RecipeError(what, where=f"{place}, key {name or '(top level)'}", remedy=remedy)


def _sets(override: str, name: str) -> bool:
    """Returns whether an override gives the value of a key, or of a section that it is in."""
    given = override.partition("=")[0].strip()
    return f"{name}.".startswith(f"{given}.")


def _plain_key(loc: tuple[str | int, ...]) -> Key:
    """Drops the discriminator tags that pydantic puts between a list item and its field."""
    plain: list[str | int] = []
    for part in loc:
        after_number = bool(plain) and isinstance(plain[-1], int)
        if after_number and part in _KINDS:
            continue
        plain.append(part)
    return tuple(plain)


def _what_and_remedy(detail: ErrorDetails, key: Key) -> tuple[str, str]:
    given = detail["input"]
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        names = _field_names(Recipe, key[:-1])
        near = difflib.get_close_matches(str(key[-1]), names, n=1, cutoff=0.5)
        known = f"valid here: {', '.join(sorted(names))}" if names else "remove it"
        return (
            f"unknown key '{key[-1]}'",
            f"did you mean '{near[0]}'? ({known})" if near else known,
        )
    if detail["type"] == "missing":
        return f"the key '{key[-1]}' is missing", f"add '{key[-1]}:' to this section"
    if detail["type"] == "value_error":
        return message, "change the values so that this holds"
    try:
        shown = f"'{given}'" if isinstance(given, str) else repr(given)
    except ValueError:  # a number of thousands of digits
        shown = "the value"
    return (
        f"{shown[:80]} does not fit: {message[:1].lower()}{message[1:]}",
        "correct the value; `astromill recipe schema` lists every key with its type",
    )


def _field_names(model: type[BaseModel], key: Key) -> list[str]:
    """Returns the field names valid at a key path, over all members of a union."""
    models: list[type[BaseModel]] = [model]
    for part in key:
        if isinstance(part, int):
            continue
        found: list[type[BaseModel]] = []
        for candidate in models:
            if part in candidate.model_fields:
                found += _models_in(candidate.model_fields[part].annotation)
        models = found
    return sorted({name for m in models for name in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models_in(part)]


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)
