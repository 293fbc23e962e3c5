"""``{{physconst}}``: the constants of nature with their CODATA 2022 values, and short formulas."""

from __future__ import annotations

from corpus.wikitext.numbers import power_of_ten, unit_markup, with_unit
from corpus.wikitext.page import REGISTRY, Call, template

# Symbol, value, power of ten, unit.
_CONSTANTS = {
    "c": ("c", "299792458", "", "m.s-1"),
    "g": ("G", "6.67430(15)", "-11", "m3.kg-1.s-2"),
    "h": ("h", "6.62607015", "-34", "J.Hz-1"),
    "hev": ("h", "4.135667696...", "-15", "eV.Hz-1"),
    "hbar": ("ħ", "1.054571817...", "-34", "J.s"),
    "hbarev": ("ħ", "6.582119569...", "-16", "eV.s"),
    "k": ("k<sub>B</sub>", "1.380649", "-23", "J.K-1"),
    "kev": ("k<sub>B</sub>", "8.617333262...", "-5", "eV.K-1"),
    "e": ("e", "1.602176634", "-19", "C"),
    "na": ("N<sub>A</sub>", "6.02214076", "23", "mol-1"),
    "r": ("R", "8.31446261815324", "", "J.K-1.mol-1"),
    "me": ("m<sub>e</sub>", "9.1093837139(28)", "-31", "kg"),
    "mec2mev": ("m<sub>e</sub>c<sup>2</sup>", "0.51099895069(16)", "", "MeV"),
    "mp": ("m<sub>p</sub>", "1.67262192595(52)", "-27", "kg"),
    "mpc2mev": ("m<sub>p</sub>c<sup>2</sup>", "938.27208943(29)", "", "MeV"),
    "mn": ("m<sub>n</sub>", "1.67492750056(85)", "-27", "kg"),
    "mnc2mev": ("m<sub>n</sub>c<sup>2</sup>", "939.56542194(48)", "", "MeV"),
    "mu": ("m<sub>u</sub>", "1.66053906892(52)", "-27", "kg"),
    "alpha": ("α", "7.2973525643(11)", "-3", ""),
    "alphainv": ("α<sup>−1</sup>", "137.035999177(21)", "", ""),
    "eps0": ("ε<sub>0</sub>", "8.8541878188(14)", "-12", "F.m-1"),
    "mu0": ("μ<sub>0</sub>", "1.25663706127(20)", "-6", "N.A-2"),
    "sigma": ("σ", "5.670374419...", "-8", "W.m-2.K-4"),
    "rinf": ("R<sub>∞</sub>", "10973731.568157(12)", "", "m-1"),
    "a0": ("a<sub>0</sub>", "5.29177210544(82)", "-11", "m"),
    "lp": ("l<sub>P</sub>", "1.616255(18)", "-35", "m"),
    "tp": ("t<sub>P</sub>", "5.391247(60)", "-44", "s"),
    "mpl": ("m<sub>P</sub>", "2.176434(24)", "-8", "kg"),
    "bwien": ("b", "2.897771955...", "-3", "m.K"),
    "f": ("F", "96485.33212...", "", "C.mol-1"),
    "mub": ("μ<sub>B</sub>", "9.2740100657(29)", "-24", "J.T-1"),
    "sigmae": ("σ<sub>e</sub>", "6.6524587051(62)", "-29", "m2"),
    "re": ("r<sub>e</sub>", "2.8179403205(13)", "-15", "m"),
}


@template("physconst", "physical constants")
def _constant(call: Call) -> str:
    known = _CONSTANTS.get(call.get(1).lower())
    if known is None:
        return ""
    symbol, value, power, unit = known
    text = value + (power_of_ten(power) if power else "")
    if call.get("unit") != "no" and unit:
        text = with_unit(text, unit_markup(unit))
    sign = f"{symbol} = " if call.get("symbol") == "yes" else ""
    return f"{sign}{text}{call.get('after')}"


_FORMULAS = {
    "co2": "CO<sub>2</sub>", "h2o": "H<sub>2</sub>O", "ch4": "CH<sub>4</sub>",
    "nh3": "NH<sub>3</sub>", "o2": "O<sub>2</sub>", "n2": "N<sub>2</sub>", "h2": "H<sub>2</sub>",
    "so2": "SO<sub>2</sub>", "o3": "O<sub>3</sub>", "hcl": "HCl", "eqm": "⇌", "equilibrium": "⇌",
    "h+": "H<sup>+</sup>", "oh-": "OH<sup>−</sup>", "usa": "United States", "us": "United States",
    "uk": "United Kingdom", "gbr": "United Kingdom", "fra": "France", "ger": "Germany",
    "deu": "Germany", "jpn": "Japan", "chn": "China", "rus": "Russia", "ind": "India",
    "ussr": "Soviet Union", "urs": "Soviet Union", "can": "Canada", "ita": "Italy",
    "eur": "Europe", "esa": "ESA", "aus": "Australia", "esp": "Spain", "kor": "South Korea",
}  # fmt: skip


def _formula(call: Call) -> str:
    return _FORMULAS[call.name] if not call.get(1) else f"{_FORMULAS[call.name]} {call.get(1)}"


for _name in _FORMULAS:
    REGISTRY.setdefault(_name, _formula)
