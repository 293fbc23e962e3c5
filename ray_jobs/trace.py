"""From a trained token back to its document, page and source file (``astromill trace``).

A packed sequence's spans say which tokens of which document it holds. The document is tokenized
again with the run's tokenizer, which gives every token its characters; that the tokens are the
very ones in the sequence is checked, so a place that is shown is the right one. Tokens of a
conversation lead to its turn, and from there to the documents it was written from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.chat import DEFAULT_DATE_STRING, render_text, rendered_turns
from core.errors import InputError, UsageError
from core.lineage import (
    RUN_AGAIN,
    Chain,
    Link,
    Sequence,
    find_row,
    follow,
    read_sequence,
    run_tokenizer,
)
from core.tokenizer import load_tokenizer
from ray_jobs.trace_written import Written, find_written

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DOCUMENT_COLUMNS = ("doc_id", "text", "pages")
CONVERSATION_COLUMNS = ("conv_id", "messages")


@dataclass(frozen=True)
class DocumentPlace:
    """A stretch of a document, and where the document is from.

    Args:
        stage: whose row of the document this is.
        doc_id, title, source, license, created, url: its columns.
        file, sha256: the file it was read from, relative to the recipe's root, and its hash.
        notice: what its licence asks to be said.
        start_char, end_char: the stretch within ``text``.
        pages: the pages it lies on (:data:`core.schema.PAGE`); empty where there are none.
        text: of the whole document.
    """

    stage: str
    doc_id: str
    title: str | None
    source: str | None
    license: str | None
    created: str | None
    url: str | None
    file: str | None
    sha256: str | None
    notice: str | None
    start_char: int
    end_char: int
    pages: list[dict[str, Any]]
    text: str


@dataclass(frozen=True)
class ConversationPlace:
    """A stretch of a conversation as it was rendered, and what it was written from.

    Args:
        stage: whose row of the conversation this is.
        conv_id, dataset: its columns.
        turn: the number of the message, from 0; None in the template's own words.
        role: of that message.
        start_char, end_char: the stretch within ``text``.
        text: the rendered conversation.
        written: the pair or summary that it was made of, where it was.
        documents: the passages it was written from.
        doc_ids: all documents it names.
    """

    stage: str
    conv_id: str
    dataset: str | None
    turn: int | None
    role: str | None
    start_char: int
    end_char: int
    text: str
    written: Written | None = None
    documents: list[DocumentPlace] = field(default_factory=list)
    doc_ids: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trace:
    """A token and where it is from.

    Args:
        stage: that packed it.
        sequence, token: the place, counted from 0.
        shard, row: where the sequence is kept.
        token_id, token_text: the token.
        trained: whether a model is trained to predict it.
        doc_token: its place in its document's or conversation's tokens, specials included.
        place: what it is part of.
        made_from: the stages that its rows went through before, nearest first.
    """

    stage: str
    sequence: int
    token: int
    shard: str
    row: int
    token_id: int
    token_text: str
    trained: bool
    doc_token: int
    place: DocumentPlace | ConversationPlace
    made_from: list[str]


def trace_token(link: Link, number: int, token: int, tokenizer_path: str | None = None) -> Trace:
    """Finds where a token is from.

    Args:
        link: stage of packed sequences.
        number: of the sequence, from 0.
        token: its position in the sequence, from 0.
        tokenizer_path: folder of the tokenizer; None: the run's.

    Raises:
        UsageError: there is no such sequence or token, or it is padding.
        InputError: what the sequence was made from is gone or has changed since.
    """
    sequence = read_sequence(link, number)
    span = _span(link, sequence, token)
    tokenizer = load_tokenizer(tokenizer_path or run_tokenizer(link))
    values = sequence.values
    ids = values["input_ids"][span["start"] : span["start"] + span["length"]]
    doc_token = span["doc_start_token"] + token - span["start"]
    chain = follow(link)
    wanted = _Wanted(chain, link, span, ids, doc_token, sequence.shard)
    place = _conversation(wanted, tokenizer) or _document(wanted, tokenizer)
    return Trace(
        stage=link.stage,
        sequence=number,
        token=token,
        shard=sequence.shard,
        row=sequence.row,
        token_id=values["input_ids"][token],
        token_text=str(tokenizer.decode([values["input_ids"][token]])),
        trained=bool(values["loss_mask"][token]),
        doc_token=doc_token,
        place=place,
        made_from=[before.stage for before in chain.rows_behind(link)],
    )


@dataclass(frozen=True)
class _Wanted:
    """What is looked for: a span's tokens, and the one of them that was asked about."""

    chain: Chain
    link: Link
    span: dict[str, Any]
    ids: list[int]
    doc_token: int
    shard: str

    @property
    def name(self) -> str:
        return str(self.span["doc_id"])

    def fits(self, run: list[int]) -> bool:
        """Returns whether the tokens of a document hold the span's where the span says."""
        start = self.span["doc_start_token"]
        return run[start : start + len(self.ids)] == self.ids

    def changed(self, stage: str) -> InputError:
        return InputError(
            f"{self.name} gives other tokens than the sequence holds",
            where=f"{stage}, {self.link.stage}",
            remedy="name the tokenizer that the sequences were made with: --tokenizer FOLDER",
        )


def _span(link: Link, sequence: Sequence, token: int) -> dict[str, Any]:
    length = len(sequence.values["input_ids"])
    place = f"{link.stage}, sequence {sequence.number}"
    if not 0 <= token < length:
        raise UsageError(
            f"there is no token {token}",
            where=place,
            remedy=f"a sequence has {length:,} tokens; they are counted from 0",
        )
    span = sequence.span(token)
    if span is None:
        filled = sum(span["length"] for span in sequence.values["spans"])
        raise UsageError(
            f"token {token} is padding: it comes from no document",
            where=place,
            remedy=f"{filled:,} of its {length:,} tokens come from documents: name another one",
        )
    return span


def document_tokens(
    text: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns a document's token ids and the characters of each.

    As in ``corpus.tokens``: begin of text, the text, end of text; the two specials have an empty
    stretch at the text's ends.
    """
    encoded = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = [*begin, *encoded["input_ids"], tokenizer.eos_token_id]
    ends = [(len(text), len(text))]
    return ids, [*([(0, 0)] * len(begin)), *map(tuple, encoded["offset_mapping"]), *ends]


def _document(wanted: _Wanted, tokenizer: PreTrainedTokenizerBase) -> DocumentPlace:
    """Returns the place in a document.

    Raises:
        InputError: no stage that the sequences were made from has it, or it has changed.
    """
    stages = wanted.chain.require(wanted.link, DOCUMENT_COLUMNS, "documents")
    other = None
    for stage in stages:
        row = find_row(stage, "doc_id", wanted.name, wanted.shard)
        if row is None:
            continue
        ids, offsets = document_tokens(row["text"], tokenizer)
        if wanted.fits(ids):
            return place_in(stage, row, *offsets[wanted.doc_token])
        other = stage
    if other is not None:
        raise wanted.changed(other.stage)
    raise InputError(
        f"{wanted.name} is in no stage that {wanted.link.stage} was made from",
        where=", ".join(stage.stage for stage in stages),
        remedy=RUN_AGAIN,
    )


def place_in(stage: Link, row: dict[str, Any], start_char: int, end_char: int) -> DocumentPlace:
    """Returns a stretch of a document as a place.

    Args:
        stage: that the row is from.
        row: of :data:`core.schema.DOCUMENT`.
        start_char: of the stretch, within its text.
        end_char: exclusive.
    """
    try:
        meta = json.loads(row.get("meta") or "{}")
    except ValueError:
        meta = {}
    created = row.get("created")
    return DocumentPlace(
        stage=stage.stage,
        doc_id=row["doc_id"],
        title=row.get("title"),
        source=row.get("source"),
        license=row.get("license"),
        created=str(created) if created else None,
        url=row.get("url"),
        file=meta.get("file"),
        sha256=meta.get("sha256"),
        notice=meta.get("notice"),
        start_char=start_char,
        end_char=end_char,
        pages=pages_at(row.get("pages"), start_char, end_char),
        text=row["text"],
    )


def pages_at(
    pages: list[dict[str, Any]] | None, start_char: int, end_char: int
) -> list[dict[str, Any]]:
    """Returns the pages that a stretch lies on; between two pages, the one before."""
    # An empty stretch, such as the begin of text, lies on the page of its place.
    end_char = max(end_char, start_char + 1)
    hit = [p for p in pages or [] if p["start_char"] < end_char and p["end_char"] > start_char]
    return hit or [p for p in pages or [] if p["start_char"] <= start_char][-1:]


def _conversation(wanted: _Wanted, tokenizer: PreTrainedTokenizerBase) -> ConversationPlace | None:
    """Returns the place in a conversation; None where the sequences hold documents.

    Raises:
        InputError: the conversation has changed.
    """
    date = str(wanted.link.manifest.config.get("date_string", DEFAULT_DATE_STRING))
    for stage in wanted.chain.nearest(wanted.link, CONVERSATION_COLUMNS):
        row = find_row(stage, "conv_id", wanted.name, wanted.shard)
        if row is None:
            continue
        turns = rendered_turns(row, wanted.link.manifest.config)
        text = render_text(turns, date)
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if not wanted.fits(encoded["input_ids"]):
            raise wanted.changed(stage.stage)
        start, end = encoded["offset_mapping"][wanted.doc_token]
        turn = _turn_at(turns, text, start)
        written = find_written(wanted.chain, stage, row["conv_id"])
        return ConversationPlace(
            stage=stage.stage,
            conv_id=row["conv_id"],
            dataset=row.get("dataset"),
            turn=turn,
            role=None if turn is None else turns[turn]["role"],
            start_char=start,
            end_char=end,
            text=text,
            written=written,
            documents=_passages(wanted.chain, stage, written, row.get("doc_ids") or []),
            doc_ids=row.get("doc_ids") or [],
        )
    return None


def _turn_at(messages: list[Mapping[str, str]], text: str, char: int) -> int | None:
    position = 0
    for number, message in enumerate(messages):
        content = message["content"].strip()
        start = text.find(content, position) if content else -1
        if start < 0:
            continue
        if start <= char < start + len(content):
            return number
        position = start + len(content)
    return None


def _passages(
    chain: Chain, stage: Link, written: Written | None, doc_ids: list[str]
) -> list[DocumentPlace]:
    """Returns the passages that a conversation was written from."""
    if written is not None:
        before = chain.links.get(written.stage, stage)
        place = _find_document(chain, before, written.doc_id, written.stretch)
        return [place] if place else []
    places = [_find_document(chain, stage, name, None) for name in doc_ids]
    return [place for place in places if place]


def _find_document(
    chain: Chain, before: Link, doc_id: str, stretch: tuple[int, int] | None
) -> DocumentPlace | None:
    for stage in chain.nearest(before, DOCUMENT_COLUMNS):
        row = find_row(stage, "doc_id", doc_id)
        if row is not None:
            return place_in(stage, row, *(stretch or (0, len(row["text"]))))
    return None
