"""What leaves the run: predicted letters for benchmarks without a key, and every answer as a table.

::

    submission/<benchmark>.<model>.csv   item_id, prediction (a letter; empty: no answer was read)
    answers.parquet                      one row per question and label, in the file's order
"""

from __future__ import annotations

import csv
import io

import polars as pl
import pyarrow as pa

from eval.items import letter
from eval.scores.calibration import confidences
from eval.scores.rows import Label

ANSWERS_NAME = "answers.parquet"

ANSWER = pa.schema(
    [
        ("benchmark", pa.string()),
        ("group", pa.string()),
        ("item_id", pa.string()),
        ("topic", pa.string()),
        ("name", pa.string()),
        ("model", pa.string()),
        ("mode", pa.string()),
        ("choice", pa.int32()),
        ("correct", pa.bool_()),
        ("confidence", pa.float64()),
        ("contaminated", pa.bool_()),
    ]
)
"""An answer in the file's order. ``name`` is the label; ``choice`` is null where no answer could be
read, ``correct`` without a key, ``confidence`` where answers were written, ``contaminated`` (the
corpus held the question before it was cleaned) where that is not known.
"""


def submission_csv(rows: pl.DataFrame) -> str:
    """Returns predictions as CSV text with the columns ``item_id, prediction`` (a letter)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["item_id", "prediction"])
    for item_id, choice in rows.select("item_id", "choice").iter_rows():
        writer.writerow([item_id, "" if choice is None else letter(choice)])
    return out.getvalue()


def needs_submission(rows: pl.DataFrame) -> bool:
    """Returns whether a benchmark's rows hold a question without a key."""
    return bool(rows["answer"].is_null().any())


def answers_table(label: Label, first: pl.DataFrame) -> pa.Table:
    """Returns a label's rows in file order as :data:`ANSWER`."""
    joined = first.join(confidences(first).select("place", "confidence"), on="place", how="left")
    joined = joined.sort("place").with_columns(
        pl.lit(label.name).alias("name"),
        pl.lit(label.model).alias("model"),
        pl.lit(label.mode, dtype=pl.String).alias("mode"),
    )
    return joined.select(ANSWER.names).to_arrow().cast(ANSWER)
