"""Layouts of real question files, each in a few lines of our own."""

from __future__ import annotations

import datetime
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.benchmark_text import read_benchmark
from core.errors import InputError
from core.rejects import Reason
from eval.items import Item, load_items
from eval.items.keys import MIN_EVIDENCE, MIN_NUMBERS
from eval.items.literals import list_in_cell

FOUR = ("p", "q", "r", "s")


def load(tmp_path: Path, content: str | bytes, name: str) -> tuple[list[Item], list[str]]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    items, rejects = load_items(path)
    return items, [f"{r.doc_id}: {r.reason.value}: {r.detail}" for r in rejects]


@pytest.mark.parametrize(
    "key", ["answer", "Answer", "Correct", "gold", "LABEL", "Key", "answer_key"]
)
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_keyed_tables_with_any_delimiter(tmp_path: Path, key: str, mark: str) -> None:
    rows = [["ID", "Question", "A", "B", "C", "D", key], ["7", f'"Why{mark} so?"', *FOUR, " c "]]
    text = "\n".join(mark.join(row) for row in rows)
    items, rejects = load(tmp_path, text, "q.csv")
    assert rejects == []
    assert items == [Item("7", f"Why{mark} so?", FOUR, 2)]


def test_mmlu_without_a_header(tmp_path: Path) -> None:
    text = (
        '"Why, then?",p,q,r,s,B\nHow many?,"1,000",2,3,4,A\nToo few,p,q\n' + "Who?,p,q,r,s,D\n" * 9
    )
    items, rejects = load(tmp_path, text, "astronomy_test.csv")
    assert [(i.item_id, i.answer) for i in items[:3]] == [("1", 1), ("2", 0), ("4", 3)]
    assert items[1].choices == ("1,000", "2", "3", "4")
    assert rejects == ["astronomy_test.csv:3: malformed_record: 3 cells under 6 columns"]


def test_five_choices_and_rows_of_four(tmp_path: Path) -> None:
    text = "question,A,B,C,D,E,answer\nWhy?,p,q,r,s,t,E\nWho?,p,q,r,s,,D\n"
    text += "How?,p,q,r,s,,E\nSo?,p,,r,s,,A\n"
    items, rejects = load(tmp_path, text, "q.csv")
    assert [(len(i.choices), i.answer) for i in items] == [(5, 4), (4, 3)]
    assert [r.split(": ", 2)[2] for r in rejects] == [
        "the answer 'E' is none of the 4 choices",
        "a choice is empty",
    ]


@pytest.mark.parametrize(
    ("cell", "choices"),
    [
        ("['a', \"b's\"]", ["a", "b's"]),
        ("['a' \"b's\"\n 'c']", ["a", "b's", "c"]),
        ('["a", "b \\"c\\""]', ["a", 'b "c"']),
        ("['say \\'a\\'', 'b\\nc', '[d], e']", ["say 'a'", "b\nc", "[d], e"]),
        ("array(['a', 'b'], dtype=object)", ["a", "b"]),
        ("{'text': array(['a', 'b'], dtype=object), 'label': array(['1', '2'], dtype=object)}",
         {"text": ["a", "b"], "label": ["1", "2"]}),
        ('{"A": "a", "B": "b"}', {"A": "a", "B": "b"}),
    ],
)  # fmt: skip
def test_lists_in_a_cell(cell: str, choices: Any) -> None:
    assert list_in_cell(cell) == choices


@pytest.mark.parametrize(
    "cell",
    [
        "", "a, b", "['a', b]", "['a', 'b'", "['a' 'b', 'c']", "[, 'a']", "['a', 'b'] + ['c']",
        "__import__('os')", "[f(1)]", "{'text': ['a']}", "['" + "a" * 200_000 + "']",
        "[" * 50_000, "['a'," * 50_000 + "]", "['\\" * 30_000,
    ],
)  # fmt: skip
def test_what_is_no_list_in_a_cell(cell: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list_in_cell(cell)


def test_lists_in_the_cells_of_a_file(tmp_path: Path) -> None:
    text = (
        "question;choices;answer;correct_answer\n"
        "Why?;['p', \"q's\"];1;0\n"
        "\"Who; me?\";\"['p' 'q'\n 'r']\";2;\n"
        "How?;p q;0;\n"
    )
    items, rejects = load(tmp_path, text, "redux.csv")
    assert [(i.question, i.choices, i.answer) for i in items] == [
        ("Why?", ("p", "q's"), 1),
        ("Who; me?", ("p", "q", "r"), 2),
    ]
    assert rejects == ["redux.csv:3: malformed_record: 'choices' is not a list of texts"]


def test_json_in_every_shape(tmp_path: Path) -> None:
    arc = {"text": ["p", "q"], "label": ["1", "2"]}
    rows = [
        {"id": "x", "question": "Why?", "choices": arc, "answerKey": "2"},
        {"question": "Who?", "options": {"A": "p", "B": "q"}, "answer": "A", "subject": "S"},
        {"question": "What?", "choices": [{"text": "p", "label": "A"}, {"text": "q", "label": "B"}],
         "answer": ["B"]},
        {"question": "How?", "A": "p", "B": "q", "Gold": "q"},
        {"question": "Where?", "choices": ["A) p", "B) q"], "answer": "B) q"},
        {"question": "When?", "choices": ["p", "q"], "answer": ["A", "B"]},
        {"question": "So?", "choices": {"text": ["p", "q"], "label": ["A"]}, "answer": "A"},
        ["no object"],
    ]  # fmt: skip
    expected = [("x", 1), ("2", 0), ("3", 1), ("4", 1), ("5", 1)]
    for content in (rows, {"version": 1, "data": rows}, {"questions": rows}):
        items, rejects = load(tmp_path, json.dumps(content, indent=1), "q.json")
        assert [(i.item_id, i.answer) for i in items] == expected
        assert all(i.choices == ("p", "q") for i in items)
        assert items[1].topic == "S"
        assert [r.split(": ", 2)[2] for r in rejects] == [
            "2 answers: a question must have one right choice",
            "2 choices with 1 labels",
            "not a JSON object",
        ]
    one_line = json.dumps(rows[:5])
    assert len(load(tmp_path, one_line, "q.jsonl")[0]) == 5
    assert len(load(tmp_path, json.dumps(rows[0]), "q.json")[0]) == 1


def test_mmlu_from_the_hub(tmp_path: Path) -> None:
    rows = [
        {"question": "Why?", "subject": "astronomy", "choices": list(FOUR), "answer": n % 4}
        for n in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test-00000-of-00001.parquet")
    items, rejects = load_items(tmp_path / "test-00000-of-00001.parquet")
    assert [(i.item_id, i.answer, i.topic) for i in items] == [
        ("1", 0, "astronomy"), ("2", 1, "astronomy"), ("3", 2, "astronomy"),
    ]  # fmt: skip
    assert rejects == []
    with pytest.raises(InputError, match="cannot read the questions"):
        load(tmp_path, b"PAR1 not really", "broken.parquet")


def save(path: Path, *sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(row)
        sheet.cell(1, 900).value = ""
    book.save(path)
    return path


def test_workbooks(tmp_path: Path) -> None:
    path = tmp_path / "single-select multi choice(4)_EN.xlsx"
    rows = [
        ["Astro questions"],
        ["ID", "Question", "A", "B", "C", "D", "Answer", "Parse", None, None],
        [1, "Why?", "p", "q", 12, 0.5, "B ", "said"],
        [2, "When?", "p", datetime.datetime(2004, 12, 1), "r", "s", "A", "said"],
        [None] * 8,
        [3, "Which are right?", "p", "q", "r", "s", "A, BD", "said"],
    ]
    items, rejects = load_items(save(path, [["notes"]], rows))
    assert items == [Item("1", "Why?", ("p", "q", "12", "0.5"), 1)]
    assert [(r.doc_id, r.reason) for r in rejects] == [
        (f"{path.name}:2", Reason.MALFORMED_RECORD),
        (f"{path.name}:4", Reason.MALFORMED_RECORD),
    ]
    assert "D4 (2004-12-01" in rejects[0].detail
    assert "several answers ('A, BD')" in rejects[1].detail


def test_percents_are_read_as_shown(tmp_path: Path) -> None:
    path = save(
        tmp_path / "q.xlsx", [["question", "A", "B", "answer"], ["How much?", 0.05, 0.125, "A"]]
    )
    book = openpyxl.load_workbook(path)
    book.active["B2"].number_format, book.active["C2"].number_format = "0%", "0.0%"
    book.save(path)
    assert load_items(path)[0][0].choices == ("5%", "12.5%")


def test_true_or_false(tmp_path: Path) -> None:
    rows = [["ID", "Question", "Answer", "Parse"], [1, "The Moon has no air.", True, "x"],
            [2, "Mars has seas.", False, "y"], [3, "No key.", None, "z"]]  # fmt: skip
    items, rejects = load_items(save(tmp_path / "judgment_EN.xlsx", rows))
    assert rejects == []
    assert [(i.choices, i.answer) for i in items] == [
        (("True", "False"), 0), (("True", "False"), 1), (("True", "False"), None),
    ]  # fmt: skip
    items, _ = load(tmp_path, "question,answer\nIs it?,yes\nWas it?,No\n", "q.csv")
    assert [(i.choices, i.answer) for i in items] == [(("Yes", "No"), 0), (("Yes", "No"), 1)]
    items, rejects = load(tmp_path, "question,answer\nIs it?,yes\nWho?,Kepler\n", "q.csv")
    assert items == []
    assert [r.split(": ", 2)[2] for r in rejects] == ["'choices' is not a list of texts"] * 2


def test_workbooks_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = ["question", "A", "B"]
    for name, sheets, message in (
        ("two.xlsx", [[header, ["x", "p", "q"]], [header, ["y", "p", "q"]]], "S0, S1"),
        ("none.xlsx", [[["a", "b"], [1, 2]]], "these do: none"),
    ):
        with pytest.raises(InputError, match=message):
            load_items(save(tmp_path / name, *sheets))
    for content in (b"no zip", b"\xd0\xcf\x11\xe0 an old workbook"):
        with pytest.raises(InputError, match="no workbook that can be read"):
            load(tmp_path, content, "old.xlsx")
    with zipfile.ZipFile(tmp_path / "odd.xlsx", "w") as packed:
        packed.writestr("[Content_Types].xml", "<broken")
    with pytest.raises(InputError, match="no workbook that can be read"):
        load_items(tmp_path / "odd.xlsx")
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", b"0" * 3_000_000)
    monkeypatch.setattr("core.questions.workbook.MAX_UNPACKED_BYTES", 2_000_000)
    with pytest.raises(InputError, match="unpacks to 3,000,000 bytes"):
        load_items(tmp_path / "bomb.xlsx")


def test_encodings(tmp_path: Path) -> None:
    text = "question\tA\tB\tanswer\nWhere is Δ café?\tp\tq\tA\n"
    for data in (text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), text.encode()):
        items, rejects = load(tmp_path, data, "q.csv")
        assert (items[0].question, rejects) == ("Where is Δ café?", [])
    items, rejects = load(
        tmp_path, "question,A,B\ncaf\u00e9?,p,q\nWhy?,p,q\n".encode("cp1252"), "q.csv"
    )
    assert [i.item_id for i in items] == ["2"]
    assert rejects == ["q.csv:1: invalid_utf8: not UTF-8: byte 0xe9; save the file as UTF-8"]
    for data in (text.encode("utf-16-le"), b"\xff\xfeq"):
        with pytest.raises(InputError, match="UTF"):
            load(tmp_path, data, "q.csv")
    with pytest.raises(InputError, match=r"kind '.docx'"):
        load(tmp_path, "x", "q.docx")


def test_tables_that_would_mislead(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two columns are named 'answer'"):
        load(tmp_path, "question,A,B,answer,Answer\nWhy?,p,q,A,B\n", "q.csv")
    # Without a column B, "C" would be the second choice.
    with pytest.raises(InputError, match="no known layout"):
        load(tmp_path, "question,A,C,D\nWhy?,p,q,r\n", "q.csv")
    _, rejects = load(tmp_path, 'question,A,B,answer\nWhy?,"p,q,A\nWho?,p,q,B\n', "q.csv")
    assert "a quotation mark may not be closed" in rejects[0]


def keyed(answers: list[Any], choices: tuple[str, ...] = FOUR) -> str:
    rows = [{"question": f"Q{n}", "choices": choices, "answer": a} for n, a in enumerate(answers)]
    return "\n".join(map(json.dumps, rows))


def test_places_that_count_from_one(tmp_path: Path) -> None:
    places = [1, 2, 3, 4] * (MIN_NUMBERS // 4)
    items, rejects = load(tmp_path, keyed(places), "q.jsonl")
    assert [i.answer for i in items] == [p - 1 for p in places]
    assert rejects == []
    # One 0, and they count from 0: the 4 is a mistake in the file.
    items, rejects = load(tmp_path, keyed([0, *places]), "q.jsonl")
    assert [i.answer for i in items[:4]] == [0, 1, 2, 3]
    assert len(rejects) == places.count(4)
    numbered = "question,option1,option2,answer\nWhy?,p,q,1\nWho?,p,q,2\nHow?,p,q,0\n"
    items, rejects = load(tmp_path, numbered, "q.csv")
    assert [i.answer for i in items] == [0, 1]
    assert "none of the 2 choices" in rejects[0]


def test_numbers_that_contradict_the_columns(tmp_path: Path) -> None:
    def table(names: str, places: list[int]) -> str:
        rows = [f"Q{n},p,q,r,s,{place}" for n, place in enumerate(places)]
        return "\n".join([f"question,{names},answer", *rows])

    from_0, from_1 = "choice0,choice1,choice2,choice3", "option1,option2,option3,option4"
    many = MIN_NUMBERS // 4
    for names, places in (
        (from_0, [1, 2, 3, 4]),
        (from_1, [0, 1, 2, 3]),
        ("A,B,C,D", [1, 2, 3, 4]),
    ):
        items, rejects = load(tmp_path, table(names, places * many), "q.csv")
        assert [i.answer for i in items] == [0, 1, 2, 3] * many
        assert rejects == []
        # Too few to tell a file that counts the other way from one with a mistake.
        items, rejects = load(tmp_path, table(names, places), "q.csv")
        assert items == []
        assert sum("may count from 0 or from 1" in r for r in rejects) == 3


def test_a_file_of_several_lists(tmp_path: Path) -> None:
    ask = {"question": "Why?", "choices": ["p", "q"], "answer": 1}
    with pytest.raises(InputError, match="2 lists in this file hold questions"):
        load(tmp_path, json.dumps({"dev": [ask], "test": [ask, ask]}), "q.json")
    others = {"topics": [{"name": "n"}] * 3, "items": [ask]}
    assert [i.answer for i in load(tmp_path, json.dumps(others), "q.json")[0]] == [1]
    by_name = {"x": ask, "y": ask | {"id": "own"}}
    items, _ = load(tmp_path, json.dumps(by_name), "q.json")
    assert [i.item_id for i in items] == ["x", "own"]


def test_parquet_cells_that_python_cannot_hold(tmp_path: Path) -> None:
    raw = pa.array([b"Why?", b"caf\xe9", b"Who?"], pa.binary())
    texts = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    days = pa.array([None, None, 2**62], pa.timestamp("us"))
    table = {"question": texts, "choices": pa.array([["p", "q"]] * 3), "answer": [1.0] * 3}
    pq.write_table(pa.table({**table, "created": days}), tmp_path / "q.parquet")
    items, rejects = load_items(tmp_path / "q.parquet")
    assert [(i.question, i.answer) for i in items] == [("Why?", 1)]
    assert [r.reason for r in rejects] == [Reason.INVALID_UTF8, Reason.MALFORMED_RECORD]
    with pytest.raises(InputError, match="row 2 of this benchmark cannot be read"):
        read_benchmark("b", tmp_path / "q.parquet")
    names = ["question", "choices", "answer", "answer"]
    twice = pa.table(
        [texts.slice(0, 1), pa.array([["p", "q"]]), pa.array([0]), pa.array([1])], names
    )
    pq.write_table(twice, tmp_path / "q.parquet")
    with pytest.raises(InputError, match="two columns are named 'answer'"):
        load_items(tmp_path / "q.parquet")


def test_the_file_decides_what_one_answer_leaves_open(tmp_path: Path) -> None:
    spectral = ("O", "B", "A", "M")
    open_one = json.dumps({"question": "Which?", "choices": spectral, "answer": "A"})
    for answers, expected in ((["A", "D"], 0), (["p", "q"], 2)):
        others = keyed(answers * (MIN_EVIDENCE // 2))
        items, rejects = load(tmp_path, f"{others}\n{open_one}", "q.jsonl")
        assert rejects == []
        assert items[-1].answer == expected
    for others in (keyed(["A"] * 9), keyed(["A"] * 10 + ["p"])):
        items, rejects = load(tmp_path, f"{others}\n{open_one}", "q.jsonl")
        assert "could mean 2 different choices" in rejects[0]
