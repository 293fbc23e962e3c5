"""Excel workbooks of questions, one row at a time.

Workbooks may declare thousands of empty columns, and a small file may unpack to any size: columns
and unpacked bytes are capped. A cell that the spreadsheet turned into a date no longer says what
was typed ("September 20th" or "9-20"), so its row is a fault, never a guess.
"""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.questions.names import is_header
from core.questions.records import Record
from core.questions.tables import header_of, row_record

MAX_COLUMNS = 64
MAX_UNPACKED_BYTES = 512 * 2**20
_HEADER_ROWS = 20
"""Where a header is looked for: titles may stand above it."""

_DATES = (datetime.date, datetime.time, datetime.timedelta)
_PERCENT = re.compile(r"0(?:\.(0+))?%")


def workbook_records(path: Path) -> Iterator[Record]:
    """Yields the rows of the one sheet that holds questions.

    Cells that hold formulas give the value that was last computed.

    Raises:
        InputError: it is no workbook, is too large, or not one of its sheets holds questions.
    """
    try:
        from openpyxl import load_workbook
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise InputError(
            "workbooks are read with openpyxl, which is not installed",
            where=str(path),
            remedy="pip install openpyxl, or save the workbook as CSV in UTF-8",
        ) from error
    try:
        _check_size(path)
        with path.open("rb") as file:
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
            try:
                yield from _sheet_records(book, path)
            finally:
                book.close()
    # openpyxl lets through whatever its parts raise at a damaged file.
    except (
        zipfile.BadZipFile,
        InvalidFileException,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        SyntaxError,
        NotImplementedError,
        RuntimeError,
        EOFError,
    ) as error:
        raise InputError(
            f"this is no workbook that can be read: {type(error).__name__}: {error}"[:300],
            where=str(path),
            remedy="save it again as .xlsx without a password, or as CSV in UTF-8",
        ) from error


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as packed:
        size = sum(entry.file_size for entry in packed.infolist())
    if size > MAX_UNPACKED_BYTES:
        raise InputError(
            f"the workbook unpacks to {size:,} bytes",
            where=str(path),
            remedy=f"save its questions alone, in less than {MAX_UNPACKED_BYTES:,} bytes",
        )


def _sheet_records(book: Any, path: Path) -> Iterator[Record]:
    found = [(sheet, place) for sheet in book.worksheets if (place := _header_row(sheet))]
    if len(found) != 1:
        names = ", ".join(sheet.title for sheet, _ in found) or "none"
        raise InputError(
            f"one sheet must hold questions, and these do: {names}",
            where=str(path),
            remedy="keep one sheet, its columns named Question, A, B, C, D and Answer, "
            "or Question and Answer where it says true or false",
        )
    sheet, place = found[0]
    rows = sheet.iter_rows(min_row=place, max_col=MAX_COLUMNS)
    header = header_of([_shown(cell) for cell in next(rows)], path)
    for number, row in enumerate(rows, start=1):
        cells = [_shown(cell) for cell in row]
        if any(cell.strip() for cell in cells):
            dates = [c for c in row[: len(header)] if isinstance(c.value, _DATES)]
            yield _dated(number, cells, dates) if dates else row_record(number, header, cells)


def _header_row(sheet: Any) -> int | None:
    """Returns the row, from 1, of a sheet's header, or None."""
    rows = sheet.iter_rows(max_row=_HEADER_ROWS, max_col=MAX_COLUMNS, values_only=True)
    for place, row in enumerate(islice(rows, _HEADER_ROWS), start=1):
        names = [str(value).strip() for value in row if value is not None]
        if is_header(names):
            return place
    return None


def _dated(number: int, cells: Sequence[str], dates: Sequence[Any]) -> Record:
    where = ", ".join(f"{cell.coordinate} ({cell.value})" for cell in dates)
    fault = f"the spreadsheet made dates of what was typed in {where}; format the cells as text"
    return Record(number, ",".join(cells).rstrip(","), fault=fault)


def _shown(cell: Any) -> str:
    """Returns a cell as its reader sees it: 0.5 in a column of percents is ``50%``."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, float):
        if found := _PERCENT.fullmatch(str(cell.number_format)):
            return f"{value * 100:.{len(found[1] or '')}f}%"
        # Excel shows 11 digits at most; what lies behind them is rounding.
        return f"{value:.11g}"
    return str(value)
