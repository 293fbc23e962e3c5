"""A conversation as it is trained: its text, and which stretches of it (``astromill synth show``).

From a stage of packed sequences the tokens are decoded as they stand there, with the stage's own
loss mask: what is shown is what the trainer gets, not what rendering would give today. From a stage
of conversations the text is rendered; which characters are trained is known without a tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.chat import DEFAULT_DATE_STRING, BadTurnsError, check_complete, lay_out
from core.errors import InputError, UsageError
from core.lineage import (
    Link,
    Sequence,
    find_row,
    follow,
    read_sequence,
    require_sequences,
    run_tokenizer,
    sequences_with,
)
from core.tokenizer import load_tokenizer
from ray_jobs.trace import CONVERSATION_COLUMNS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Piece:
    """A stretch of a conversation's text that is trained, or is not."""

    text: str
    trained: bool


@dataclass(frozen=True)
class Shown:
    """A conversation, ready to be printed.

    Args:
        conv_id: its id.
        stage: that it is read from.
        pieces: its text, in order.
        dataset: the set it is of, where its row is still there.
        reasoning: what its row says.
        doc_ids: documents that it was written from.
        sequence, start, tokens, trained_tokens: where its tokens lie; None for a conversation that
            is not tokens yet.
    """

    conv_id: str
    stage: str
    pieces: list[Piece]
    dataset: str | None = None
    reasoning: bool | None = None
    doc_ids: list[str] = field(default_factory=list)
    sequence: int | None = None
    start: int | None = None
    tokens: int | None = None
    trained_tokens: int | None = None


def is_conversations(link: Link) -> bool:
    """Returns whether a stage's rows are conversations."""
    return set(CONVERSATION_COLUMNS) <= set(link.columns())


def conversation_number(link: Link, number: int, tokenizer_path: str | None = None) -> Shown:
    """Returns a stage's conversation by its number, counted from 0 in the order of its shards.

    Raises:
        UsageError: there are not that many.
        InputError: the stage holds no conversations, or a shard cannot be read.
    """
    if is_conversations(link):
        return _from_row(link, _row(link, number))
    require_sequences(link)
    sequence, span = _span(link, number)
    return _from_sequence(link, read_sequence(link, sequence), span, tokenizer_path)


def conversation_named(link: Link, conv_id: str, tokenizer_path: str | None = None) -> Shown:
    """Returns a stage's conversation by its id.

    Raises:
        UsageError: there is none of that id.
        InputError: the stage holds no conversations, or a shard cannot be read.
    """
    if is_conversations(link):
        row = find_row(link, "conv_id", conv_id)
        if row is not None:
            return _from_row(link, row)
    else:
        for sequence, span in sequences_with(link, [conv_id]):
            return _from_sequence(link, read_sequence(link, sequence), span, tokenizer_path)
    raise UsageError(
        f"{link.stage} holds no conversation {conv_id}",
        where=str(link.folder),
        remedy="ids are in the column conv_id: astromill inspect FOLDER; one that was rejected is "
        "in the rejects/ of a stage before",
    )


def conversations_of(
    link: Link, sequence: int, tokenizer_path: str | None = None
) -> Iterator[Shown]:
    """Yields the conversations of one packed sequence.

    Raises:
        UsageError: there is no such sequence.
        InputError: the stage makes none, or a shard cannot be read.
    """
    found = read_sequence(link, sequence)
    for span in found.values["spans"]:
        yield _from_sequence(link, found, span, tokenizer_path)


# --- From rows of conversations


def _row(link: Link, number: int) -> dict[str, Any]:
    left = number
    for file in link.manifest.shards:
        rows = file.rows or 0
        if 0 <= left < rows:
            path = link.folder / file.name
            try:
                for batch in pq.ParquetFile(path).iter_batches(256):
                    if left < batch.num_rows:
                        return dict(batch.slice(left, 1).to_pylist()[0])
                    left -= batch.num_rows
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(str(path), error) from error
        left -= rows
    raise _no_number(link, number, sum(file.rows or 0 for file in link.manifest.shards))


def _from_row(link: Link, row: dict[str, Any]) -> Shown:
    messages = row["messages"] or []
    try:
        check_complete(messages)
    except BadTurnsError as error:
        raise InputError(
            f"this conversation cannot be rendered: {error}",
            where=f"{link.stage}, {row['conv_id']}",
            remedy="the chat tokens stage rejects it with the same words; show another one",
        ) from error
    text, stretches = lay_out(messages, DEFAULT_DATE_STRING)
    cuts = [(s.start, s.end) for s in stretches if s.role == "assistant"]
    return Shown(
        conv_id=row["conv_id"],
        stage=link.stage,
        pieces=_pieces(text, cuts),
        dataset=row.get("dataset"),
        reasoning=row.get("reasoning"),
        doc_ids=row.get("doc_ids") or [],
    )


def _pieces(text: str, trained: list[tuple[int, int]]) -> list[Piece]:
    pieces, at = [], 0
    for start, end in trained:
        pieces += [Piece(text[at:start], False), Piece(text[start:end], True)]
        at = end
    return [piece for piece in [*pieces, Piece(text[at:], False)] if piece.text]


# --- From packed sequences


def _span(link: Link, number: int) -> tuple[int, dict[str, Any]]:
    """Returns the sequence and span of a conversation; reads no tokens on the way."""
    left, sequence = number, 0
    for file in link.manifest.shards:
        path = link.folder / file.name
        try:
            for batch in pq.ParquetFile(path).iter_batches(1024, columns=["spans"]):
                for spans in batch.column(0).to_pylist():
                    if 0 <= left < len(spans):
                        return sequence, dict(spans[left])
                    left -= len(spans)
                    sequence += 1
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(str(path), error) from error
    raise _no_number(link, number, number - left)


def _from_sequence(
    link: Link, found: Sequence, span: dict[str, Any], tokenizer_path: str | None
) -> Shown:
    here = slice(span["start"], span["start"] + span["length"])
    ids, mask = found.values["input_ids"][here], found.values["loss_mask"][here]
    tokenizer = load_tokenizer(tokenizer_path or run_tokenizer(link))
    row = _source_row(link, span["doc_id"], found.shard)
    return Shown(
        conv_id=span["doc_id"],
        stage=link.stage,
        pieces=_decoded(tokenizer, ids, mask),
        dataset=row.get("dataset"),
        reasoning=row.get("reasoning"),
        doc_ids=row.get("doc_ids") or [],
        sequence=found.number,
        start=span["start"],
        tokens=len(ids),
        trained_tokens=sum(mask),
    )


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: list[int], mask: list[int]) -> list[Piece]:
    pieces, at = [], 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or mask[end] != mask[at]:
            # Trained stretches begin and end at control tokens: no character is cut in two.
            text = str(tokenizer.decode(ids[at:end], clean_up_tokenization_spaces=False))
            pieces.append(Piece(text, bool(mask[at])))
            at = end
    return pieces


def _source_row(link: Link, conv_id: str, shard: str) -> dict[str, Any]:
    """Returns the conversation's own row; nothing where it is no longer there."""
    for stage in follow(link).nearest(link, CONVERSATION_COLUMNS):
        row = find_row(stage, "conv_id", conv_id, shard)
        if row is not None:
            return row
    return {}


def _no_number(link: Link, number: int, total: int) -> UsageError:
    return UsageError(
        f"there is no conversation {number} in {link.stage}",
        where=str(link.folder),
        remedy=f"it has {total:,}; they are counted from 0",
    )


def _unreadable(path: str, error: Exception) -> InputError:
    return InputError(
        f"cannot read this Parquet shard: {f'{error} '.splitlines()[0].strip()}",
        where=path,
        remedy="it is missing, truncated or corrupt: run the recipe again, which makes it anew",
    )
