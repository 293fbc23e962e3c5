"""A sheet for a person to check a sample of a judge's verdicts.

AstroMLab 3, section III.1: "A small number of resulting scores were verified". Half of the rows are
pairs that the judge keeps and half pairs that it drops, so that both kinds of mistake show; the
figures are weighted back to how many there are of each.
"""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.atomic import atomic_file
from core.errors import InputError, UsageError
from core.hashing import sha256_text
from core.shards import read_shard, shard_paths, stream_batches
from core.sheet_cells import safe_cell
from synth.judge.judged import Judged
from synth.judge.verdict import CRITERIA

HUMAN = "human_"
JUDGE = "judge_"
_COLUMNS = ["qa_id", "doc_id", "chunk_start_char", "chunk_end_char", "question", "answer"]


@dataclass(frozen=True)
class Sampled:
    """How many pairs a sheet holds of how many."""

    kept: int
    kept_of: int
    dropped: int
    dropped_of: int


def write_sheet(
    judged: Judged, rows: int, seed: int, out: Path, *, blind: bool = True, passages: bool = False
) -> Sampled:
    """Writes a CSV file that spreadsheets open, with empty columns for a person's scores.

    Args:
        judged: the judged pairs.
        rows: pairs at most; where there are too few of one kind, the other has more.
        seed: draws the pairs and their order, which does not tell kept from dropped.
        out: the file, replaced.
        blind: leave out the judge's scores, which would sway a person.
        passages: show what a pair was written from.

    Raises:
        UsageError: passages are asked for and the documents are not there.
    """
    chosen, sampled = _draw(judged, rows, seed)
    texts = _passages(judged, chosen) if passages else {}
    criteria = [name for name in CRITERIA if any(row[name] is not None for row in chosen)]
    header = [
        "qa_id",
        "question",
        "answer",
        *(["passage"] if passages else []),
        *([] if blind else [JUDGE + name for name in criteria]),
        *[HUMAN + name for name in criteria],
        "note",
    ]
    with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(header)
        for row in chosen:
            shown = [row["qa_id"], row["question"], row["answer"]]
            shown += [texts[row["qa_id"]]] if passages else []
            scores = [] if blind else [row[name] for name in criteria]
            empty = [""] * (len(criteria) + 1)
            writer.writerow([*map(safe_cell, shown), *scores, *empty])
    return sampled


def _draw(judged: Judged, rows: int, seed: int) -> tuple[list[dict[str, Any]], Sampled]:
    """Returns the sample in its order; only its rows are held in memory."""
    # By hash: the smallest of each kind, whatever the shards.
    smallest: dict[bool, list[tuple[int, str, dict[str, Any]]]] = {True: [], False: []}
    totals = {True: 0, False: 0}
    columns = [*_COLUMNS, *CRITERIA, "expected_scores"]
    for batch in stream_batches(judged.folder, columns):
        for row in batch.to_pylist():
            kept = judged.keeps(row)
            totals[kept] += 1
            place = int(sha256_text(f"{seed}\n{row['qa_id']}"), 16)
            entry = (-place, row["qa_id"], row)
            if len(smallest[kept]) < rows:
                heapq.heappush(smallest[kept], entry)
            elif entry[0] > smallest[kept][0][0]:
                heapq.heapreplace(smallest[kept], entry)
    few = {kind: len(found) for kind, found in smallest.items()}
    half = min(few[True], max((rows + 1) // 2, rows - few[False]))
    take = {True: half, False: min(few[False], rows - half)}
    chosen = [
        row
        for kind, found in smallest.items()
        for _, _, row in sorted(found, key=lambda entry: -entry[0])[: take[kind]]
    ]
    chosen.sort(key=lambda row: sha256_text(f"order\n{seed}\n{row['qa_id']}"))
    return chosen, Sampled(take[True], totals[True], take[False], totals[False])


def _passages(judged: Judged, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    wanted = {row["doc_id"] for row in rows}
    texts: dict[str, str] = {}
    for path in shard_paths(judged.documents) if judged.documents else []:
        table = read_shard(path, ["doc_id", "text"])
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        found = frame.filter(pl.col("doc_id").is_in(list(wanted)))
        texts.update(dict(found.iter_rows()))
    if missing := wanted - set(texts):
        raise UsageError(
            f"the documents of the pairs are not there, such as {min(missing)}",
            where=str(judged.documents or judged.folder),
            remedy="name the run that wrote the pairs, or leave --passage out",
        )
    return {
        row["qa_id"]: texts[row["doc_id"]][row["chunk_start_char"] : row["chunk_end_char"]]
        for row in rows
    }


@dataclass(frozen=True)
class Rated:
    """One pair with a person's scores and the judge's.

    Args:
        qa_id: the pair.
        human: the person's scores by criterion.
        judge: the judge's.
        human_keeps: whether the rule keeps the pair by the person's scores.
        judge_keeps: whether it does by the judge's.
        question: what is asked.
        note: what the person wrote.
    """

    qa_id: str
    human: dict[str, int]
    judge: dict[str, int]
    human_keeps: bool
    judge_keeps: bool
    question: str
    note: str


@dataclass(frozen=True)
class SheetScore:
    """A judge measured by a person.

    Args:
        rated: the rows that the person filled in.
        unrated: rows left empty.
        kept_of: pairs that the judge keeps in the whole data set.
        dropped_of: pairs that it drops.
    """

    rated: Sequence[Rated]
    unrated: int
    kept_of: int
    dropped_of: int

    def count(self, human: bool, judge: bool) -> int:
        """Returns how many rated rows the person and the judge keep or drop so."""
        return sum(r.human_keeps == human and r.judge_keeps == judge for r in self.rated)

    @property
    def precision(self) -> tuple[int, int]:
        """Of the pairs that the judge keeps, those that the person keeps too."""
        good = self.count(human=True, judge=True)
        return good, good + self.count(human=False, judge=True)

    @property
    def lost(self) -> tuple[int, int]:
        """Of the pairs that the judge drops, those that the person would keep."""
        good = self.count(human=True, judge=False)
        return good, good + self.count(human=False, judge=False)

    def recall(self, precision: float, lost: float) -> float | None:
        """Returns the share of good pairs in the whole data set that the judge keeps.

        Args:
            precision: share of good ones among the kept.
            lost: share of good ones among the dropped.
        """
        kept, dropped = self.kept_of * precision, self.dropped_of * lost
        return kept / (kept + dropped) if kept + dropped else None


def score_sheet(path: Path, judged: Judged) -> SheetScore:
    """Compares a filled-in sheet with the judge.

    A person keeps a pair if their integers reach the recipe's minimums, also where the judge's mean
    scores are compared with those: 4.5 asks a person for a 5.

    Raises:
        InputError: the sheet cannot be read, a score is none, or a pair is not the judge's.
    """
    filled = list(_read_rows(path, judged.scale))
    rated: dict[str, dict[str, Any]] = {}
    for row in filled:
        if row["scores"] and rated.setdefault(row["qa_id"], row) is not row:
            raise InputError(
                f"the pair {row['qa_id']} is there twice",
                where=f"{path}, row {row['number']}",
                remedy="keep one of the two rows",
            )
    kept_of = dropped_of = 0
    found: dict[str, Rated] = {}
    columns = ["qa_id", "question", *CRITERIA, "expected_scores"]
    for batch in stream_batches(judged.folder, columns):
        for row in batch.to_pylist():
            keeps = judged.keeps(row)
            kept_of, dropped_of = kept_of + keeps, dropped_of + (not keeps)
            if (entry := rated.get(safe_cell(row["qa_id"]))) is not None:
                found[entry["qa_id"]] = _compare(entry, row, keeps, judged, path)
    if missing := set(rated) - set(found):
        raise InputError(
            f"the pair {min(missing)} of the sheet is not among the judged ones",
            where=f"{path} and {judged.folder}",
            remedy="score the sheet against the run that it was made from",
        )
    ordered = [found[qa_id] for qa_id in rated]
    return SheetScore(ordered, len(filled) - len(rated), kept_of, dropped_of)


def _compare(
    entry: dict[str, Any], row: dict[str, Any], keeps: bool, judged: Judged, path: Path
) -> Rated:
    judge = {name: row[name] for name in CRITERIA if row[name] is not None}
    if missing := set(judge) - set(entry["scores"]):
        raise InputError(
            f"no column {', '.join(HUMAN + name for name in sorted(missing))}",
            where=str(path),
            remedy="score the sheet against the run that it was made from",
        )
    human = {name: entry["scores"][name] for name in judge}
    human_keeps = all(human[name] >= judged.least[name] for name in judge)
    return Rated(row["qa_id"], human, judge, human_keeps, keeps, row["question"], entry["note"])


def _read_rows(path: Path, scale: int) -> Iterator[dict[str, Any]]:
    """Yields the rows of a sheet; ``scores`` is empty where the person wrote none."""
    try:
        # Some spreadsheets save in the encoding of their country: only ASCII cells are read.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(
            f"the sheet cannot be read: {error.strerror}",
            where=str(path),
            remedy="name the CSV file that astromill synth sheet wrote",
        ) from error
    head = text.partition("\n")[0]
    # Where the comma is the decimal mark, spreadsheets part cells by semicolons.
    delimiter = max(",;\t", key=head.count)
    # Not by splitlines: a form feed or U+2028 in a text ends no row.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name for name in CRITERIA if HUMAN + name in (reader.fieldnames or [])]
    if "qa_id" not in (reader.fieldnames or []) or not names:
        raise InputError(
            "this is no sheet: there is no column qa_id, or none of a person's scores",
            where=str(path),
            remedy="save the sheet as CSV with its first row left as it was",
        )
    try:
        for number, row in enumerate(reader, 2):
            cells = {name: (row[HUMAN + name] or "").strip() for name in names}
            scores = {
                name: _score(cell, scale, f"{path}, row {number}, column {HUMAN}{name}")
                for name, cell in cells.items()
                if cell
            }
            if scores and (missing := [HUMAN + name for name in names if name not in scores]):
                raise InputError(
                    f"no score in {', '.join(missing)}",
                    where=f"{path}, row {number}",
                    remedy="fill in all scores of a row, or none",
                )
            note = (row.get("note") or "").strip()
            yield {"qa_id": row["qa_id"], "number": number, "scores": scores, "note": note}
    except csv.Error as error:
        raise InputError(
            f"this is not CSV: {error}", where=str(path), remedy="save the sheet as CSV again"
        ) from error


def _score(cell: str, scale: int, where: str) -> int:
    # Spreadsheets may show 5 as 5.0 or 5,0.
    digits = cell.replace(",", ".").removesuffix(".0")
    if not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits[:9]) <= scale:
        raise InputError(
            f"'{cell[:40]}' is no score",
            where=where,
            remedy=f"write an integer from 1 to {scale}, or leave the row's scores empty",
        )
    return int(digits)
