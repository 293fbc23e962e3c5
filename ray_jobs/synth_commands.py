"""The command ``astromill synth show``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from core.errors import UsageError
from core.lineage import open_stage
from ray_jobs.options import example
from ray_jobs.show_conversation import (
    Shown,
    conversation_named,
    conversation_number,
    conversations_of,
    is_conversations,
)

_DEFAULT_STAGE = "synth.sft_tokens"
_MARKS = ("⟦", "⟧")
_CONTROL = re.compile(r"<\|\w+\|>")
_HEADER = re.compile(r"(?<=<\|start_header_id\|>)\w+(?=<\|end_header_id\|>)")
_IDS_SHOWN = 5


def add_synth_commands(app: typer.Typer) -> None:
    """Adds the command to the group ``synth``."""
    app.command(
        "show",
        epilog=example(
            "astromill synth show runs/demo 3",
            "astromill synth show runs/demo/synth/instruct 0",
            "astromill synth show runs/demo --sequence 2 --stage synth.instruct_tokens",
        ),
    )(_show)


def _show(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A run, or a stage of conversations or of their tokens."
        ),
    ],
    number: Annotated[
        int | None, typer.Argument(metavar="N", help="Number of the conversation, from 0.")
    ] = None,
    conv_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The conversation of this id instead.")
    ] = None,
    sequence: Annotated[
        int | None,
        typer.Option(metavar="K", help="All conversations of a packed sequence instead, from 0."),
    ] = None,
    stage: Annotated[str, typer.Option(help="For a run: the stage to show.")] = _DEFAULT_STAGE,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The tokenizer; default: the run's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Print a conversation as it is trained; what a model learns to say is coloured."""
    if sum(given is not None for given in (number, conv_id, sequence)) != 1:
        raise UsageError(
            "one of N, --conv-id and --sequence is needed",
            where="command line",
            remedy="astromill synth show FOLDER N",
        )
    console = Console(soft_wrap=True, highlight=False)
    for count, shown in enumerate(_wanted(folder, stage, number, conv_id, sequence, tokenizer)):
        if as_json:
            sys.stdout.write(json.dumps(asdict(shown), ensure_ascii=False) + "\n")
            continue
        if count:
            console.print()
        print_conversation(shown, console)


def _wanted(
    folder: Path,
    stage: str,
    number: int | None,
    conv_id: str | None,
    sequence: int | None,
    tokenizer: str | None,
) -> Iterator[Shown]:
    link = open_stage(folder, stage)
    if sequence is not None:
        if is_conversations(link):
            raise UsageError(
                f"{link.stage} holds conversations, no sequences",
                where=str(link.folder),
                remedy="leave out --sequence, or name a stage such as synth/sft_tokens",
            )
        yield from conversations_of(link, sequence, tokenizer)
    elif conv_id is not None:
        yield conversation_named(link, conv_id, tokenizer)
    elif number is not None:
        yield conversation_number(link, number, tokenizer)


def print_conversation(shown: Shown, console: Console) -> None:
    """Prints a conversation for a person: what it is, then its text.

    Trained stretches are green on a terminal and between marks anywhere; roles are bold, control
    tokens dim.
    """
    for label, value in _facts(shown):
        console.print(f"{label:<13}{value}", markup=False)
    console.print()
    console.print(coloured(shown))


def coloured(shown: Shown) -> Text:
    """Returns a conversation's text with its trained stretches marked."""
    text = Text()
    for piece in shown.pieces:
        said = f"{_MARKS[0]}{piece.text}{_MARKS[1]}" if piece.trained else piece.text
        text.append(said, style="green" if piece.trained else "")
    for found in _CONTROL.finditer(text.plain):
        text.stylize("dim", *found.span())
    for found in _HEADER.finditer(text.plain):
        text.stylize("bold cyan", *found.span())
    return text


def _facts(shown: Shown) -> Iterator[tuple[str, str]]:
    yield "conversation", shown.conv_id
    reasons = ", reasons" if shown.reasoning else ""
    yield "data set", f"{shown.dataset or 'not known'}{reasons}"
    if shown.doc_ids:
        more = len(shown.doc_ids) - _IDS_SHOWN
        listed = ", ".join(shown.doc_ids[:_IDS_SHOWN])
        yield "written from", f"{listed}{f' and {more:,} more' if more > 0 else ''}"
    if shown.sequence is None or shown.start is None or shown.tokens is None:
        yield "place", f"{shown.stage}, before tokens"
    else:
        last = shown.start + shown.tokens - 1
        where = f"sequence {shown.sequence}, tokens {shown.start} to {last}"
        yield "place", f"{shown.stage}, {where}"
        yield (
            "trained",
            f"{shown.trained_tokens:,} of {shown.tokens:,} tokens, between {_MARKS[0]} {_MARKS[1]}",
        )
