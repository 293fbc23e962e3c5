"""Somebody's predictions against a key, in the shapes in which they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import InputError
from eval.items import Item
from eval.scores.submitted import read_prediction, score_file

Write = Callable[[str, str], Path]

KEY = """question,choice0,choice1,choice2,choice3,answer
Which is hottest?,O,B,A,F,0
"Why, then, is the sky blue?",Dust,Rayleigh scattering,Water,Ozone,1
Cores are metal because,all is,they sank,they decayed,they met,1
Cores are metal because,they decayed,all is,they met,they sank,3
What is M31?,A nebula,A star,A galaxy,A cluster,2
"""

HELM = """question,choices,org_model-a@001,org_model-b
Which is hottest?,"['O', 'B', 'A', 'F']",A, A
"Why, then, is the sky blue?","['Dust', 'Rayleigh scattering', 'Water', 'Ozone']",B,To
Cores are metal because,"['they decayed', 'all is', 'they met', 'they sank']",D, D
Cores are metal because,"['all is', 'they sank', 'they decayed', 'they met']",D, B
What is  M31?,"['A nebula', 'A star', 'A galaxy', 'A cluster']",C,
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return put


def test_a_column_per_model_joined_by_question_and_choices(write: Write) -> None:
    """As HELM's: leading spaces, cut prose, one question twice with other choices."""
    record = score_file(write("helm.csv", HELM), write("key.csv", KEY)).record()
    models = [(m["name"], m["correct"], m["total"], m["unanswered"]) for m in record["models"]]
    assert models == [("org_model-a@001", 4, 5, 0), ("org_model-b", 3, 5, 2)]
    assert (record["missing"], record["unknown"]) == (0, 0)
    (pair,) = record["paired"]
    assert (pair["a_only"], pair["b_only"], pair["both_right"]) == (2, 1, 2)
    assert pair["p_value"] == 1.0


def test_our_own_submission_with_gaps_and_strangers(write: Write) -> None:
    text = "\ufeffitem_id;prediction\n1;A\n2;\n4;d\n77;A\n"
    found = score_file(write("mine.csv", text), write("key.csv", KEY))
    record = found.record()
    assert [(m["name"], m["correct"], m["unanswered"]) for m in record["models"]] == [
        ("mine", 2, 1)
    ]
    # Questions 3 and 5 are left out and count as wrong.
    assert record["models"][0]["total"] == 5
    assert (record["missing"], record["unknown"], found.unknown) == (2, 1, ["77"])
    assert record["paired"] == []


@pytest.mark.parametrize(
    ("cell", "choice"),
    [
        (" A", 0), ("(c)", 2), ("B.", 1), ("D)", 3), ("2", 2), ("2.0", 2), ("7", None), ("E", None),
        ("", None), ("To", None), ("A or B", None), ("they met", 3), ("4", None), ("1", None),
    ],
)  # fmt: skip
def test_cells(cell: str, choice: int | None) -> None:
    """The last choice is the text 1, so that a bare 1 could mean two."""
    item = Item("x", "?", ("1", "all is", "4 or so", "they met"), 0)
    assert read_prediction(cell, item) == choice


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("number,guess\n1,A\n", "no known layout; its columns are: number, guess"),
        ("item_id,prediction\n1,A\n1,B\n", "row 2: '1' was there before"),
        ("question,m\nCores are metal because,A\n", "is the text of two questions"),
        ("item_id,prediction\n1,A,B\n", "row 1 has 3 cells under 2 columns"),
        ("item_id,prediction\n91,A\n", "none of 1 rows is of a question of the key"),
        ("question,answer\nWhat is M31?,A\n", "no column holds predictions"),
        ("item_id,m,m\n1,A,B\n", "two columns have one name"),
        ("item_id,m\n1,1\n2,4\n", "the predictions of m are numbers that count from 1"),
        ("", "no known layout"),
        ("item_id,prediction\n", "none of 0 rows"),
    ],
)
def test_files_that_cannot_be_scored(write: Write, text: str, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        score_file(write("p.csv", text), write("key.csv", KEY))


def test_other_faults(write: Write, tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes("item_id,prediction\n1,é\n".encode("latin-1"))
    key = write("key.csv", KEY)
    with pytest.raises(InputError, match="not UTF-8"):
        score_file(latin, key)
    with pytest.raises(InputError, match="cannot read the predictions"):
        score_file(tmp_path / "absent.csv", key)
    blind = write("blind.csv", "question,A,B\nWhat?,x,y\n")
    with pytest.raises(InputError, match="no question of this file has an answer"):
        score_file(write("p.csv", "item_id,prediction\n1,A\n"), blind)


def test_whole_answers(write: Write) -> None:
    text = (
        'item_id,prediction\n1,It is hot. The answer is (A).\n5,**C**\n2,"Perhaps A, perhaps B."\n'
    )
    plain = score_file(write("p.csv", text), write("key.csv", KEY)).record()["models"][0]
    read = score_file(write("p.csv", text), write("key.csv", KEY), free_text=True)
    model = read.record()["models"][0]
    assert (plain["correct"], plain["unanswered"]) == (0, 3)
    assert (model["correct"], model["unanswered"]) == (2, 1)


def test_columns_that_are_no_models(write: Write) -> None:
    text = "ID,Question,A,B,C,D,Ground Truth,subject,b\n77,What is M31?,w,x,y,z,C,astronomy,C\n"
    # Its choices are others than the key's, so its letters mean something else.
    with pytest.raises(InputError, match="none of 1 rows"):
        score_file(write("p.csv", text), write("key.csv", KEY))
    same = text.replace("w,x,y,z", "A nebula,A star,A galaxy,A cluster")
    record = score_file(write("p.csv", same), write("key.csv", KEY)).record()
    assert [(m["name"], m["correct"]) for m in record["models"]] == [("b", 1)]


def test_the_same_question_twice_takes_rows_as_they_come(write: Write) -> None:
    key = "question,A,B,answer\nTwice?,x,y,A\nTwice?,x,y,B\nOnce?,x,y,A\n"
    text = "question,m\nTwice?,A\nOnce?,A\nTwice?,B\n"
    record = score_file(write("p.csv", text), write("key.csv", key)).record()
    assert record["models"][0]["correct"] == 3
    with pytest.raises(InputError, match="row 4: 'Twice\\?' was there before"):
        score_file(write("p.csv", text + "Twice?,A\n"), write("key.csv", key))
