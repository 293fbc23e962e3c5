"""Numbers: ``{{val}}`` and its relatives, powers of ten, sort keys, ordinals."""

from __future__ import annotations

import re

from corpus.wikitext.page import Call, template

_NUMBER = re.compile(r"([-+−±]?)(\d[\d,\s]*\.?\d*|\.\d+)(\(\d+\))?(?:e([-+−]?\d+))?", re.IGNORECASE)
_POWER = re.compile(r"(?<=[A-Za-zÅΩμµ°])([-−]?\d+)$")
_NO_SPACE = ("°", "′", "″", "%", "‰", "'", '"')

# Names of ``{{val}}``'s unit list that are not what is shown.
UNITS = {
    "deg": "°", "degree": "°", "degrees": "°", "arcmin": "′", "arcminute": "′", "arcsec": "″",
    "arcsecond": "″", "arcseconds": "″", "percent": "%", "%": "%", "degc": "°C", "degf": "°F",
    "celsius": "°C", "ohm": "Ω", "micron": "μm", "um": "μm", "μm": "μm", "us": "μs", "ug": "μg",
    "angstrom": "Å", "solar mass": "M<sub>☉</sub>", "msol": "M<sub>☉</sub>",
    "solar radius": "R<sub>☉</sub>", "solar luminosity": "L<sub>☉</sub>",
    "solar metallicity": "Z<sub>☉</sub>", "earth mass": "M<sub>⊕</sub>",
    "earth radius": "R<sub>⊕</sub>", "jupiter mass": "M<sub>J</sub>",
    "jupiter radius": "R<sub>J</sub>", "julian year": "a", "plusmn": "±",
    "ev/c2": "eV/c<sup>2</sup>", "jovian mass": "M<sub>J</sub>", "lunar mass": "M<sub>L</sub>",
    "au": "AU", "astronomical unit": "au", "light-year": "light-years", "lightyear": "ly",
    "dimensionless": "",
}  # fmt: skip


def power_of_ten(exponent: str) -> str:
    """Returns ``×10ⁿ`` as wikitext."""
    return f"×10<sup>{exponent.replace('-', '−').lstrip('+')}</sup>"


def unit_markup(unit: str) -> str:
    """Returns a unit code as wikitext: ``m.s-2`` to m⋅s⁻², ``g/cm3`` to g/cm³."""
    plain = unit.strip()
    known = UNITS.get(plain.lower())
    if known is not None:
        return known
    if "<" in plain or "[[" in plain or "''" in plain or "\x7f" in plain:
        return plain
    if plain in ("H2O", "CO2") or len(plain) > 40:
        return plain
    parts = re.split(r"([./*⋅· ])", plain)
    shown = []
    for part in parts:
        if part in ("*", "·", "⋅") or (part == "." and len(parts) > 2):
            shown.append("⋅")
        else:
            part = UNITS.get(part.lower(), part) if part not in ("us",) else "μs"
            shown.append(_POWER.sub(lambda m: f"<sup>{m[1].replace('-', '−')}</sup>", part))
    return "".join(shown)


def with_unit(number: str, unit: str) -> str:
    """Puts a unit after a number, with the space that it takes."""
    if not unit:
        return number
    return number + ("" if unit.startswith(_NO_SPACE) and not unit.startswith("°C") else " ") + unit


def grouped(number: str, fmt: str) -> str:
    """Returns a number written with commas where the format asks for them."""
    digits = number.replace(",", "") if fmt in ("none", "gaps", "") else number
    digits = digits.replace("-", "−").replace(" ", "")
    if fmt != "commas":
        return digits
    match = re.fullmatch(r"([−+±]?)(\d+)(.*)", digits.replace(",", ""))
    if not match or len(match[2]) > 400:
        return digits
    return f"{match[1]}{int(match[2]):,}{match[3]}" if len(match[2]) > 3 else digits


def _uncertainty(call: Call, first: int, fmt: str) -> tuple[str, str]:
    """The uncertainty as shown, and its own exponent mark if it is in brackets."""
    up, down = call.get(first), call.get(first + 1)
    up = _leaf(up, fmt)
    down = _leaf(down, fmt)
    end = call.get("errend")
    if up and down:
        return (
            f"{_signed(up, '+')}{call.get('+errend')}{_signed(down, '−')}{call.get('-errend')}",
            "two",
        )
    if not up:
        return "", ""
    if up.startswith("(") and up.endswith(")"):
        return f"{up}{end}", "bracket"
    return f"±{up.lstrip('±+')}{end}", "one"


def _leaf(text: str, fmt: str) -> str:
    return grouped(text, fmt) if text else ""


def _signed(text: str, sign: str) -> str:
    return sign + text.lstrip("+-−")


@template("val", "value", "val2", "valu", "physconst val")
def _val(call: Call) -> str:
    fmt = call.get("fmt")
    number, second, ranged = call.get(1), 2, ""
    separators = {"-": "–", "–": "–", "to": " to ", "x": "×", "*": "×", "×": "×", "/": "/",
                  ",": ", ",
                  "by": " by ", "and": " and ", "or": " or ",
                  "to about": " to about ", ";": "; "}  # fmt: skip
    if call.get(2).lower() in separators and call.get(3):
        ranged = separators[call.get(2).lower()] + grouped(call.get(3), fmt)
        second = 4
    exponent = call.first("e", "10^")
    plain = number.replace("&minus;", "−").replace("&nbsp;", "")
    match = _NUMBER.fullmatch(plain) if len(plain) <= 100 else None
    shown, bracket = number, ""
    if match:
        shown = grouped(match[1] + match[2], fmt)
        bracket = match[3] or ""
        exponent = exponent or (match[4] or "")
    error, kind = _uncertainty(call, second, fmt) if not bracket else (bracket, "bracket")
    shown = shown + call.get("end") + ranged + error
    power = power_of_ten(exponent) if exponent else ""
    if power:
        shown = f"({shown})" if kind in ("one", "two") else shown
        shown = power.lstrip("×") if not shown else shown + power
    unit = unit_markup(call.first("ul", "u"))
    per = call.first("upl", "up")
    if per:
        bottom = unit_markup(per)
        unit += f"/({bottom})" if "⋅" in bottom else f"/{bottom}"
    prefix = call.first("p", "pre", "prefix")
    suffix = call.first("s", "suf", "suffix")
    if unit.startswith(("°", "′", "″", "%")) and kind in ("one", "two") and not power:
        shown = f"{shown}" if unit == "%" else shown
    return prefix + with_unit(shown, unit) + suffix


@template("e", "esp", "e-sp", "×10^", "x10^", "times10^", "scinote", "10e")
def _times_power(call: Call) -> str:
    return power_of_ten(call.get(1)) if call.get(1) else ""


@template("10^", "10^x", "tenpow", "pow10")
def _power(call: Call) -> str:
    return f"10<sup>{call.get(1).replace('-', '−')}</sup>"


@template("gaps", "digits", "gap2")
def _gaps(call: Call) -> str:
    text = "".join(call.positional())
    if call.get("e"):
        text += power_of_ten(call.get("e"))
    return call.get("lhs") + text + (f" {call.get('u')}" if call.get("u") else "")


@template("nts", "number table sorting", "ntsp", "formatnum2", "format number", "num", "number",
          "commas", "formatted number", "fnt", "nmbr", "formatnum")  # fmt: skip
def _number(call: Call) -> str:
    text = call.first(1)
    match = re.fullmatch(r"([-−+]?)(\d{4,300})((?:\.\d+)?)", text)
    shown = f"{match[1]}{int(match[2]):,}{match[3]}" if match else text
    return call.get("prefix") + shown.replace("-", "−") + call.get("suffix")


@template("ntsh", "hs", "hidden sort key", "sortkey", "sort key", "sk", "hidsort", "sdash sort",
          "number table sorting hidden", "display none", "hsk", "nosort")  # fmt: skip
def _hidden_key(call: Call) -> str:
    return ""


@template("sdash", "en dash cell", "emdash cell", "dash cell", "abbr dash", "snd cell")
def _dash(call: Call) -> str:
    return "—"


@template("round", "rnd", "decimals", "rounddown", "precision1")
def _round(call: Call) -> str:
    from corpus.wikitext.arithmetic import evaluate, round_half_up

    value = evaluate(call.value(1).replace(",", ""))
    digits = call.get(2, "0").replace("−", "-")
    if value is None or not re.fullmatch(r"-?\d{1,2}", digits):
        return call.get(1)
    places = int(digits)
    return f"{round_half_up(value, places):,.{max(0, places)}f}".replace("-", "−")


@template("ordinal", "ord", "nth")
def _ordinal(call: Call) -> str:
    text = call.get(1).replace(",", "")
    if not text.isdecimal() or len(text) > 12:
        return text
    tail = (
        "th"
        if text[-2:] in ("11", "12", "13")
        else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")
    )
    return f"{int(text):,}{tail}"


@template("bartable", "bar percent", "percent bar", "barpercent")
def _bar(call: Call) -> str:
    return f"{call.get(1)}{call.get(2)}" if call.name == "bartable" else f"{call.get(1)}%"


@template("percent", "percentage", "pct", "percent and number")
def _percent(call: Call) -> str:
    from corpus.wikitext.arithmetic import evaluate, round_half_up

    value = evaluate(f"100*({call.value(1)})/({call.value(2)})".replace(",", ""))
    digits = call.get(3, "0")
    places = int(digits) if re.fullmatch(r"\d", digits) else 0
    if value is None:
        return f"{call.get(1)}%" if call.get(1) and not call.get(2) else ""
    return f"{round_half_up(value, places):.{places}f}%"


@template("gcd", "rational", "binom", "ratio", "ratio2")
def _ratio(call: Call) -> str:
    if call.name == "binom":
        return f"C({call.get(1)}, {call.get(2)})"
    return ":".join(part for part in call.positional() if part)


@template("roman", "rn")
def _roman(call: Call) -> str:
    text = call.get(1)
    if not text.isdecimal() or not 0 < int(text[:6]) < 4000:
        return text
    number, out = int(text), ""
    for value, sign in ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
                        (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"),
                        (1, "I")):  # fmt: skip
        out += sign * (number // value)
        number %= value
    return out
