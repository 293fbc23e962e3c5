"""Reading what other stages left behind: tolerant of files that are absent or cut short."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SAMPLE_CHARS = 420
SCAN_ROWS = 2000
"""Rows of a dataset that samples are taken from: enough to be spread, whatever its size."""

_MAX_JSON_BYTES = 50_000_000


def read_json(path: Path) -> Any:
    """Returns a file's JSON value, or None where it is absent, unreadable or absurdly large."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def json_object(path: Path) -> dict[str, Any]:
    """Returns a file's JSON object; empty where it holds none."""
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Streams the JSON objects of a file, line by line; lines cut short are passed over."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield value
    except OSError:
        return


def finite(value: Any) -> float | None:
    """Returns a number as a float; None where it is none, or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def clip(text: str, limit: int = SAMPLE_CHARS) -> str:
    """Returns the text's start, at most ``limit`` characters, with an ellipsis where cut."""
    text = text.strip()
    return text if len(text) <= limit else text[:limit].rstrip() + " …"


def spread(rows: Sequence[Any], count: int) -> list[Any]:
    """Returns up to ``count`` rows at equal distances, so that the choice is nobody's."""
    if len(rows) <= count:
        return list(rows)
    return [rows[i * len(rows) // count] for i in range(count)]
