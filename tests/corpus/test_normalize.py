from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from core.recipe.corpus import Normalize
from core.rejects import Reason
from core.schema import DOCUMENT
from core.stage import StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.normalize import NormalizeStage, normalize_documents, normalize_pages, normalize_text

PutShard = Callable[[str, pa.Table], Unit]


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("CafÃ© and â€œquotesâ€\x9d", 'Café and "quotes"'),  # mojibake
        ("\x1b[31mred\x1b[0m", "red"),  # terminal escapes
        ("ﬁeld ﬂow", "field flow"),  # ligatures of PDF fonts
        ("ＡＢＣ", "ABC"),  # full-width letters
        ("e\u0301", "é"),  # NFC
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),  # line ends
        ("a\x00\x07b", "ab"),  # control characters
        ("pair \ud83d\ude00, half \ud83d", "pair 😀, half \ufffd"),  # surrogates
        ("a  \t\nb", "a\nb"),  # trailing spaces
        ("a\n\n\n\n\nb", "a\n\nb"),  # blank lines
        ("a\n  \n\t\n\nb", "a\n\nb"),  # lines that only look blank
        ("\n\n a \n\n", "a"),
        ("", ""),
    ],
)
def test_what_is_repaired(text: str, repaired: str) -> None:
    assert normalize_text(text) == repaired


@pytest.mark.parametrize(
    "text",
    [
        "m² and H₂O at 10⁻³ m",  # NFKC would flatten these
        "&lt;b&gt; in code",
        "α Centauri, 50 µm, Größe, 日本語, 🎉",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "```\nx  =  1\n```",
        "a  b",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert normalize_text(text) == text


def test_a_long_run_of_spaces_takes_no_quadratic_time() -> None:
    start = time.process_time()
    assert len(normalize_text("a" + " " * 300_000 + "b")) == 300_002
    assert time.process_time() - start < 2


def _pages(texts: list[str], joint: str) -> tuple[str, list[dict[str, Any]]]:
    pages, position = [], 0
    for number, text in enumerate(texts, 1):
        pages.append(
            {
                "page": number,
                "start_char": position,
                "end_char": position + len(text),
                "method": "textlayer",
            }
        )
        position += len(text) + len(joint)
    return joint.join(texts), pages


def test_pages_point_to_their_own_text_after_repairs() -> None:
    rng = random.Random(2)
    pieces = ["ﬁeld", "CafÃ©", " ", "\n", "\n\n\n", "word", "🎉", "e\u0301", "\x00", "  \n"]
    for _ in range(200):
        texts = ["".join(rng.choices(pieces, k=rng.randrange(6))) for _ in range(4)]
        text, pages = normalize_pages(*_pages(texts, "\n\n"))
        assert pages is not None
        assert [text[p["start_char"] : p["end_char"]] for p in pages] == [
            normalize_text(t) for t in texts
        ]
        assert [(p["page"], p["method"]) for p in pages] == [(n, "textlayer") for n in range(1, 5)]
        filled = [normalize_text(t) for t in texts if normalize_text(t)]
        assert text == "\n\n".join(filled)


@pytest.mark.parametrize("joint", ["\n\n", " ", ""])
def test_what_stands_between_pages_stays(joint: str) -> None:
    # A paragraph, a line or a word may run over a page's end.
    text, pages = normalize_pages(*_pages(["the ﬁrst ga", "laxy", "", "and"], joint))
    assert text == joint.join(["the first ga", "laxy", "and"])
    assert pages is not None
    assert [text[p["start_char"] : p["end_char"]] for p in pages] == [
        "the first ga",
        "laxy",
        "",
        "and",
    ]


def test_spaces_inside_a_pages_span_stand_between_pages_too() -> None:
    text, _ = normalize_pages(*_pages(["one \n\n", " two"], ""))
    assert text == "one\n\ntwo"


def test_a_text_without_pages() -> None:
    assert normalize_pages("ﬁeld", None) == ("field", None)
    assert normalize_pages("ﬁeld", []) == ("field", [])


def test_short_documents_are_rejected_by_their_repaired_length(
    context: StageContext, put_shard: PutShard
) -> None:
    texts = ["clean text", "ﬁﬁﬁﬁﬁ", "short" + " " * 90, "123456789"]
    table = documents_table([Document(f"a:{n}", "a", text=t) for n, t in enumerate(texts)])
    stage = NormalizeStage(Normalize(min_chars=10), "corpus.ocr")
    result = stage.process(put_shard("corpus.ocr", table), context)
    assert result.kept["text"].to_pylist() == ["clean text", "fififififi"]
    assert [(r.doc_id, r.reason, r.detail, r.text) for r in result.rejected] == [
        ("a:2", Reason.EMPTY_TEXT, "5 characters, at least 10", "short"),
        ("a:3", Reason.EMPTY_TEXT, "9 characters, at least 10", "123456789"),
    ]
    assert result.rows_in == 4
    assert result.metrics == {"documents_changed": 1}
    assert stage.config() == {"min_chars": 10}


def test_a_shard_may_lose_all_its_documents() -> None:
    table = documents_table([Document("a:1", "a", text="")])
    kept, rejects, changed = normalize_documents(table, 1)
    assert (kept.schema, kept.num_rows, len(rejects), changed) == (DOCUMENT, 0, 1, 0)
    kept, rejects, _ = normalize_documents(table, 0)
    assert (kept.num_rows, rejects) == (1, [])
