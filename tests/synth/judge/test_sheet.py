"""The sheet that a person fills in, and what it says about the judge."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import InputError, UsageError
from core.schema import DOCUMENT
from core.shards import read_shard, shard_name, write_shard
from core.sheet_cells import safe_cell
from synth.judge.judged import Judged, open_judged
from synth.judge.sheet import score_sheet, write_sheet
from synth.judge.verdict import CRITERIA
from tests.synth.judge.conftest import PERFECT, MakeJudged

BAD = (5, 1, 5, 2)


@pytest.fixture
def judged(tmp_path: Path, make_judged: MakeJudged) -> Judged:
    """Thirty kept pairs and ten dropped ones."""
    return open_judged(make_judged(tmp_path / "judge", [*[PERFECT] * 30, *[BAD] * 10]))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(path: Path, scores: Any, **how: Any) -> None:
    """Fills in a sheet; ``scores`` gives a row's four by its id, or None to leave it empty."""
    rows = read(path)
    for row in rows:
        given = scores(row["qa_id"])
        if given is not None:
            row.update({f"human_{name}": s for name, s in zip(CRITERIA, given, strict=True)})
    with path.open("w", encoding=how.pop("encoding", "utf-8"), newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **how)
        writer.writeheader()
        writer.writerows(rows)


def is_kept(qa_id: str) -> bool:
    return int(qa_id[-4:]) < 30


def test_half_of_each_kind_in_an_order_that_tells_nothing(judged: Judged, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    done = write_sheet(judged, 12, 1, sheet)
    assert (done.kept, done.kept_of, done.dropped, done.dropped_of) == (6, 30, 6, 10)
    rows = read(sheet)
    assert list(rows[0]) == [
        "qa_id",
        "question",
        "answer",
        *[f"human_{c}" for c in CRITERIA],
        "note",
    ]
    assert sum(is_kept(row["qa_id"]) for row in rows) == 6
    kinds = [is_kept(row["qa_id"]) for row in rows]
    assert kinds not in (sorted(kinds), sorted(kinds, reverse=True))
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbf")
    again = tmp_path / "again.csv"
    write_sheet(judged, 12, 1, again)
    assert again.read_bytes() == sheet.read_bytes()
    write_sheet(judged, 12, 2, again)
    assert again.read_bytes() != sheet.read_bytes()


@pytest.mark.parametrize(
    ("rows", "kept", "dropped"), [(30, 20, 10), (100, 30, 10), (1, 1, 0), (3, 2, 1)]
)
def test_too_few_of_one_kind_leave_room_for_the_other(
    judged: Judged, tmp_path: Path, rows: int, kept: int, dropped: int
) -> None:
    done = write_sheet(judged, rows, 1, tmp_path / "sheet.csv")
    assert (done.kept, done.dropped) == (kept, dropped)


def test_the_judges_scores_are_shown_if_asked_for(judged: Judged, tmp_path: Path) -> None:
    write_sheet(judged, 4, 1, tmp_path / "sheet.csv", blind=False)
    for row in read(tmp_path / "sheet.csv"):
        assert row["judge_stand_alone"] == ("5" if is_kept(row["qa_id"]) else "1")


def test_passages_come_from_the_documents(judged: Judged, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    row = {"doc_id": "a:0", "source": "a", "text": "The passage, " + "x" * 2000}
    write_shard(folder / shard_name(0), pa.Table.from_pylist([row], schema=DOCUMENT))
    with_it = Judged(judged.folder, 5, judged.least, documents=folder)
    write_sheet(with_it, 4, 1, tmp_path / "sheet.csv", passages=True)
    assert {row["passage"] for row in read(tmp_path / "sheet.csv")} == {row["text"][:1000]}
    with pytest.raises(UsageError, match="such as a:0"):
        write_sheet(judged, 4, 1, tmp_path / "sheet.csv", passages=True)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", '=HYPERLINK("x")'])
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert safe_cell(f"a {text}") == f"a {text}"


def test_odd_texts_survive_a_sheet(tmp_path: Path, make_judged: MakeJudged) -> None:
    folder = make_judged(tmp_path / "judge", [PERFECT] * 2)
    table = read_shard(folder / shard_name(0))
    odd = '=cmd|"/C calc"!A0, two\nlines; "quotes" é α'
    changed = table.set_column(table.schema.get_field_index("question"), "question", [[odd]])
    changed = changed.set_column(0, table.schema.field(0), pa.array(["=id"]))
    write_shard(folder / shard_name(0), changed)
    write_sheet(open_judged(folder), 2, 1, tmp_path / "sheet.csv")
    (row,) = [r for r in read(tmp_path / "sheet.csv") if r["qa_id"] == "'=id"]
    assert row["question"] == f"'{odd}"
    fill(tmp_path / "sheet.csv", lambda _: PERFECT)
    found = score_sheet(tmp_path / "sheet.csv", open_judged(folder))
    assert {r.qa_id for r in found.rated} == {"=id", "qa:0001"}


def test_what_ends_a_line_elsewhere_ends_no_row(tmp_path: Path, make_judged: MakeJudged) -> None:
    folder = make_judged(tmp_path / "judge", [PERFECT] * 2)
    table = read_shard(folder / shard_name(0))
    place = table.schema.get_field_index("question")
    odd = table.set_column(place, "question", [["one\u2028two\x0cthree\x85"]])
    write_shard(folder / shard_name(0), odd)
    write_sheet(open_judged(folder), 2, 1, tmp_path / "sheet.csv")
    fill(tmp_path / "sheet.csv", lambda _: PERFECT)
    assert len(score_sheet(tmp_path / "sheet.csv", open_judged(folder)).rated) == 2


@pytest.mark.parametrize("how", [{}, {"delimiter": ";"}, {"encoding": "utf-8-sig"}])
def test_a_filled_sheet_is_scored(judged: Judged, tmp_path: Path, how: dict[str, Any]) -> None:
    sheet = tmp_path / "sheet.csv"
    write_sheet(judged, 40, 1, sheet)

    def scores(qa_id: str) -> Any:
        number = int(qa_id[-4:])
        if number in (0, 1, 2):  # kept, but the answer is wrong
            return ("1", "5", "5", "1")
        if number == 3:
            return None
        if number == 30:  # dropped, and there is no fault
            return ("5.0", "5,0", " 5 ", "5")
        return tuple(map(str, PERFECT if number < 30 else BAD))

    fill(sheet, scores, **how)
    found = score_sheet(sheet, judged)
    assert (len(found.rated), found.unrated) == (39, 1)
    assert found.precision == (26, 29)
    assert found.lost == (1, 10)
    assert found.count(human=False, judge=True) == 3
    # Weighted to 30 kept and 10 dropped pairs.
    kept = 30 * 26 / 29
    assert found.recall(26 / 29, 1 / 10) == pytest.approx(kept / (kept + 1))
    assert found.rated[0].question.startswith("Question")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (("6", "5", "5", "5"), "'6' is no score"),
        (("0", "5", "5", "5"), "'0' is no score"),
        (("4.5", "5", "5", "5"), "'4.5' is no score"),
        (("good", "5", "5", "5"), "'good' is no score"),
        (("9" * 5000, "5", "5", "5"), "is no score"),
        (("5", "5", "", "5"), "no score in human_pertinence"),
    ],
)
def test_scores_that_are_none(judged: Judged, tmp_path: Path, given: Any, what: str) -> None:
    sheet = tmp_path / "sheet.csv"
    write_sheet(judged, 4, 1, sheet)
    fill(sheet, lambda _: given)
    with pytest.raises(InputError, match=what) as error:
        score_sheet(sheet, judged)
    assert "row 2" in error.value.where


def test_sheets_that_are_none(judged: Judged, tmp_path: Path, make_judged: MakeJudged) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        score_sheet(tmp_path / "absent.csv", judged)
    for text in ("", "qa_id,note\n1,2\n", "human_overall\n5\n", "\x00\x00"):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(InputError):
            score_sheet(tmp_path / "x.csv", judged)
    write_sheet(judged, 4, 1, tmp_path / "sheet.csv")
    fill(tmp_path / "sheet.csv", lambda _: PERFECT)
    text = (tmp_path / "sheet.csv").read_text()
    (tmp_path / "x.csv").write_text(text + text.splitlines()[-1] + "\n")
    with pytest.raises(InputError, match="is there twice"):
        score_sheet(tmp_path / "x.csv", judged)
    other = open_judged(make_judged(tmp_path / "other", []))
    with pytest.raises(InputError, match="not among the judged ones"):
        score_sheet(tmp_path / "sheet.csv", other)
