"""Documents after the cut: what is left, how it stands, and where its pages are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from core.paragraphs import split_paragraphs
from core.rejects import Reason
from core.schema import DOCUMENT, PARAGRAPH_SCORE
from core.stage import StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.filter import FilterStage, cut_paragraphs
from corpus.threshold import Thresholds

PutShard = Callable[[str, pa.Table], Unit]


def _document(paragraphs: list[list[str]], doc_id: str = "a:1") -> Document:
    """A document of pages of paragraphs, its spans as OCR lays them."""
    pages, position, texts = [], 0, []
    for number, page in enumerate(paragraphs, 1):
        text = "\n\n".join(page)
        if text and position:
            position += 2
        end = position + len(text)
        pages.append(
            {"page": number, "start_char": position, "end_char": end, "method": "textlayer"}
        )
        position = end
        texts.append(text)
    return Document(doc_id, "a", text="\n\n".join(t for t in texts if t), pages=pages)


def _scored(document: Document, bad: set[str]) -> list[dict[str, Any]]:
    rows, position = [], 0
    for number, text in enumerate((document.text or "").split("\n\n") if document.text else []):
        end = position + len(text)
        rows.append(
            {
                "doc_id": document.doc_id,
                "paragraph": number,
                "start_char": position,
                "end_char": end,
                "tokens": 9,
                "perplexity": 99.0 if text in bad else 5.0 if number % 2 else None,
            }
        )
        position = end + 2
    return rows


def test_documents_are_rebuilt_and_pages_still_point_to_their_text() -> None:
    rng = random.Random(3)
    for _ in range(150):
        number = iter(range(100))
        paragraphs = [
            [f"paragraph {next(number)} 🎉" for _ in range(rng.randrange(4))] for _ in range(3)
        ]
        document = _document([*paragraphs, ["the last one"]])
        every = [p for page in paragraphs for p in page]
        bad = {p for p in [*every, "the last one"] if rng.random() < 0.4}
        scores = pa.Table.from_pylist(_scored(document, bad), schema=PARAGRAPH_SCORE)
        result = cut_paragraphs(documents_table([document]), scores, Thresholds(10.0, {}))
        left = [p for p in [*every, "the last one"] if p not in bad]
        assert [r.text for r in result.rejects] == [p for p in [*every, "the last one"] if p in bad]
        assert result.paragraphs == len(every) + 1
        assert result.emptied == (not left)
        if not left:
            assert result.documents.num_rows == 0
            continue
        (row,) = result.documents.to_pylist()
        assert row["text"] == "\n\n".join(left)
        for page, span in zip([*paragraphs, ["the last one"]], row["pages"], strict=True):
            text = row["text"][span["start_char"] : span["end_char"]]
            assert text.strip() == "\n\n".join(p for p in page if p not in bad)


def test_high_perplexity_is_rejected_with_its_numbers(
    context: StageContext, put_shard: PutShard
) -> None:
    documents = [
        _document([["good one", "bad one"], ["good two"]], "a:1"),
        _document([["bad two"]], "a:2"),
        Document("a:3", "a", text="no pages\n\nbad one"),
    ]
    bad = {"bad one", "bad two"}
    scores = [row for d in documents for row in _scored(d, bad)]
    unit = put_shard("corpus.normalize", documents_table(documents))
    put_shard("corpus.scores", pa.Table.from_pylist(scores, schema=PARAGRAPH_SCORE))
    folder = context.folder("corpus.threshold")
    folder.mkdir(parents=True)
    stage = FilterStage("corpus.normalize", "corpus.scores", "corpus.threshold")

    (folder / "threshold.json").write_text('{"threshold": 10.0}')
    result = stage.process(unit, context)
    assert result.kept.schema == DOCUMENT
    assert result.kept["text"].to_pylist() == ["good one\n\ngood two", "no pages"]
    assert result.kept["pages"].to_pylist()[1] is None
    assert [(r.doc_id, r.reason, r.detail, r.text) for r in result.rejected] == [
        ("a:1", Reason.HIGH_PERPLEXITY, "paragraph 1: 99 > 10", "bad one"),
        ("a:2", Reason.HIGH_PERPLEXITY, "paragraph 0: 99 > 10", "bad two"),
        ("a:3", Reason.HIGH_PERPLEXITY, "paragraph 1: 99 > 10", "bad one"),
    ]
    assert (result.rows_in, result.rows_out) == (6, 3)
    assert result.metrics == {
        "documents": 2,
        "documents_emptied": 1,
        "tokens_cut": 27,
        "chars_cut": 21,
    }

    # At the threshold is not above it; nothing scored, nothing cut.
    for threshold in ("99.0", "null"):
        (folder / "threshold.json").write_text(f'{{"threshold": {threshold}}}')
        result = stage.process(unit, context)
        assert (result.kept.num_rows, result.rejected) == (3, [])
        assert result.kept["text"].to_pylist() == [d.text for d in documents]


def test_each_source_is_cut_at_its_own_line(context: StageContext, put_shard: PutShard) -> None:
    documents = [
        Document("a:1", "papers", text="one\n\ntwo"),
        Document("b:1", "wiki", text="one\n\ntwo"),
    ]
    rows = [
        {"doc_id": d, "paragraph": n, "start_char": 5 * n, "end_char": 5 * n + 3, "tokens": 1}
        | {"perplexity": 20.0 + n}
        for d in ("a:1", "b:1")
        for n in range(2)
    ]
    unit = put_shard("corpus.normalize", documents_table(documents))
    put_shard("corpus.scores", pa.Table.from_pylist(rows, schema=PARAGRAPH_SCORE))
    folder = context.folder("corpus.threshold")
    folder.mkdir(parents=True)
    lines: dict[str, Any] = {
        "threshold": 99.0,
        "sources": {"papers": {"threshold": 20.5}, "wiki": {"threshold": None}},
    }
    stage = FilterStage("corpus.normalize", "corpus.scores", "corpus.threshold")
    for per_source, left in ((True, ["one", "one\n\ntwo"]), (False, ["one\n\ntwo"] * 2)):
        (folder / "threshold.json").write_text(json.dumps(lines | {"per_source": per_source}))
        assert stage.process(unit, context).kept["text"].to_pylist() == left


@pytest.mark.parametrize(
    ("text", "bad", "left"),
    [
        # Indentation stays with its own paragraph.
        ("text\n\n    code\n\nmore", ["text"], "    code\n\nmore"),
        ("text\n\n    code\n\nmore", ["    code"], "text\n\nmore"),
        # Long lists are parted at single line ends: the paragraph behind stays apart.
        ("A\nB\n\nC", ["B"], "A\n\nC"),
        ("A\nB\nC\n\nD", ["B", "C"], "A\n\nD"),
        ("A\n\nB\nC", ["B"], "A\n\nC"),
        ("A\nB\nC", ["B"], "A\nC"),
        ("A\nB\n\n\nC\n", ["C"], "A\nB"),
        ("A\n\n\nB\n\nC", ["B"], "A\n\n\nC"),
        # Nothing cut, nothing changed: not even at the end.
        ("A\n\nB\n\n", [], "A\n\nB\n\n"),
    ],
)
def test_what_is_left_stands_as_it_stood(text: str, bad: list[str], left: str) -> None:
    parts = [p for line in text.split("\n\n") for p in line.split("\n") if p]
    rows, position = [], 0
    for number, part in enumerate(parts):
        start = text.index(part, position)
        position = start + len(part)
        row = {"doc_id": "a:1", "paragraph": number, "start_char": start, "end_char": position}
        rows.append(row | {"tokens": 1, "perplexity": 9.0 if part in bad else 1.0})
    result = cut_paragraphs(
        documents_table([Document("a:1", "a", text=text)]),
        pa.Table.from_pylist(rows, schema=PARAGRAPH_SCORE),
        Thresholds(2.0, {}),
    )
    assert result.documents["text"].to_pylist() == [left]


def test_equations_tables_and_code_leave_whole_or_stay_whole() -> None:
    blocks = ["$$\na\n\nb\n$$", "| x | y |\n|---|---|\n| 1 | 2 |", "```py\nx\n\ny\n```"]
    blocks += ["\\begin{align}\na\n\nb\n\\end{align}", "1. one\n\n   still one"]
    rng = random.Random(0)
    for _ in range(40):
        parts = [rng.choice([*blocks, "prose here", "## Title"]) for _ in range(8)]
        text = "\n\n".join(parts)
        spans = split_paragraphs(text)
        assert [text[a:b] for a, b in spans] == parts
        bad = [rng.random() < 0.4 for _ in parts]
        rows = [
            {"doc_id": "a:1", "paragraph": n, "start_char": a, "end_char": b, "tokens": 1}
            | {"perplexity": 9.0 if bad[n] else 1.0}
            for n, (a, b) in enumerate(spans)
        ]
        result = cut_paragraphs(
            documents_table([Document("a:1", "a", text=text)]),
            pa.Table.from_pylist(rows, schema=PARAGRAPH_SCORE),
            Thresholds(2.0, {}),
        )
        left = [p for p, gone in zip(parts, bad, strict=True) if not gone]
        assert result.documents["text"].to_pylist() == (["\n\n".join(left)] if left else [])
