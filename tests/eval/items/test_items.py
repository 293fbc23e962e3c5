"""Questions from files: every layout that is read, every record that is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InputError
from core.rejects import Reason
from core.schema import MCQ_ITEM
from eval.items import read_items

GOOD = {"item_id": "a", "question": "Why?", "choices": ["this", "that"], "answer": "B"}


def write(tmp_path: Path, content: str | bytes, name: str = "q.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read_one(tmp_path: Path, **changes: object) -> tuple[list[dict[str, object]], list[str]]:
    table, rejects = read_items(write(tmp_path, json.dumps(GOOD | changes)))
    return table.to_pylist(), [f"{r.reason}: {r.detail}" for r in rejects]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("A", 0), ("b", 1), (0, 0), (1, 1), ("1", 1), ("that", 1), (None, None), ("", None),
     (1.0, 1), ("1.0", 1), ([1.0], 1), (float("nan"), None)],
)  # fmt: skip
def test_answer_forms(tmp_path: Path, answer: object, expected: int | None) -> None:
    rows, rejects = read_one(tmp_path, answer=answer, topic="T")
    assert rejects == []
    assert rows == [
        {"item_id": "a", "question": "Why?", "choices": ["this", "that"], "answer": expected,
         "topic": "T"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"answer": "C"}, "none of the 2 choices"),
        ({"answer": 2}, "none of the 2 choices"),
        ({"answer": -1}, "none of the 2 choices"),
        ({"answer": "AB"}, "several answers"),
        ({"answer": True}, "neither a letter nor"),
        ({"answer": 1.5}, "neither a letter nor"),
        ({"answer": "1.5"}, "none of the 2 choices"),
        ({"choices": [{"text": "x", "correct": True}, {"text": "y"}]}, "choices with correct"),
        ({"answer": "A", "choices": ["B", "A"]}, "could mean 2"),
        ({"answer": "1", "choices": ["1", "0"]}, "could mean 2"),
        ({"choices": ["one"]}, "1 choices"),
        ({"choices": ["x"] * 27}, "27 choices"),
        ({"choices": ["x", " "]}, "a choice is empty"),
        ({"choices": ["x", 2]}, "not a list of texts"),
        ({"choices": "xy"}, "not a list of texts"),
        ({"question": "  "}, "no question"),
        ({"question": "half \ud800"}, "surrogate"),
    ],
)
def test_refused_records(tmp_path: Path, changes: dict[str, object], detail: str) -> None:
    rows, rejects = read_one(tmp_path, **changes)
    assert rows == []
    assert len(rejects) == 1
    assert rejects[0].startswith("malformed_record: ")
    assert detail in rejects[0]


def test_bad_lines_cost_only_themselves(tmp_path: Path) -> None:
    good = json.dumps(GOOD).encode()
    lines = [good, b"{broken", b'{"question": "caf\xe9"}', b"[1]", b"", good, b"[" * 100_000]
    table, rejects = read_items(write(tmp_path, b"\xef\xbb\xbf" + b"\r\n".join(lines)))
    assert table.schema == MCQ_ITEM
    assert table.num_rows == 1
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("q.jsonl:2", Reason.MALFORMED_RECORD),
        ("q.jsonl:3", Reason.INVALID_UTF8),
        ("q.jsonl:4", Reason.MALFORMED_RECORD),
        ("q.jsonl:6", Reason.DUPLICATE_ID),
        ("q.jsonl:7", Reason.MALFORMED_RECORD),
    ]


def test_arc_layout_goes_by_label(tmp_path: Path) -> None:
    def arc(key: str, labels: str) -> str:
        choices = [{"text": f"text {c}", "label": c} for c in labels]
        question = {"stem": "Why?", "choices": choices}
        return json.dumps({"id": f"id-{key}-{labels}", "question": question, "answerKey": key})

    lines = [arc("D", "ABCD"), arc("1", "1234"), arc("0", "1234")]
    table, rejects = read_items(write(tmp_path, "\n".join(lines)))
    assert table.column("answer").to_pylist() == [3, 0]
    assert table.column("item_id").to_pylist() == ["id-D-ABCD", "id-1-1234"]
    assert "none of the 4" in rejects[0].detail


def test_csv_with_letters_bom_and_no_key(tmp_path: Path) -> None:
    text = '\ufeffquestion,A,B,C,D\n"Why,\nso?",a,b,c,d\nWhat?,a,b,c,\nToo,few\n'
    table, rejects = read_items(write(tmp_path, text, "q.csv"))
    assert [
        (r["item_id"], r["question"], r["choices"], r["answer"]) for r in table.to_pylist()
    ] == [
        ("1", "Why,\nso?", ["a", "b", "c", "d"], None),
        ("2", "What?", ["a", "b", "c"], None),
    ]
    assert [r.detail for r in rejects] == ["2 cells under 5 columns"]


def test_csv_with_numbers(tmp_path: Path) -> None:
    text = b"question,choice0,choice1,answer\nWhy?,x,y,1\nWh\xff?,x,y,0\nHow?,x,y,3\n"
    table, rejects = read_items(write(tmp_path, text, "q.csv"))
    assert table.column("answer").to_pylist() == [1]
    assert [r.reason for r in rejects] == [Reason.INVALID_UTF8, Reason.MALFORMED_RECORD]


def test_a_key_twice_in_an_object(tmp_path: Path) -> None:
    line = '{"question": "Why?", "choices": ["x", "y"], "answer": "A", "answer": "B"}'
    _, rejects = read_items(write(tmp_path, line))
    assert [r.detail for r in rejects] == ["not JSON: the key 'answer' stands twice in one object"]
    with pytest.raises(InputError, match="'answer' stands twice"):
        read_items(write(tmp_path, f"[{line}]", "q.json"))


def test_unknown_csv_names_its_columns(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="thing;others;key") as caught:
        read_items(write(tmp_path, "thing;others;key\na;b;c\n", "q.csv"))
    assert "A, B, C, D" in caught.value.remedy


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the questions"):
        read_items(tmp_path / "none.jsonl")
