"""What commands share: their options, their examples, their JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

DEMO = "recipes/demo.yaml"
"""The recipe of most examples."""

RecipeFile = Annotated[str, typer.Argument(metavar="RECIPE", help="Recipe file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe value; may be repeated."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Shards in work at once; the output does not depend on it."),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster to use (auto, host:port); default: a local one, on loopback."),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def example(*lines: str) -> str:
    """Returns the text below a command's ``--help``: its examples, one a line."""
    # Blank lines keep click from joining them.
    return "Example:\n\n" + "\n\n".join(f"    {line}" for line in lines)


def print_json(value: Mapping[str, Any]) -> None:
    """Prints a result for programs: one JSON object, its keys on lines of their own."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
