"""Options that commands share."""

from __future__ import annotations

from typing import Annotated

import typer

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


def example(*lines: str) -> str:
    """Returns the text below a command's ``--help``: its examples, one a line."""
    # Blank lines keep click from joining them.
    return "Example:\n\n" + "\n\n".join(f"    {line}" for line in lines)
