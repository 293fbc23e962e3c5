"""``{{convert}}`` and ``{{cvt}}``: the sum, rounded and worded as Wikipedia's Module:Convert does.

Here the arguments are read and the result is put into words; the sums are in ``conversion``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from corpus.wikitext.arithmetic import round_half_up
from corpus.wikitext.conversion import (
    Amount,
    converted,
    default_precision,
    number_text,
    read_amount,
)
from corpus.wikitext.numbers import unit_markup
from corpus.wikitext.page import Call, template
from corpus.wikitext.unit_table import POWER_NAMES, Measure, find_unit

_RANGES = {
    "-": "–", "–": "–", "&ndash;": "–", "—": "–", "to": " to ", "and": " and ", "or": " or ",
    "by": " by ", "x": " by ", "×": " × ", "*": " × ", "xx": " × ", "+/-": " ± ", "±": " ± ",
    "+": " + ", "to(-)": " to ", "and(-)": " and ", "or(-)": " or ", "to about": " to about ",
    ",": ", ", "&": " & ", "/": "/", "+-": " ± ", "&times;": " × ", "&plusmn;": " ± ",
    "plus or minus": " ± ", "x to": " to ",
}  # fmt: skip


_WORDS = frozenset(
    [
        "acre",
        "long ton",
        "short ton",
        "carat",
        "furlong",
        "chain",
        "rod",
        "fathom",
        "hand",
        "league",
        "light-second",
    ]
)
_BARE = ("table", "tablecen", "number", "num", "output number only")


@dataclass
class Request:
    """What one call asks for."""

    amounts: list[Amount] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    unit: Measure | None = None
    outputs: list[str] = field(default_factory=list)
    digits: int | None = None
    figures: int | None = None
    extra: str = ""
    power_in_words: bool = False


def _read(call: Call) -> Request | None:
    arguments = [re.sub(r"\s+", " ", text) for text in call.positional()]
    request = Request()
    place = 0
    while place < len(arguments):
        amount = read_amount(_number(arguments[place]))
        if amount is None:
            return None
        request.amounts.append(amount)
        place += 1
        if place + 1 < len(arguments) and arguments[place].strip() in _RANGES:
            request.joins.append(arguments[place].strip())
            place += 1
            continue
        break
    if place >= len(arguments):
        return None
    request.unit = find_unit(arguments[place])
    place += 1
    if request.unit is None:
        return None
    place = _compound(arguments, place, request)
    for text in arguments[place:]:
        if re.fullmatch(r"[-−]?\d{1,2}", text):
            request.digits = int(text.replace("−", "-"))
        elif text and not request.outputs and not text.startswith("-"):
            codes = [text] if find_unit(text) else text.replace("+", " ").split()
            request.outputs = codes if _known(codes[0]) else []
            request.extra = "" if request.outputs else text
        elif text:
            request.extra = request.extra or text
    if not request.outputs:
        compound = {"length": ["m"], "mass": ["kg"]}.get(request.unit.kind, [])
        request.outputs = compound if "\x00" in request.amounts[0].shown else []
    if re.fullmatch(r"\d", call.get("sigfig")):
        request.figures = max(1, int(call.get("sigfig")))
    return request


def _known(code: str) -> bool:
    return code in ("ftin", "miydftin") or find_unit(code) is not None


def _number(text: str) -> str:
    return (
        text.replace("&minus;", "-")
        .replace("&nbsp;", " ")
        .replace("⁄", "/")
        .replace("½", "+1/2")
        .strip()
    )


def _compound(arguments: list[str], place: int, request: Request) -> int:
    """Reads ``6|ft|1|in``: one length in two units."""
    pairs = {("ft", "in"): 12, ("yd", "ft"): 3, ("mi", "yd"): 1760, ("lb", "oz"): 16,
             ("st", "lb"): 14,
             ("mi", "ft"): 5280, ("ft", ""): 0, ("mi", "chain"): 80}  # fmt: skip
    if place + 1 >= len(arguments) or request.unit is None or len(request.amounts) != 1:
        return place
    small, unit = read_amount(_number(arguments[place])), find_unit(arguments[place + 1])
    if small is None or unit is None:
        return place
    ratio = pairs.get((request.unit.symbol, unit.symbol))
    if not ratio:
        return place
    first = request.amounts[0]
    value = first.value * ratio + small.value
    shown = f"{first.shown} \x00 {small.shown}"
    request.amounts = [Amount(shown, value, max(0, small.precision), small.denominator)]
    request.joins = [f"{request.unit.symbol}|{request.unit.name}"]
    request.unit = unit
    return place + 2


@template("convert", "cvt", "conv", "convert/sandbox", "unit conversion", "convert2", "c2",
          "convertabbr")  # fmt: skip
def _convert(call: Call) -> str:
    request = _read(call)
    if request is None or request.unit is None:
        return _unread(call)
    abbreviation = call.get("abbr") or ("on" if call.name in ("cvt", "convertabbr") else "out")
    adjective = call.get("adj")
    american = call.get("sp").lower() == "us"
    request.power_in_words = abbreviation == "unit"
    short = abbreviation in ("unit", "on", "in", "y", "yes", "~", "values", "h0")
    spelled = abbreviation in ("off", "in", "none") or call.get("disp") in ("or", "slash", "/")
    flip = "flip" in (call.get("order"), call.get("disp"))
    if call.get("disp") in _BARE:
        return _numbers_only(call, request)
    codes = request.outputs or request.unit.default.split()
    results: list[str] = []
    for code in codes:
        in_words = spelled or (flip and not results and abbreviation == "out")
        if text := _result(call, request, code, in_words, american):
            results.append(text)
    # Flipped, the input stands in brackets and is abbreviated there.
    source = _source_text(request, short or (flip and abbreviation == "out"), adjective, american)
    return _together(call, source, results)


def _numbers_only(call: Call, request: Request) -> str:
    codes = request.outputs or (request.unit.default.split() if request.unit else [])
    numbers = [text for code in codes if (text := _result(call, request, code, False, False))]
    if call.get("disp").startswith("table"):
        source = request.amounts[0].shown.replace("\x00", "+")
        for join, amount in zip(request.joins, request.amounts[1:], strict=False):
            source += _RANGES[join] + amount.shown
        return " || ".join([source, *numbers])
    return "; ".join(numbers)


def _unread(call: Call) -> str:
    """Wikitext of a call that we cannot compute: its number and unit as written."""
    parts = call.positional()
    if not parts:
        return ""
    out = parts[0]
    for part in parts[1:6]:
        if part.strip() in _RANGES:
            out += _RANGES[part.strip()]
            continue
        if re.fullmatch(r"[-−+±]?[\d.,]+", part):
            out += part if not out[-1:].isalnum() else f" {part}"
            continue
        unit = find_unit(part)
        return f"{out} {unit.symbol if unit else unit_markup(part)}"
    return out


def _source_text(request: Request, short: bool, adjective: str, american: bool) -> str:
    unit = request.unit
    assert unit is not None
    written = request.amounts[0]
    if "\x00" in written.shown:
        symbol, name = request.joins[0].split("|")
        whole, _, part = written.shown.partition(" \x00 ")
        big = find_unit(name) or find_unit(symbol)
        if short or big is None:
            return f"{whole} {symbol} {part} {unit.symbol}"
        if adjective == "on":
            return f"{whole}-{big.spelled(True, american)}-{part}-{unit.spelled(True, american)}"
        first = big.spelled(whole == "1", american)
        return f"{whole} {first} {part} {unit.spelled(part == '1', american)}"
    out = written.shown
    for join, amount in zip(request.joins, request.amounts[1:], strict=True):
        out += (" × " if short and join == "x" else _RANGES[join]) + amount.shown
    power = ""
    if unit.power:
        if short and not request.power_in_words:
            power = f"×10<sup>{unit.power}</sup>"
        else:
            power = f"{'-' if adjective == 'on' else ' '}{POWER_NAMES[unit.power]}"
    if short or not unit.name:
        return f"{out}{power}{_gap(unit)}{unit.symbol}"
    if adjective == "mid":
        return f"{out}{power}-{unit.spelled(True, american)}{request.extra}"
    if adjective == "on":
        return f"{out}{power}-{unit.spelled(True, american)}"
    last = abs(request.amounts[-1].value)
    one = (last == 1 and not power and len(request.amounts) == 1) or (
        bool(request.amounts[-1].denominator) and last < 1
    )
    before = f"{request.extra} " if adjective == "pre" and request.extra else ""
    return f"{out}{power} {before}{unit.spelled(one, american)}"


def _gap(unit: Measure) -> str:
    return "" if unit.symbol in ("°", "/km²", "/sq mi", "/ha", "/acre") else " "


def _result(call: Call, request: Request, code: str, spelled: bool, american: bool) -> str:
    unit = request.unit
    assert unit is not None
    if code in ("ftin", "ft in", "miydftin") or (code == "ft" and call.get("frac")):
        return _feet_and_inches(request, unit)
    target = find_unit(code)
    if target is None or target.kind != unit.kind:
        return ""
    values = [converted(amount.value, unit, target) for amount in request.amounts]
    if not all(math.isfinite(value) for value in values):
        return ""
    texts = []
    for amount, value in zip(request.amounts, values, strict=True):
        decimals = _decimals(call, request, amount, value, target)
        step = call.get("round")
        if step in ("5", "10", "25", "50", "100", "500") and unit.kind != "x":
            value, decimals = round_half_up(value / int(step), 0) * int(step), 0
        texts.append(number_text(value, decimals))
    out = texts[0]
    symbol = f"{_gap(target)}{target.symbol}"
    if target.power and request.power_in_words:
        symbol = f" {POWER_NAMES[target.power]}{symbol}"
    elif target.power:
        symbol = f"×10<sup>{target.power}</sup>{symbol}"
    for join, text in zip(request.joins, texts[1:], strict=False):
        # "x" repeats the unit: 16 ft × 33 ft.
        out += (f"{symbol} × " if join in ("x", "*", "×") else _RANGES[join]) + text
    if call.get("disp") in _BARE:
        return out
    # Some symbols are words and take a plural.
    worded = target.symbol in _WORDS and not target.power
    if not target.name or not (spelled or worded):
        return out + symbol
    power = f" {POWER_NAMES[target.power]}" if target.power else ""
    one = len(texts) == 1 and texts[0] == "1"
    return f"{out}{power} {target.spelled(one, american)}"


def _decimals(call: Call, request: Request, amount: Amount, value: float, target: Measure) -> int:
    if request.digits is not None:
        return request.digits
    if request.figures and value:
        return request.figures - 1 - math.floor(math.log10(abs(value)) + 1e-14)
    assert request.unit is not None
    if request.joins and "|" in request.joins[0] and target.kind == "length":
        # Feet and inches tell more than feet alone.
        return max(amount.precision + math.floor(math.log10(target.scale) + 2 + math.log10(2)),
                   1 - math.floor(math.log10(abs(value)) + 1e-14))  # fmt: skip
    return default_precision(amount, amount.value, request.unit, value, target)


def _feet_and_inches(request: Request, unit: Measure) -> str:
    if unit.kind != "length":
        return ""
    texts = []
    for amount in request.amounts:
        inches = amount.value * unit.scale / 0.0254
        if not math.isfinite(inches) or abs(inches) > 1e9:
            return ""
        places = 0 if request.digits is None else max(0, min(request.digits, 3))
        total = round_half_up(abs(inches), places)
        feet, rest = divmod(total, 12)
        texts.append(f"{feet:,.0f} ft {rest:.{places}f} in" if feet else f"{rest:.{places}f} in")
    out = texts[0]
    for join, text in zip(request.joins, texts[1:], strict=False):
        out += _RANGES.get(join, " ") + text
    return out


def _together(call: Call, source: str, results: list[str]) -> str:
    show, order = call.get("disp"), call.get("order")
    if not results:
        return source
    joined = "; ".join(results)
    if show in ("out", "output only"):
        return joined
    if show in ("unit", "unit2", "in", "input only"):
        return source
    if order == "flip" or show == "flip":
        source, joined = results[0], "; ".join([*results[1:], source])
    if show in ("or", "slash", "/", ",", "comma", ":"):
        between = {"or": " or ", "slash": " / ", "/": " / "}.get(show, ", ")
        return f"{source}{between}{joined}"
    if show in ("sqbr", "[]"):
        return f"{source} &#91;{joined}&#93;"
    return f"{source} ({joined})"
