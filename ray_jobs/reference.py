"""Writes the reference pages of docs/: ``python -m ray_jobs.reference``.

The recipe's keys come from the models in :mod:`core.recipe`, the commands from what ``--help``
says, without colours and boxes, so that both read the same on every terminal. A test compares the
pages in the checkout with fresh ones.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from core.atomic import write_text
from ray_jobs.reference_recipe import recipe_reference, slug

_WIDTH = 96
_DEFAULT_FOLDER = Path("docs/reference")
_ALONE = re.compile(r"\s*Runs stage `[a-z_.]+` alone; the stages it reads must be up to date\.")

_INTRODUCTION = """# Command reference

<!-- Written by `python -m ray_jobs.reference` from what --help says: change the text there. -->

What `astromill COMMAND --help` says, for every command. `--debug`, anywhere, shows the trace of an
error. Exit codes: 0 done, 1 failed, 2 wrong use."""

_STAGES = """Each of these runs one stage alone; the stages it reads must be up to date. All take
a recipe and the options of `astromill {first} --help`:"""


def commands_reference() -> str:
    """Returns the Markdown page of every command."""
    from ray_jobs.cli import app

    root = get_command(app)
    parts = [_INTRODUCTION, *_group(root, ["astromill"], None)]
    return "\n\n".join(parts) + "\n"


def _group(group: Any, words: list[str], parent: Any) -> list[str]:
    """Returns the parts of a group: its list, its commands, its groups."""
    ctx = _context(group, words, parent)
    commands = {n: c for n, c in group.commands.items() if not c.hidden}
    groups = {n: c for n, c in commands.items() if hasattr(c, "commands")}
    stages = {n: c for n, c in commands.items() if _ALONE.search(c.help or "")}
    own = {n: c for n, c in commands.items() if n not in groups and n not in stages}
    name = " ".join(words)
    rows = ["| command | |", "|---|---|"]
    for short, command in {**own, **groups}.items():
        full = f"{name} {short}"
        rows.append(f"| [`{full}`](#{slug(full)}) | {_summary(command)} |")
    parts = [f"## `{name}`", _help(group, ctx).split("\nCommands:")[0].strip()]
    parts[1] = f"```text\n{parts[1]}\n```"
    if own or groups:
        parts.append("\n".join(rows))
    for short, command in own.items():
        parts += _one(command, [*words, short], ctx)
    if stages:
        parts += _stage_list(stages, words, ctx)
    for short, command in groups.items():
        parts += _group(command, [*words, short], ctx)
    return parts


def _one(command: Any, words: list[str], parent: Any) -> list[str]:
    text = _help(command, _context(command, words, parent))
    return [f"### `{' '.join(words)}`", f"```text\n{text}\n```"]


def _stage_list(stages: dict[str, Any], words: list[str], parent: Any) -> list[str]:
    """Returns the commands that only run a stage, which all have the same options."""
    name = " ".join(words)
    first = next(iter(stages))
    rows = ["| command | |", "|---|---|"]
    rows += [f"| `{name} {short}` | {_summary(command)} |" for short, command in stages.items()]
    text = _help(stages[first], _context(stages[first], [*words, first], parent))
    return [
        f"### `{name}`: single stages",
        _STAGES.format(first=f"{words[-1]} {first}"),
        "\n".join(rows),
        f"```text\n{text}\n```",
    ]


def _summary(command: Any) -> str:
    text = _ALONE.sub("", (command.help or "").split("\n\n")[0])
    return " ".join(text.split()).replace("|", "\\|")


def _context(command: Any, words: list[str], parent: Any) -> Any:
    from typer import Context

    return Context(
        command,
        info_name=words[-1],
        parent=parent,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
    )


def _help(command: Any, ctx: Any) -> str:
    # Without a markup mode typer leaves rich out: no colours, no boxes.
    command.rich_markup_mode = None
    lines = [line.rstrip() for line in command.get_help(ctx).strip().splitlines()]
    text = "\n".join(lines)
    # The examples stand on lines of their own, with a blank line between that the shell needs.
    before, example, after = text.partition("\n  Example:\n")
    if not example:
        return text
    shown = [f"    {line.strip()}" for line in after.splitlines() if line.strip()]
    return "\n".join([before.rstrip(), "", "Example:", *shown])


def pages() -> dict[str, str]:
    """Returns the reference's pages, by file name."""
    return {"recipe.md": recipe_reference(), "commands.md": commands_reference()}


def main() -> None:
    """Writes the pages."""
    parser = argparse.ArgumentParser(description="Write the reference pages of docs/.")
    parser.add_argument("--out", type=Path, default=_DEFAULT_FOLDER, help="folder to write to")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        write_text(folder / name, text)


if __name__ == "__main__":
    main()
