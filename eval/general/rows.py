"""A benchmark's rows: read from files of any kind, checked, and written as lm-eval reads them.

lm-eval takes a row on trust: an answer that is none of the choices counts as wrong in silence, a
broken one ends the whole run. Here such rows are rejects, with what is wrong about them. Only the
columns that the benchmark needs go on, so nothing else in a file can get in the way.
"""

from __future__ import annotations

import ast
import csv
import json
import string
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError
from core.parquet_rows import fault_of, row_values
from core.rejects import Reason, Reject
from eval.general.tasks import Benchmark, Task

Row = dict[str, Any]

HARDEST = "Level 5"
"""MATH's level that the leaderboard takes."""

_LISTS = ("examples", "data", "rows")
"""Keys that a JSON object may keep its rows under: the BBH authors' own files have ``examples``."""

_LIST_CHARS = 100_000
"""The longest text that is parsed as a list of choices."""


@dataclass
class Split:
    """The rows of a split that are good, and those that are not."""

    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def read_split(
    files: list[Path],
    benchmark: Benchmark,
    task: Task,
    limit: int | None = None,
    known: Collection[str] = (),
) -> Split:
    """Reads the rows of one split.

    Args:
        files: of the split.
        benchmark: says the columns.
        task: says the choices.
        limit: most questions taken, good and bad; None takes all.
        known: IFEval's instructions, or a BBH task's answers; empty takes any.

    Raises:
        InputError: a file cannot be read, or holds no row of this benchmark.
    """
    split = Split()
    columns: set[str] = set()
    for file in files:
        for number, row in _records(file):
            if not isinstance(row, dict):
                split.rejects.append(_reject(file, number, "not an object", row))
                continue
            columns |= row.keys()
            if benchmark.key == "math" and row.get("level", HARDEST) != HARDEST:
                continue
            if limit is not None and len(split.rows) + len(split.rejects) >= limit:
                return split
            fault = _fault(row, benchmark, task, known)
            if fault is not None:
                split.rejects.append(_reject(file, number, fault, row))
                continue
            split.rows.append({name: row[name] for name in benchmark.columns})
    if not split.rows:
        missing = sorted(set(benchmark.columns) - columns)
        said = f"the columns {', '.join(missing)} are missing" if missing else "no row can be used"
        detail = f": {split.rejects[0].detail}" if split.rejects and not missing else ""
        raise InputError(
            f"no question of {task.name}: {said}{detail}",
            where=", ".join(map(str, files)),
            remedy=f"bring the data set {benchmark.data} as the Hub has it (docs/general.md)",
        )
    return split


def write_rows(rows: list[Row], benchmark: Benchmark, path: Path) -> None:
    """Writes rows as Parquet, in types that do not depend on which rows there are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if benchmark.key == "ifeval":
        # One struct holds every instruction's arguments; those that one has not are null. Parquet
        # has no struct without a field, and lm-eval leaves out what is null.
        keys = sorted({key for row in rows for each in row["kwargs"] for key in each or {}})
        keys = keys or ["num_words"]
        rows = [
            row
            | {"kwargs": [{key: (each or {}).get(key) for key in keys} for each in row["kwargs"]]}
            for row in rows
        ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def _reject(file: Path, number: int, detail: str, row: Any) -> Reject:
    text = json.dumps(row, ensure_ascii=False, default=str)[:4000]
    return Reject(f"{file.name}:{number}", Reason.MALFORMED_RECORD, detail, text)


# --- Files


def _records(file: Path) -> Iterator[tuple[int, Any]]:
    """Yields (number from 0, row); a line that is no JSON comes as its text, a broken row, why."""
    try:
        if file.suffix.lower() == ".parquet":
            number = 0
            for batch in pq.ParquetFile(file).iter_batches(1024, use_threads=False):
                for row in row_values(batch):
                    yield number, fault_of(row) if isinstance(row, Exception) else row
                    number += 1
        elif file.suffix.lower() == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as lines:
                yield from enumerate(csv.DictReader(lines, strict=True))
        else:
            yield from enumerate(_json_rows(file))
    except (OSError, ValueError, csv.Error, pa.ArrowException, RecursionError) as error:
        raise InputError(
            f"cannot read this file: {type(error).__name__}: {error}"[:500],
            where=str(file),
            remedy="it is truncated, corrupt or not what its ending says: fetch it again",
        ) from error


def _json_rows(file: Path) -> Iterator[Any]:
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix.lower() == ".json":
        try:
            value = json.loads(text)
        except ValueError:
            value = None  # JSON lines, as sets on the Hub keep them under this ending, too
        if isinstance(value, dict):
            value = next(
                (value[key] for key in _LISTS if isinstance(value.get(key), list)), [value]
            )
        if isinstance(value, list):
            yield from value
            return
    for line in text.split("\n"):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError:
                yield line


# --- What a row must be


def _fault(row: Row, benchmark: Benchmark, task: Task, known: Collection[str]) -> str | None:
    for name in benchmark.columns:
        value = row.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return f"'{name}' is missing"
        if not isinstance(value, str) and name not in _NO_TEXT:
            return f"'{name}' is not text"
    check = _CHECKS.get(benchmark.key)
    return None if check is None else check(row, task, known)


_NO_TEXT = ("key", "instruction_id_list", "kwargs", "options")


def _ifeval_fault(row: Row, _: Task, known: Collection[str]) -> str | None:
    names, arguments = row["instruction_id_list"], row["kwargs"]
    if not isinstance(names, list) or not isinstance(arguments, list) or not names:
        return "instruction_id_list and kwargs must be lists"
    if len(names) != len(arguments):
        return f"{len(names)} instructions and {len(arguments)} sets of arguments"
    if not all(isinstance(each, dict | None) for each in arguments):
        return "arguments of an instruction are not an object"
    unknown = [name for name in names if known and name not in known]
    return f"unknown instruction '{unknown[0]}'" if unknown else None


def _bbh_fault(row: Row, _: Task, known: Collection[str]) -> str | None:
    if known and row["target"] not in known:
        return f"the answer '{row['target']}' is none of the choices"
    return None


def _musr_fault(row: Row, task: Task, _: Collection[str]) -> str | None:
    said = row["choices"]
    try:
        choices = ast.literal_eval(said) if len(said) <= _LIST_CHARS else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        choices = None
    if not isinstance(choices, list) or not all(isinstance(c, str) for c in choices):
        return "'choices' is not a list of texts"
    if row["answer_choice"] not in choices:
        return f"the answer '{row['answer_choice']}' is none of the choices"
    return None


def _mmlu_pro_fault(row: Row, _: Task, __: Collection[str]) -> str | None:
    options = row["options"]
    if not isinstance(options, list) or not all(isinstance(o, str) for o in options):
        return "'options' is not a list of texts"
    letters = string.ascii_uppercase[: len(options)]
    if not 2 <= len(options) <= len(string.ascii_uppercase):
        return f"{len(options)} options"
    if len(row["answer"]) != 1 or row["answer"] not in letters:
        return f"the answer '{row['answer']}' is none of {letters}"
    return None


_CHECKS: dict[str, Callable[[Row, Task, Collection[str]], str | None]] = {
    "ifeval": _ifeval_fault,
    "bbh": _bbh_fault,
    "musr": _musr_fault,
    "mmlu_pro": _mmlu_pro_fault,
}
