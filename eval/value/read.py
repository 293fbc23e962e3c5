"""Tables of scores, prices and release dates as CSV.

Comma, semicolon or tab; UTF-8 with or without a byte-order mark; lines that begin with ``#`` are
comments. Columns by name, in any order; others are left alone, so a ``source`` column is welcome.

=============  ===================================================================================
file           columns
=============  ===================================================================================
scores         ``model``, ``score_percent`` (or ``score``); ``family``, ``access`` (open or
               proprietary, O or P), ``value`` where it was published
prices         ``model`` and one of: ``usd_per_0.1m_tokens``, ``usd_per_1m_tokens``, or the two
               ``input_usd_per_1m_tokens`` and ``output_usd_per_1m_tokens``, of which the mean is
               taken (AstroMLab 4, section 4.2)
release dates  ``model``, ``released`` (YYYY-MM-DD or YYYY-MM; blank where nobody is sure)
=============  ===================================================================================
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import isfinite
from pathlib import Path
from typing import NoReturn

from core.errors import InputError
from eval.value.equation import Rounded
from eval.value.names import name_key, unknown_name

OTHER_FAMILY = "other"
_ACCESS = {"o": "open", "open": "open", "open-weight": "open", "p": "proprietary"}
_ACCESS["proprietary"] = "proprietary"
_MIDDLE_OF_MONTH = 15


@dataclass(frozen=True)
class Scored:
    """A row of a table of scores.

    Args:
        name: of the model.
        family: who makes it.
        access: ``open`` or ``proprietary``.
        score: percentage points, with the rounding of the table.
        value: the published value score, where there is one.
    """

    name: str
    family: str
    access: str
    score: Rounded
    value: Rounded | None = None


@dataclass(frozen=True)
class Release:
    """When a model came out: ``text`` as written, ``day`` to draw it at."""

    text: str
    day: date


@dataclass(frozen=True)
class _Row:
    cells: dict[str, str]
    where: str


def read_scores(paths: Sequence[Path]) -> list[Scored]:
    """Reads tables of scores, one after the other.

    Raises:
        InputError: a file cannot be read, a cell is wrong, or a model stands there twice.
    """
    found: list[Scored] = []
    seen: dict[str, str] = {}
    for path in paths:
        rows = _rows(path)
        column = "score_percent" if "score_percent" in rows[0].cells else "score"
        half = _half_widths(rows, (column, "value"))
        for row in rows:
            name = _name(row, seen)
            score = _number(row, column)
            if not 0 <= score <= 100:
                _refuse(row, f"the score {score:g} is no percentage", "give 0 to 100")
            value = None
            if row.cells.get("value"):
                value = Rounded(_number(row, "value"), half["value"])
            family = row.cells.get("family") or OTHER_FAMILY
            found.append(Scored(name, family, _access(row), Rounded(score, half[column]), value))
        if max(scored.score.value for scored in found[-len(rows) :]) <= 1:
            raise InputError(
                "no score is above 1: these look like shares",
                where=str(path),
                remedy="give scores in percent, 0 to 100",
            )
    return found


def read_prices(path: Path, scored: Sequence[str]) -> dict[str, float]:
    """Reads prices.

    Args:
        path: the table.
        scored: names of the models that have a score.

    Returns:
        US dollars per 0.1 million tokens by :func:`~eval.value.names.name_key`.

    Raises:
        InputError: the file cannot be read, a price is not above 0, a model is there twice, or
            has no score: a name written otherwise would silently lose its price.
    """
    return {key: _price(row) for key, row in _joined(path, scored).items()}


def read_dates(path: Path, scored: Sequence[str]) -> dict[str, Release]:
    """Reads release dates by :func:`~eval.value.names.name_key`; of a month alone, its middle.

    Args:
        path: the table.
        scored: names of the models that have a score.

    Raises:
        InputError: as for prices.
    """
    return {
        key: _date(row, row.cells["released"])
        for key, row in _joined(path, scored).items()
        if row.cells.get("released")
    }


def _joined(path: Path, scored: Sequence[str]) -> dict[str, _Row]:
    seen: dict[str, str] = {}
    known = {name_key(name) for name in scored}
    found = {}
    for row in _rows(path):
        name = _name(row, seen)
        if name_key(name) not in known:
            unknown_name(name, scored, row.where)
        found[name_key(name)] = row
    return found


def parse_release(text: str) -> Release:
    """Returns the release of YYYY-MM-DD, or of YYYY-MM: drawn in the middle of the month.

    Raises:
        ValueError: it is neither.
    """
    if re.fullmatch(r"\d{4}-\d{2}", text):
        return Release(text, date(int(text[:4]), int(text[5:]), _MIDDLE_OF_MONTH))
    return Release(text, date.fromisoformat(text))


def _rows(path: Path) -> list[_Row]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the table cannot be read: {error}",
            where=str(path),
            remedy="check the path; the table must be a CSV file in UTF-8",
        ) from error
    # Comments become empty lines, so that line numbers stay those of the file.
    lines = ["" if line.startswith("#") else line for line in text.splitlines()]
    header = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter)
    names: list[str] = []
    rows: list[_Row] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [re.sub(r"[\s\-]+", "_", cell.strip().lower()) for cell in cells]
                if twice := next((n for n in names if n and names.count(n) > 1), None):
                    raise InputError(
                        f"two columns are named '{twice}'",
                        where=str(path),
                        remedy="rename or remove one of them",
                    )
                continue
            where = f"{path}, line {reader.line_num}"
            if len(cells) > len(names):
                raise InputError(
                    f"{len(cells)} cells under {len(names)} columns",
                    where=where,
                    remedy="put a cell that holds the separator in quotes",
                )
            values = [cell.strip() for cell in cells] + [""] * (len(names) - len(cells))
            if delimiter == ";":
                values = [re.sub(r"^([+-]?\d+),(\d+)$", r"\1.\2", cell) for cell in values]
            rows.append(_Row(dict(zip(names, values, strict=True)), where))
    except csv.Error as error:
        raise InputError(
            f"the table is not CSV: {error}", where=str(path), remedy="write it as CSV"
        ) from error
    if not rows or "model" not in names:
        raise InputError(
            "the table has no model" if "model" in names else "the table has no column 'model'",
            where=str(path),
            remedy="the first line names the columns, 'model' among them; a row for each model",
        )
    return rows


def _name(row: _Row, seen: dict[str, str]) -> str:
    """Returns the model's name; refuses one that is missing or has been there before."""
    name = row.cells["model"]
    if not name:
        _refuse(row, "a row has no model", "name the model")
    before = seen.get(name_key(name))
    if before is not None:
        _refuse(row, f"'{name}' is there twice, before at {before}", "keep one of the rows")
    seen[name_key(name)] = row.where
    return name


def _number(row: _Row, column: str) -> float:
    # A minus sign of typeset tables is not the hyphen that float() knows.
    text = row.cells.get(column, "").removesuffix("%").strip().replace("−", "-")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        shown = f"'{text}' is no number" if text else "there is no number"
        _refuse(row, f"column {column}: {shown}", "give a number such as 81.9")
    return value


def _half_widths(rows: Sequence[_Row], columns: Sequence[str]) -> dict[str, float]:
    """Returns half of each column's last decimal.

    Over the column, not the cell: programs drop trailing zeros, 3.00 is written 3.0.
    """
    found = {}
    for column in columns:
        texts = [row.cells.get(column, "").removesuffix("%").strip() for row in rows]
        decimals = max(len(text.partition(".")[2]) for text in texts)
        found[column] = 0.5 * 10.0**-decimals
    return found


def _access(row: _Row) -> str:
    text = row.cells.get("access", "") or row.cells.get("type", "") or "proprietary"
    access = _ACCESS.get(text.lower())
    if access is None:
        _refuse(row, f"access '{text}' is not known", "write open or proprietary, O or P")
    return str(access)


def _price(row: _Row) -> float:
    columns = ("usd_per_0.1m_tokens", "usd_per_100k_tokens")
    per_100k = next((column for column in columns if row.cells.get(column)), "")
    if per_100k:
        price = _number(row, per_100k)
    elif row.cells.get("usd_per_1m_tokens"):
        price = _number(row, "usd_per_1m_tokens") / 10
    else:
        ends = [_number(row, f"{end}_usd_per_1m_tokens") for end in ("input", "output")]
        if min(ends) < 0:
            _refuse(row, "a price is below 0", "give US dollars")
        price = sum(ends) / 2 / 10
    if price <= 0:
        _refuse(row, f"a price must be above 0, not {price:g}", "leave out models without a price")
    return price


def _date(row: _Row, text: str) -> Release:
    try:
        return parse_release(text)
    except ValueError:
        _refuse(row, f"'{text}' is no date", "write YYYY-MM-DD or YYYY-MM, or leave it blank")


def _refuse(row: _Row, what: str, remedy: str) -> NoReturn:
    raise InputError(what, where=row.where, remedy=remedy)
