"""Templates of astronomy articles: solar and planetary units, positions, designations."""

from __future__ import annotations

import re

from corpus.wikitext.numbers import with_unit
from corpus.wikitext.page import REGISTRY, Call, template
from corpus.wikitext.wordlists import names

_UNITS = {
    "M<sub>☉</sub>": "solar mass, solarmass, solar masses, msun, m☉, msol",
    "R<sub>☉</sub>": "solar radius, solarradius, solar radii, rsun, r☉",
    "L<sub>☉</sub>": "solar luminosity, solarluminosity, lsun, l☉",
    "Z<sub>☉</sub>": "solar metallicity",
    "M<sub>⊕</sub>": "earth mass, earthmass, earth masses, m⊕, terran mass",
    "R<sub>⊕</sub>": "earth radius, earthradius, earth radii, r⊕",
    "M<sub>J</sub>": "jupiter mass, jupitermass, jovian mass, mjup, mj",
    "R<sub>J</sub>": "jupiter radius, jupiterradius, jovian radius, rjup, rj",
    "M<sub>☾</sub>": "lunar mass, moon mass",
    "L<sub>⊕</sub>": "earth luminosity",
    "au": "au, astronomical unit",
    "mas": "mas",
    "M<sub>♆</sub>": "neptune mass",
    "M<sub>S</sub>": "saturn mass",
    "LD": "lunar distance",
}
_UNIT_OF = {name: unit for unit, written in _UNITS.items() for name in names(written)}


def _unit(call: Call) -> str:
    unit = _UNIT_OF[call.name]
    number = call.get(1)
    return (
        with_unit(number, unit)
        if number and number[-1:].isalnum() and number[0] not in "lny"
        else unit
    )


for _name in _UNIT_OF:
    REGISTRY[_name] = _unit


@template("ra", "right ascension", "hms2", "deg2hms text")
def _right_ascension(call: Call) -> str:
    marks = ("h", "m", "s")
    return " ".join(
        f"{part}{mark}" for part, mark in zip(call.positional(), marks, strict=False) if part
    )


@template("dec", "declination", "dms", "angle dms")
def _declination(call: Call) -> str:
    marks = ("°", "′", "″")
    parts = [f"{part}{mark}" for part, mark in zip(call.positional(), marks, strict=False) if part]
    return " ".join(parts).replace("-", "−", 1)


@template("deg2dms", "deg2hms", "decdeg", "deg2dms2")
def _degrees(call: Call) -> str:
    text = call.value(1).replace("−", "-")
    if not re.fullmatch(r"-?\d{1,4}(?:\.\d+)?", text):
        return call.get(1)
    value = abs(float(text))
    hours = "hms" in call.name
    total = round(value / (15 if hours else 1) * 3600)
    first, minutes, seconds = total // 3600, total // 60 % 60, total % 60
    sign = "−" if text.startswith("-") else ""
    if hours:
        return f"{sign}{first}h {minutes}m {seconds}s"
    return f"{sign}{first}° {minutes}′ {seconds}″"


@template("coord", "coordinate", "coords", "geocoord")
def _coordinates(call: Call) -> str:
    if "title" in call.get("display", "inline") and "inline" not in call.get("display"):
        return ""
    parts = [part for part in call.positional() if part and ":" not in part]
    out, numbers = "", 0
    if len(parts) == 2 and not any(part.isalpha() for part in parts):
        return f"{_side(parts[0], 'N', 'S')} {_side(parts[1], 'E', 'W')}"
    for part in parts[:8]:
        if part in ("N", "S", "E", "W"):
            out += f"{part} "
            numbers = 0
        elif re.fullmatch(r"[-−+]?[\d.]+", part) and numbers < 3:
            out += part + "°′″"[numbers]
            numbers += 1
    return out.strip()


def _side(number: str, positive: str, negative: str) -> str:
    digits = number.lstrip("+-−")
    return f"{digits}°{negative if number[:1] in '-−' else positive}"


@template("mpl", "mp", "mpl2", "mp2", "mpl*", "mpf", "minor planet designation")
def _provisional(call: Call) -> str:
    low = call.get(2)
    return call.get(1) + (f"<sub>{low}</sub>" if low else "")


@template("mpl-", "mp-", "mpl-2")
def _numbered_provisional(call: Call) -> str:
    if call.has(3):
        return f"({call.get(1)}) {call.get(2)}<sub>{call.get(3)}</sub>"
    return f"({call.get(1)}) {call.get(2)}" if call.has(2) else call.get(1)


@template("lomp", "lomp2")
def _listed(call: Call) -> str:
    return call.first(2, 1)


@template("minor planet", "minor planet link", "mplink", "asteroid", "dp", "dwarf planet",
          "minor-planet", "mpname", "smallbody")  # fmt: skip
def _minor_planet(call: Call) -> str:
    return " ".join(part for part in call.positional()[:2] if part)


@template("mpc", "beltsbox", "mpcit", "mpcit jpl", "mpcref", "jplref", "wikisky", "look from",
          "starbox begin", "starbox end", "starcat", "sky2", "star nav", "mpo", "mpml",
          "minorplanets navigator", "minor planets navigator", "pbb", "galaxyzoo", "star symbol",
          "planetary radius", "planet radius", "orbital elements source", "hubble link",
          "exoplanet arch", "nasa exoplanet archive", "epe", "epa")  # fmt: skip
def _nothing(call: Call) -> str:
    return ""


_PLANETS = {
    "sun": "☉", "mercury": "☿", "venus": "♀", "earth": "🜨", "mars": "♂", "jupiter": "♃",
    "saturn": "♄", "uranus": "⛢", "neptune": "♆", "moon": "☾", "pluto": "♇", "ceres": "⚳",
    "aries": "♈", "taurus": "♉",
}  # fmt: skip


@template("planetary symbol", "planet symbol", "astronomical symbol")
def _symbol(call: Call) -> str:
    return _PLANETS.get(call.get(1).lower(), "")


@template("spectral type", "spectral", "star class", "stellar class")
def _spectral(call: Call) -> str:
    return call.get(1)


@template("lightyear", "ly", "pc", "kpc", "mpc unit", "parsec", "light year", "light-year")
def _distance(call: Call) -> str:
    unit = {"lightyear": "ly", "light year": "ly", "light-year": "ly", "parsec": "pc"}
    return with_unit(call.get(1), unit.get(call.name, call.name))


@template("decimal minutes", "period", "angle", "angular")
def _angle(call: Call) -> str:
    text = call.get(1)
    return f"{text}°" if call.name in ("angle", "angular") and text[-1:].isdigit() else text


@template("fe/h", "metallicity", "feh")
def _metallicity(call: Call) -> str:
    return "[Fe/H]" + (f" = {call.get(1)}" if call.get(1) else "")


@template("apparent magnitude", "absmag", "apmag", "abs mag")
def _magnitude(call: Call) -> str:
    return call.get(1)


@template("ic2", "ngc", "messier", "hd", "hip", "ugc")
def _catalogue(call: Call) -> str:
    names = {"messier": "Messier", "ic2": "IC"}
    return f"{names.get(call.name, call.name.upper())} {call.get(1)}".strip()


@template("solar date", "julian date", "jd", "mjd")
def _julian(call: Call) -> str:
    name = {"julian date": "JD", "solar date": ""}.get(call.name, call.name.upper())
    return f"{name} {call.get(1)}".strip()
