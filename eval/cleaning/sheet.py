"""A sheet for a person to check a sample of the verdicts on questions.

A third of its rows each are questions that the model kept, rewrote and removed, as far as there are
so many: most are kept, and a plain sample would show few of the others.
"""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from core.atomic import atomic_file
from core.errors import InputError, UsageError
from core.hashing import sha256_text
from core.intervals import wilson
from core.rejects import Reason
from core.shards import shard_paths, stream_batches
from core.sheet_cells import safe_cell
from eval.cleaning.verdict import KINDS
from eval.items import letter

HUMAN = "human_verdict"

STAGE_FOLDER = ("eval", "questions_clean")


@dataclass(frozen=True)
class Judged:
    """A question with the model's verdict."""

    item_id: str
    verdict: str
    reason: str
    question: str
    choices: tuple[str, ...]
    proposed: str = ""


@dataclass(frozen=True)
class Marked:
    """A question that a person marked, with both verdicts."""

    item_id: str
    human: str
    model: str
    question: str
    note: str


@dataclass(frozen=True)
class SheetScore:
    """A filled-in sheet against the model.

    Args:
        marked: the rows with a person's verdict.
        unmarked: rows without.
        totals: questions of the whole run by the model's verdict.
    """

    marked: tuple[Marked, ...]
    unmarked: int
    totals: dict[str, int]

    def agreed(self, verdict: str) -> tuple[int, int]:
        """Returns how many marked questions the person gave this same verdict, and of how many.

        Args:
            verdict: the model's.
        """
        mine = [row for row in self.marked if row.model == verdict]
        return sum(row.human == verdict for row in mine), len(mine)

    @property
    def weighted(self) -> tuple[float, float, float] | None:
        """Agreement on all questions of the run, with a cautious interval.

        The shares by verdict are weighted to the whole run; the interval takes all of them at the
        ends of their own 95% intervals at once, so it is wider than 95% needs. None where a verdict
        of the run has no marked question.
        """
        total = sum(self.totals.values())
        middle = low = high = 0.0
        for verdict, count in self.totals.items():
            same, seen = self.agreed(verdict)
            if not count:
                continue
            if not seen:
                return None
            ends = wilson(same, seen)
            middle += count / total * same / seen
            low, high = low + count / total * ends[0], high + count / total * ends[1]
        return (middle, low, high) if total else None


def judged_questions(path: Path) -> Iterator[Judged]:
    """Yields the questions that cleaning kept, rewrote and removed.

    Args:
        path: a run, or the stage's folder in it.

    Raises:
        UsageError: there are none.
    """
    run = path.joinpath(*STAGE_FOLDER)
    folder = run if run.is_dir() else path
    columns = ["item_id", "verdict", "reason", "original", "choices", "proposed"]
    if not shard_paths(folder):
        raise UsageError(
            "there are no cleaned questions",
            where=str(path),
            remedy="name a run whose recipe has eval.cleaning and that has got past it",
        )
    for batch in stream_batches(folder, columns):
        for row in batch.to_pylist():
            yield Judged(
                row["item_id"],
                row["verdict"],
                row["reason"],
                row["original"],
                tuple(row["choices"]),
                row["proposed"] or "",
            )
    for shard in shard_paths(folder / "rejects"):
        for row in pq.read_table(shard, memory_map=False).to_pylist():
            if row["reason"] == Reason.PAPER_SPECIFIC.value:
                text = json.loads(row["text"])
                choices = tuple(text["choices"])
                yield Judged(row["doc_id"], "remove", row["detail"], text["question"], choices)


def write_sheet(
    path: Path, rows: int, seed: int, out: Path, *, blind: bool = True
) -> dict[str, tuple[int, int]]:
    """Writes a CSV file that spreadsheets open, with an empty column for a person's verdict.

    Args:
        path: a run, or the stage's folder in it.
        rows: questions at most.
        seed: draws the questions and their order.
        out: the file, replaced.
        blind: leave out the model's verdict and reason, which would sway a person. A proposed
            wording gives a verdict away, so it is left out, too.

    Returns:
        By verdict, the questions in the sheet and in the run.
    """
    chosen, totals = _draw(path, rows, seed)
    header = ["item_id", "question", "choices"]
    header += [] if blind else ["model_verdict", "model_reason", "model_question"]
    with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as f:
        writer = csv.writer(f)
        writer.writerow([*header, HUMAN, "note"])
        for one in chosen:
            listed = "\n".join(f"{letter(n)}. {text}" for n, text in enumerate(one.choices))
            shown = [one.item_id, one.question, listed]
            shown += [] if blind else [one.verdict, one.reason, one.proposed]
            writer.writerow([*map(safe_cell, shown), "", ""])
    return {kind: (sum(one.verdict == kind for one in chosen), totals[kind]) for kind in KINDS}


def score_sheet(sheet: Path, path: Path) -> SheetScore:
    """Compares a filled-in sheet with the model's verdicts.

    Raises:
        InputError: the sheet cannot be read, a verdict is none, or a question is not of the run.
    """
    filled = _read_sheet(sheet)
    marked: dict[str, Marked] = {}
    totals = dict.fromkeys(KINDS, 0)
    for one in judged_questions(path):
        totals[one.verdict] += 1
        entry = filled.get(safe_cell(one.item_id))
        if entry and entry[0]:
            marked[safe_cell(one.item_id)] = Marked(
                one.item_id, entry[0], one.verdict, one.question, entry[1]
            )
    wanted = [item_id for item_id, (verdict, _) in filled.items() if verdict]
    if missing := sorted(set(wanted) - set(marked)):
        raise InputError(
            f"the question {missing[0]} of the sheet is not among those of the run",
            where=f"{sheet} and {path}",
            remedy="score the sheet against the run that it was made from",
        )
    in_order = tuple(marked[item_id] for item_id in wanted)
    return SheetScore(in_order, len(filled) - len(wanted), totals)


def _draw(path: Path, rows: int, seed: int) -> tuple[list[Judged], dict[str, int]]:
    """Returns the sample in its order; only its rows are held in memory."""
    smallest: dict[str, list[tuple[int, str, Judged]]] = {kind: [] for kind in KINDS}
    totals = dict.fromkeys(KINDS, 0)
    for one in judged_questions(path):
        totals[one.verdict] += 1
        entry = (-int(sha256_text(f"{seed}\n{one.item_id}"), 16), one.item_id, one)
        kept = smallest[one.verdict]
        if len(kept) < rows:
            heapq.heappush(kept, entry)
        elif entry[0] > kept[0][0]:
            heapq.heapreplace(kept, entry)
    # The rarest verdict first: what it leaves, the others share.
    chosen: list[Judged] = []
    waiting = sorted(KINDS, key=lambda kind: len(smallest[kind]))
    for place, kind in enumerate(waiting):
        share = (rows - len(chosen)) // (len(waiting) - place)
        ordered = sorted(smallest[kind], key=lambda entry: -entry[0])
        chosen += [one for _, _, one in ordered[:share]]
    chosen.sort(key=lambda one: sha256_text(f"order\n{seed}\n{one.item_id}"))
    return chosen, totals


def _read_sheet(path: Path) -> dict[str, tuple[str, str]]:
    """Returns, by id, what a person marked (empty where nothing) and their note."""
    try:
        # Some spreadsheets save in the encoding of their country: only ASCII cells are read.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(
            f"the sheet cannot be read: {error.strerror}",
            where=str(path),
            remedy="name the CSV file that astromill eval question-sheet wrote",
        ) from error
    # Where the comma is the decimal mark, spreadsheets part cells by semicolons.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    # Not by splitlines: a form feed or U+2028 in a text ends no row.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    if not {"item_id", HUMAN} <= set(reader.fieldnames or []):
        raise InputError(
            f"this is no sheet: there is no column item_id or {HUMAN}",
            where=str(path),
            remedy="save the sheet as CSV with its first row left as it was",
        )
    found: dict[str, tuple[str, str]] = {}
    try:
        for number, row in enumerate(reader, 2):
            verdict = (row[HUMAN] or "").strip().lower()
            where = f"{path}, row {number}"
            if verdict and verdict not in KINDS:
                raise InputError(
                    f"'{verdict[:40]}' is no verdict",
                    where=f"{where}, column {HUMAN}",
                    remedy=f"write {', '.join(KINDS)}, or leave it empty",
                )
            if row["item_id"] in found:
                raise InputError(
                    f"the question {row['item_id']} is there twice",
                    where=where,
                    remedy="keep one of the two rows",
                )
            found[row["item_id"] or ""] = (verdict, (row.get("note") or "").strip())
    except csv.Error as error:
        raise InputError(
            f"this is not CSV: {error}", where=str(path), remedy="save the sheet as CSV again"
        ) from error
    return found
