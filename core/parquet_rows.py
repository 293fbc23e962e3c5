"""Rows of Parquet files of others, where a cell may hold what Python cannot."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa


def row_values(batch: pa.RecordBatch) -> list[Any]:
    """Returns a batch's rows as Python objects; for one that cannot be, the exception it raised.

    Such a row costs itself alone: text that is not UTF-8, a date past the year 9999, a time zone
    that nobody knows.
    """
    try:
        return list(batch.to_pylist())
    except Exception as error:  # Arrow, datetime and zoneinfo raise what they like
        if batch.num_rows == 1:
            return [error]
    half = batch.num_rows // 2
    return [*row_values(batch.slice(0, half)), *row_values(batch.slice(half))]


def fault_of(error: Exception) -> str:
    """Returns why a row could not be read, on one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def doubled_column(schema: pa.Schema) -> str | None:
    """Returns a name that two columns have, so that one would hide the other."""
    return next((name for name, count in Counter(schema.names).items() if count > 1), None)
