"""Handlers of siunitx: pandoc knows its commands in text; in math they are spelled out."""

from __future__ import annotations

import re

from corpus.formats.tex_commands import HANDLERS
from corpus.formats.tex_engine import Engine, Handler

_UNITS = {
    "meter": "m", "metre": "m", "second": "s", "gram": "g", "kelvin": "K", "hertz": "Hz",
    "joule": "J", "watt": "W", "newton": "N", "pascal": "Pa", "electronvolt": "eV", "year": "yr",
    "parsec": "pc", "jansky": "Jy", "arcsecond": "arcsec", "arcminute": "arcmin", "day": "d",
    "hour": "h", "minute": "min", "erg": "erg", "tesla": "T", "gauss": "G", "volt": "V",
    "angstrom": "\\text{Å}", "degree": "^\\circ", "celsius": "^\\circ C", "percent": "\\%",
    "kilo": "k", "mega": "M", "giga": "G", "tera": "T", "milli": "m", "micro": "\\mu ", "nano": "n",
    "centi": "c", "pico": "p", "femto": "f", "hecto": "h", "deci": "d", "squared": "^{2}",
    "cubed": "^{3}", "square": "", "cubic": "", "per": "\\,/\\,", "astronomicalunit": "au",
}  # fmt: skip
_UNIT_WORD = re.compile(r"\\([A-Za-z]+)\s*")


def _unit(text: str) -> str:
    """Returns a siunitx unit for math mode."""
    plain = _UNIT_WORD.sub(lambda m: _UNITS.get(m[1], m[1] + "\\,"), text).replace("~", "\\,")
    return f"\\mathrm{{{plain.strip()}}}" if plain.strip() else ""


def _siunitx(command: str, numbers: int, unit: bool) -> Handler:
    def write(engine: Engine) -> None:
        option = engine.stream.option()
        first = engine.stream.peek()
        if command == "qty" and first in "([|":
            # The package physics: brackets that grow.
            return
        values = [engine.expand(engine.stream.argument(), math=True) for _ in range(numbers)]
        units = engine.stream.argument() if unit and engine.stream.peek() in "{\\" else None
        if units is None and unit:
            engine.emit(
                f"\\left({values[0]}\\right)" if values and engine.math else "".join(values)
            )
        elif engine.math:
            number = re.sub(r"(?<=\d)e(-?\d+)", r"\\times10^{\1}", "\\text{--}".join(values))
            gap = "\\," if values and units else ""
            engine.emit(f"{{{number}{gap}{_unit(units or '')}}}")
        else:
            settings = f"[{option}]" if option else ""
            groups = "".join(f"{{{v}}}" for v in [*values, *([] if units is None else [units])])
            engine.emit(f"\\{command}{settings}{groups}")

    return write


for _command, _numbers, _with_unit in (
    ("SI", 1, True), ("qty", 1, True), ("num", 1, False), ("si", 0, True), ("unit", 0, True),
    ("ang", 1, False), ("SIrange", 2, True), ("qtyrange", 2, True), ("numrange", 2, False),
):  # fmt: skip
    HANDLERS[_command] = _siunitx(_command, _numbers, _with_unit)
