"""What cleaning leaves: a file to be scored with, and how many questions went where."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from core.atomic import write_json
from core.manifest import Manifest
from core.rejects import Reason
from core.shards import stream_batches
from core.stage import JobResult, JobStage, StageContext
from eval.cleaning.stage import QuestionsCleanStage
from eval.items import letter

CLEANED_NAME = "cleaned.csv"
CHANGES_NAME = "changes.csv"
COUNTS_NAME = "counts.json"

ACCOUNT = (
    "in",
    "kept",
    "rewritten",
    "to_review",
    "removed",
    "no_verdict",
    "no_question",
    "left",
)
"""Numbers of the account, in the order to be shown."""

STAGE = QuestionsCleanStage.name


class QuestionsReportStage(JobStage):
    """Writes the cleaned questions in AstroMLab-1's layout, and the account."""

    name = "eval.questions_report"
    description: ClassVar[str] = "Cleaned questions as a benchmark file, with counts"
    row_unit = "question"

    def __init__(self) -> None:
        """Takes nothing: all of it is in what cleaning made."""
        self.inputs = (STAGE,)

    def config(self) -> dict[str, Any]:
        """Returns nothing."""
        return {}

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the three files, streaming the questions."""
        folder = ctx.folder(STAGE)
        manifest = Manifest.require(folder, STAGE)
        most, has_key, has_topic = _shape(folder)
        letters = [letter(n) for n in range(max(most, 2))]
        header = ["item_id", "question", *letters]
        header += (["answer"] if has_key else []) + (["topic"] if has_topic else [])
        counts: Counter[str] = Counter()
        out.mkdir(parents=True, exist_ok=True)
        with (
            (out / CLEANED_NAME).open("w", encoding="utf-8", newline="") as cleaned,
            (out / CHANGES_NAME).open("w", encoding="utf-8", newline="") as changes,
        ):
            write_cleaned, write_change = csv.writer(cleaned), csv.writer(changes)
            write_cleaned.writerow(header)
            write_change.writerow(["item_id", "used", "original", "proposed", "reason", "doubts"])
            for row in _rows(folder):
                cells = [row["item_id"], row["question"], *row["choices"]]
                cells += [""] * (len(letters) - len(row["choices"]))
                answer = row["answer"]
                cells += ["" if answer is None else letter(answer)] if has_key else []
                write_cleaned.writerow(cells + ([row["topic"] or ""] if has_topic else []))
                if row["proposed"] is None:
                    counts["kept"] += 1
                    continue
                used = row["question"] == row["proposed"]
                counts["rewritten" if used else "to_review"] += 1
                shown = [row["original"], row["proposed"], row["reason"], "; ".join(row["doubts"])]
                write_change.writerow([row["item_id"], "yes" if used else "no", *shown])
        found = account(manifest, counts)
        write_json(out / COUNTS_NAME, found)
        rows = manifest.rows_out
        return JobResult(rows_in=rows, rows_out=rows, metrics=found)


def account(manifest: Manifest, counts: Counter[str]) -> dict[str, int]:
    """Returns where the questions went: the first number is the sum of all but ``left``.

    ``left`` (to be scored with) is kept, rewritten and to_review together.
    """
    removed = manifest.rejects.get(Reason.PAPER_SPECIFIC.value, 0)
    unparsed = manifest.rejects.get(Reason.UNPARSED_VERDICT.value, 0)
    return {
        "in": manifest.rows_in,
        "kept": counts["kept"],
        "rewritten": counts["rewritten"],
        "to_review": counts["to_review"],
        "removed": removed,
        "no_verdict": unparsed,
        "no_question": manifest.rows_rejected - removed - unparsed,
        "left": manifest.rows_out,
    }


def read_counts(folder: Path) -> dict[str, int]:
    """Returns the account of a finished report."""
    counts: dict[str, int] = json.loads((folder / COUNTS_NAME).read_text(encoding="utf-8"))
    return counts


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for batch in stream_batches(folder):
        yield from batch.to_pylist()


def _shape(folder: Path) -> tuple[int, bool, bool]:
    """Returns the most choices of a question, and whether any has a key and a topic."""
    most, has_key, has_topic = 0, False, False
    for batch in stream_batches(folder, ["choices", "answer", "topic"]):
        for row in batch.to_pylist():
            most = max(most, len(row["choices"]))
            has_key = has_key or row["answer"] is not None
            has_topic = has_topic or bool(row["topic"])
    return most, has_key, has_topic
