"""CSV of questions: which delimiter, whether there is a header, and its rows.

Python's ``csv.Sniffer`` guesses a delimiter from the commonest character, in prose anything. Here
each delimiter is tried, and the one that gives a known header wins; without any, the rows must look
like the original MMLU files, which have none: a question, the choices, a letter.
"""

from __future__ import annotations

import csv
import io
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from core.errors import InputError
from core.questions.names import is_header, plain_name
from core.questions.records import Record

_DELIMITERS = ",;\t|"
_TRIED_ROWS = 50
_MAX_COLUMNS = 512


def table_records(text: str, path: Path) -> Iterator[Record]:
    """Yields the rows of a CSV file by column name; a file without a header gets one.

    Raises:
        InputError: it is no CSV, or has no known layout.
    """
    delimiter, has_header = _layout(text, path)
    rows = _rows(text, delimiter)
    try:
        first = next(rows)
        header = header_of(first, path) if has_header else _headerless(len(first))
        if has_header:
            first = []
        number = 0
        for row in ([first] if first else []), rows:
            for cells in row:
                number += 1
                if any(cell.strip() for cell in cells):
                    yield row_record(number, header, cells)
    except csv.Error as error:
        raise InputError(
            f"this is not valid CSV: {error}", where=str(path), remedy="save it again as CSV"
        ) from error


def row_record(number: int, header: Sequence[str], cells: Sequence[str]) -> Record:
    """Returns a table's row as a record: its cells by column name, or that they do not fit."""
    raw = ",".join(cells)
    given = [*cells]
    while len(given) > len(header) and not given[-1].strip():
        given.pop()
    if len(given) != len(header):
        fault = f"{len(given)} cells under {len(header)} columns"
        if any("\n" in cell for cell in given):
            fault += "; a quotation mark may not be closed"
        return Record(number, raw, fault=fault)
    return Record(number, raw, dict(zip(header, given, strict=True)))


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def header_of(cells: Sequence[str], path: Path) -> list[str]:
    """Returns the names of a table's columns.

    Raises:
        InputError: two columns have one name, so that one would hide the other.
    """
    names = _trimmed(cells)
    plain = Counter(plain_name(name) for name in names if name)
    if twice := [name for name, count in plain.items() if count > 1 and name]:
        raise InputError(
            f"two columns are named '{twice[0]}'",
            where=str(path),
            remedy="rename or remove one of them",
        )
    return names


def _trimmed(header: Sequence[str]) -> list[str]:
    """Returns the header without the empty columns that spreadsheets leave at its end."""
    names = [name.strip() for name in header]
    while names and not names[-1]:
        names.pop()
    return names


def _layout(text: str, path: Path) -> tuple[str, bool]:
    """Returns the delimiter and whether the first row is a header."""
    faults: list[str] = []
    headerless: list[tuple[int, str]] = []
    for delimiter in _DELIMITERS:
        try:
            rows = list(islice(_rows(text, delimiter), _TRIED_ROWS))
        except csv.Error as error:
            faults.append(str(error))
            continue
        if rows and is_header(_trimmed(rows[0])) and len(rows[0]) <= _MAX_COLUMNS:
            return delimiter, True
        if columns := _is_headerless([row for row in rows if row]):
            headerless.append((columns, delimiter))
    if headerless:
        return max(headerless)[1], False
    if len(faults) == len(_DELIMITERS):
        raise InputError(
            f"this is not valid CSV: {faults[0]}", where=str(path), remedy="save it again as CSV"
        )
    head = text.partition("\n")[0].strip()
    raise InputError(
        f"this CSV has no known layout; its columns are: {head[:200]}",
        where=str(path),
        remedy="name the columns question, A, B, C, D and, where there is a key, answer",
    )


def _is_headerless(rows: Sequence[Sequence[str]]) -> int:
    """Returns the columns of rows like MMLU's own (question, choices, letter), else 0."""
    if not rows:
        return 0
    columns, count = Counter(len(row) for row in rows).most_common(1)[0]
    choices = columns - 2
    if not 2 <= choices <= len(string.ascii_uppercase) or count < 0.9 * len(rows):
        return 0
    letters = string.ascii_uppercase[:choices]
    fitting = [row for row in rows if len(row) == columns]
    keyed = all(re.fullmatch(rf"[{letters}]", row[-1].strip()) for row in fitting)
    return columns if keyed and all(row[0].strip() for row in fitting) else 0


def _headerless(columns: int) -> list[str]:
    return ["question", *string.ascii_uppercase[: columns - 2], "answer"]
