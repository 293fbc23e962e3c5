from __future__ import annotations

import itertools
import json
import random
from datetime import date
from typing import Any

from core.schema import DOCUMENT
from corpus.documents import Document, cut, documents_table, with_text


def _pages(*spans: tuple[int, int]) -> list[dict[str, Any]]:
    return [
        {"page": number, "start_char": start, "end_char": end, "method": "textlayer"}
        for number, (start, end) in enumerate(spans, 1)
    ]


def _naive(
    text: str, pages: list[dict[str, Any]], holes: list[tuple[int, int]]
) -> tuple[str, list[dict[str, Any]]]:
    """The same, one character after the other."""
    gone = {i for start, end in holes for i in range(start, end)}
    left = [i for i in range(len(text)) if i not in gone]

    def moved(old: int) -> int:
        return sum(1 for i in left if i < old)

    new = [
        {**p, "start_char": moved(p["start_char"]), "end_char": moved(p["end_char"])} for p in pages
    ]
    return "".join(text[i] for i in left), new


def test_cut_equals_a_cut_character_by_character() -> None:
    rng = random.Random(5)
    for _ in range(400):
        length = rng.randrange(1, 60)
        text = "".join(rng.choices("abcdefghij🎉\n", k=length))
        edges = sorted(rng.choices(range(length + 1), k=2 * rng.randrange(4)))
        holes = [(edges[i], edges[i + 1]) for i in range(0, len(edges), 2)]
        bounds = [0, *sorted(rng.choices(range(length + 1), k=3)), length]
        pages = _pages(*itertools.pairwise(bounds))
        got_text, got_pages = cut(text, pages, holes)
        assert (got_text, got_pages) == _naive(text, pages, holes)
        assert "".join(got_text[p["start_char"] : p["end_char"]] for p in got_pages) == got_text


def test_a_page_keeps_its_text_or_an_empty_span() -> None:
    text = "page one\n\npage two\n\npage three"
    pages = _pages((0, 8), (10, 18), (20, 30))
    got_text, got = cut(text, pages, [(10, 20)])
    assert got_text == "page one\n\npage three"
    assert got is not None
    spans = [got_text[p["start_char"] : p["end_char"]] for p in got]
    assert spans == ["page one", "", "page three"]
    assert [p["method"] for p in got] == ["textlayer"] * 3
    assert pages[1]["end_char"] == 18  # the caller's pages are left alone


def test_nothing_to_cut() -> None:
    assert cut("abc", None, []) == ("abc", None)
    assert cut("abc", None, [(0, 3)]) == ("", None)
    assert cut("abc", _pages((0, 3)), []) == ("abc", _pages((0, 3)))


def test_documents_become_rows() -> None:
    document = Document(
        doc_id="a:1",
        source="a",
        title="Größe",
        created=date(2020, 1, 2),
        meta={"b": 1, "a": None},
        pages=_pages((0, 4)),
    )
    table = documents_table([document, Document("a:2", "a")])
    assert table.schema == DOCUMENT
    one, two = table.to_pylist()
    assert one["title"] == "Größe"
    assert one["meta"] == '{"a": null, "b": 1}'
    assert one["pages"] == [{**page, "quality": None} for page in _pages((0, 4))]
    assert two["meta"] == "{}"
    assert two["text"] is two["pages"] is two["created"] is None
    assert documents_table([]).schema == DOCUMENT


def test_half_a_surrogate_pair_is_replaced_but_a_file_name_survives() -> None:
    document = Document("a:1", "a", title="x\ud83d", meta={"file": "caf\udce9.pdf"})
    (row,) = documents_table([document]).to_pylist()
    assert row["title"] == "x?"
    assert json.loads(row["meta"]) == {"file": "caf\udce9.pdf"}


def test_with_text_keeps_the_named_rows_with_their_new_text() -> None:
    table = documents_table([Document(f"a:{i}", "a", title=str(i)) for i in range(3)])
    new = with_text(table, [0, 2], ["zero", "two"], [None, _pages((0, 3))])
    assert new.schema == DOCUMENT
    assert new.select(["doc_id", "title", "text"]).to_pylist() == [
        {"doc_id": "a:0", "title": "0", "text": "zero"},
        {"doc_id": "a:2", "title": "2", "text": "two"},
    ]
    assert new["pages"].to_pylist() == [None, [{**p, "quality": None} for p in _pages((0, 3))]]
    nothing = with_text(table, [], [], [])
    assert (nothing.schema, nothing.num_rows) == (DOCUMENT, 0)
