"""The sums behind ``{{convert}}``: numbers as written, default precision, rounding.

After Wikipedia's Module:Convert: a result keeps the precision that the input's digits tell, but at
least two significant figures, three in kelvins for temperatures.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from corpus.wikitext.arithmetic import round_half_up
from corpus.wikitext.unit_table import Measure

_VALUE = re.compile(
    r"([-−+]?)(?:(\d[\d,]*)(?:\s*\+\s*|\s+|&nbsp;))?(\d[\d,]*\.?\d*|\.\d+)"
    r"(?:\s*/{1,2}\s*(\d+))?(?:[eE]([-+−]?\d{1,3}))?"
)

_MAX_POWER = 200


@dataclass
class Amount:
    """A number as written.

    Args:
        shown: wikitext of the number.
        value: the number.
        precision: decimals that its digits tell; negative for trailing zeros.
        denominator: of a fraction; 0 otherwise.
    """

    shown: str
    value: float
    precision: int
    denominator: int = 0


def read_amount(text: str) -> Amount | None:
    """Reads a number: ``1,234.5``, ``1.5e6``, ``3/4``, ``1+1/2``; None where it is none."""
    # The length first: a long run of digits would be tried in every split.
    match = _VALUE.fullmatch(text.strip()) if len(text) <= 60 else None
    if not match:
        return None
    sign, whole, number, below, exponent = match.groups()
    if whole and not below:
        return None
    digits = number.replace(",", "")
    value = float(digits)
    if below:
        if int(below) == 0:
            return None
        value = (float(whole.replace(",", "")) if whole else 0.0) + value / int(below)
    integer, dot, decimals = digits.partition(".")
    precision = len(decimals) if dot else -(len(integer) - len(integer.rstrip("0")))
    minus = "−" if sign in ("-", "−") else ""
    shown = f"{minus}{_commas(digits)}"
    if below:
        shown = f"{minus}{whole + ' ' if whole else ''}{number}/{below}"
    if exponent:
        power = int(exponent.replace("−", "-"))
        if abs(power) > _MAX_POWER:
            return None
        precision -= power
        value *= 10.0**power
        shown += f"×10<sup>{str(power).replace('-', '−')}</sup>"
    return Amount(shown, -value if minus else value, precision, int(below) if below else 0)


def _commas(digits: str) -> str:
    integer, dot, decimals = digits.partition(".")
    return f"{int(integer or 0):,}{dot}{decimals}"


def default_precision(
    amount: Amount, value: float, unit: Measure, result: float, target: Measure
) -> int:
    """Returns how many decimals a result keeps.

    Args:
        amount: the input as written.
        value: its number.
        unit: the input's unit.
        result: the number converted.
        target: the output's unit.
    """
    if amount.denominator:
        precision: float = max(math.log10(amount.denominator), 1)
    else:
        precision = amount.precision
    if unit.kind == "temperature":
        kelvin = abs((value - unit.offset) * unit.scale)
        least = 2 if kelvin < 1e-8 else 2 - math.floor(math.log10(kelvin) + 1e-14)
        adjust = 0.0
    else:
        if value == 0 or result == 0:
            return 0
        adjust = math.log10(abs(value / result))
        least = 1 - math.floor(math.log10(abs(result)) + 1e-14)
    return max(math.floor(precision + adjust + math.log10(2)), least)


def converted(value: float, unit: Measure, target: Measure) -> float:
    """Returns ``value`` of ``unit`` in ``target``."""
    return (value - unit.offset) * unit.scale / target.scale + target.offset


def number_text(value: float, decimals: int) -> str:
    """Returns a rounded number: with commas, or as a power of ten from 10¹⁰ and below 10⁻⁴."""
    rounded = round_half_up(value, decimals)
    size = abs(rounded)
    sign = "−" if rounded < 0 else ""
    if size >= 1e10 or 0 < size < 1e-4:
        exponent = math.floor(math.log10(size) + 1e-14)
        places = max(0, min(decimals + exponent, 15))
        mantissa = f"{size / 10.0**exponent:.{places}f}"
        return f"{sign}{mantissa}×10<sup>{str(exponent).replace('-', '−')}</sup>"
    return f"{sign}{size:,.{max(0, min(decimals, 20))}f}"
