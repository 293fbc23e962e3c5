"""Counts with their unit, for people: ``1 shard``, ``2 shards``, ``1,234 rows``."""

from __future__ import annotations


def counted(count: float, unit: str, units: str | None = None) -> str:
    """Returns a count with its unit, in the singular where it is one.

    Args:
        count: how many; a whole number is written with commas.
        unit: of one: ``row``.
        units: of several; None: the unit with an ``s``.
    """
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {unit if count == 1 else units or f'{unit}s'}"
