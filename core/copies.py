"""Ids of rows that a data set holds more than once: ``abc``, ``abc#2``, ``abc#3``."""

from __future__ import annotations

import re

_COPY = re.compile(r"#[1-9]\d*\Z")


def copy_id(row_id: str, number: int) -> str:
    """Returns the id of a row's copy; the first (``number`` 0) keeps its id."""
    return row_id if number == 0 else f"{row_id}#{number + 1}"


def original_id(row_id: str) -> str:
    """Returns the id that a copy's id was made from; any other id as it is."""
    return _COPY.sub("", row_id)
