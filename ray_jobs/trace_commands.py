"""The command ``astromill trace``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.text import Text

from core.counted import counted
from core.errors import UsageError
from core.lineage import Link, follow, open_stage, sequences_with
from ray_jobs.options import AsJson, example, print_json
from ray_jobs.trace import (
    CONVERSATION_COLUMNS,
    ConversationPlace,
    DocumentPlace,
    Trace,
    trace_token,
)
from ray_jobs.trace_written import Written

_DEFAULT_STAGE = "corpus.tokens"
_PAGES_SHOWN = 5
_MARKS = ("⟦", "⟧")


def add_trace_commands(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "trace",
        epilog=example(
            "astromill trace runs/demo --sequence 12 --token 40",
            "astromill trace runs/demo/synth/sft_tokens --sequence 0 --token 100 --json",
            "astromill trace runs/demo --document arxiv:0704.0001",
        ),
    )(_trace)


def _trace(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A run, or a stage of packed sequences.")
    ],
    sequence: Annotated[
        int | None, typer.Option(metavar="N", help="Number of the sequence, from 0.")
    ] = None,
    token: Annotated[
        int | None, typer.Option(metavar="M", help="Position in the sequence, from 0.")
    ] = None,
    document: Annotated[
        str | None,
        typer.Option(metavar="DOC_ID", help="List the sequences that hold this document instead."),
    ] = None,
    stage: Annotated[
        str, typer.Option(help="For a run: the stage that packed the sequences.")
    ] = _DEFAULT_STAGE,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="The tokenizer; default: the run's.")
    ] = None,
    context: Annotated[int, typer.Option(min=0, help="Characters to show on either side.")] = 300,
    as_json: AsJson = False,
) -> None:
    """Show which document, page and file a trained token comes from, with the text around it."""
    link = open_stage(folder, stage)
    if document is not None:
        if sequence is not None or token is not None:
            raise _wrong_use("--document stands alone")
        list_sequences(link, document, as_json)
        return
    if sequence is None or token is None:
        raise _wrong_use("--sequence and --token are both needed")
    found = trace_token(link, sequence, token, tokenizer)
    if as_json:
        print_json(trace_values(found, context))
    else:
        show(found, context, Console(soft_wrap=True, highlight=False))


def _wrong_use(what: str) -> UsageError:
    return UsageError(
        what,
        where="command line",
        remedy="astromill trace FOLDER --sequence N --token M, or: --document DOC_ID",
    )


def list_sequences(link: Link, document: str, as_json: bool) -> None:
    """Prints the sequences that hold a document, or a conversation written from it.

    Raises:
        UsageError: there is none.
    """
    ids = {document, *_conversations(link, document)}
    found = False
    for number, span in sequences_with(link, ids):
        found = True
        if as_json:
            sys.stdout.write(json.dumps({"sequence": number, **span}, ensure_ascii=False) + "\n")
            continue
        first, start = span["doc_start_token"], span["start"]
        last = span["length"] - 1
        sys.stdout.write(
            f"sequence {number}, tokens {start} to {start + last}: "
            f"tokens {first} to {first + last} of {span['doc_id']}\n"
        )
    if not found:
        raise UsageError(
            f"no sequence of {link.stage} holds {document}",
            where=str(link.folder),
            remedy="ids are in the column doc_id of the documents: astromill inspect FOLDER; a "
            "document that was rejected is in the rejects/ of a stage before",
        )


def _conversations(link: Link, document: str) -> list[str]:
    """Returns the conversations written from a document, where the sequences hold such."""
    ids: list[str] = []
    for stage in follow(link).nearest(link, CONVERSATION_COLUMNS):
        for path in stage.shards:
            rows = pl.scan_parquet(path, glob=False).filter(
                pl.col("doc_ids").list.contains(document)
            )
            ids += rows.select("conv_id").collect()["conv_id"].to_list()
    return ids


def trace_values(trace: Trace, context: int) -> dict[str, Any]:
    """Returns a trace as JSON values; of texts, only what is shown otherwise."""
    data = asdict(trace)
    places = [data["place"], *data["place"].get("documents", [])]
    for place in places:
        start, end = place["start_char"], place["end_char"]
        text = place.pop("text")
        place["before"] = text[max(0, start - context) : start]
        place["text"] = text[start:end]
        place["after"] = text[end : end + context]
    return data


def show(trace: Trace, context: int, console: Console) -> None:
    """Prints a trace for a person."""
    trained = "trained" if trace.trained else "not trained"
    lines = [
        (
            "token",
            f"{trace.token} of sequence {trace.sequence} in {trace.stage} "
            f"({trace.shard}, row {trace.row}): {trace.token_text!r}, id {trace.token_id}, "
            f"{trained}",
        )
    ]
    place = trace.place
    if isinstance(place, ConversationPlace):
        lines += _conversation_lines(place, trace.doc_token)
        lines += [line for document in place.documents for line in _document_lines(document)]
    else:
        lines += _document_lines(place, trace.doc_token)
    lines.append(("made from", " <- ".join([trace.stage, *trace.made_from])))
    for label, value in lines:
        console.print(f"{label:<13}{value}", markup=False)
    console.print()
    console.print(marked(place.text, place.start_char, place.end_char, context))
    if isinstance(place, ConversationPlace) and place.written is not None:
        show_prompts(place.written, context, console)
    for document in place.documents if isinstance(place, ConversationPlace) else []:
        console.print(f"\nwritten from {document.doc_id}:", markup=False)
        console.print(marked(document.text, document.start_char, document.end_char, context))


def show_prompts(written: Written, context: int, console: Console) -> None:
    """Prints what was sent to the models, its middle left out where it is long."""
    for what, prompt in (("prompt", written.prompt), ("judge's prompt", written.verdict_prompt)):
        if prompt is None:
            continue
        if len(prompt) > 4 * context:
            left_out = len(prompt) - 4 * context
            cut = f"… ({left_out:,} characters, all with --json) …"
            prompt = f"{prompt[: 2 * context]}{cut}{prompt[-2 * context :]}"
        console.print(f"\n{what}:", markup=False)
        console.print(prompt, markup=False)


def marked(text: str, start: int, end: int, context: int) -> Text:
    """Returns a stretch of a text with what is around it, marked for the eye and for a pipe."""
    before, after = max(0, start - context), min(len(text), end + context)
    shown = Text("…" if before else "")
    shown.append(text[before:start])
    shown.append(f"{_MARKS[0]}{text[start:end]}{_MARKS[1]}", style="bold reverse")
    shown.append(text[end:after])
    shown.append("…" if after < len(text) else "")
    return shown


def _conversation_lines(place: ConversationPlace, token: int) -> Iterator[tuple[str, str]]:
    turn = "the template" if place.turn is None else f"turn {place.turn} ({place.role})"
    yield "conversation", f"{place.conv_id}, {turn}, its token {token:,}"
    yield "data set", str(place.dataset)
    if place.written is not None:
        yield from _written_lines(place.written)
    missing = set(place.doc_ids) - {document.doc_id for document in place.documents}
    if missing:
        yield "documents", f"{', '.join(sorted(missing))} (not on disk)"


def _written_lines(written: Written) -> Iterator[tuple[str, str]]:
    yield "made from", f"{written.row_id} of {written.stage}"
    yield "written by", written.model or "not known"
    if written.scores:
        scores = ", ".join(f"{name} {score}" for name, score in written.scores.items())
        yield "judged", f"{scores}, by {written.judge}"
    if written.verdict_text:
        yield "verdict", written.verdict_text


def _document_lines(place: DocumentPlace, token: int | None = None) -> Iterator[tuple[str, str]]:
    yield "document", f"{place.doc_id}{f' - {place.title}' if place.title else ''}"
    dated = f", {place.created}" if place.created else ""
    yield "source", f"{place.source}, licence {place.license or 'not stated'}{dated}"
    if place.url:
        yield "address", place.url
    if place.file:
        yield "file", f"{place.file}{f' (sha256 {place.sha256})' if place.sha256 else ''}"
    if place.notice:
        yield "notice", place.notice
    for page in place.pages[:_PAGES_SHOWN]:
        how = f", read by {page['method']}" if page.get("method") else ""
        quality = page.get("quality")
        yield "page", f"{page['page']}{how}{'' if quality is None else f', quality {quality:.3g}'}"
    if len(place.pages) > _PAGES_SHOWN:
        yield "", f"and {counted(len(place.pages) - _PAGES_SHOWN, 'more page')}"
    span = f"{place.start_char:,} to {place.end_char:,}"
    of_document = "" if token is None else f"; its token {token:,}"
    yield "characters", f"{span} of {len(place.text):,} in {place.stage}{of_document}"
