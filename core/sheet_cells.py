"""Cells of CSV files that people open in a spreadsheet."""

from __future__ import annotations

# What a spreadsheet takes for a formula (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(text: str) -> str:
    """Returns a text that no spreadsheet runs as a formula: an apostrophe in front if need be."""
    return f"'{text}" if text.startswith(_FORMULA) else text
