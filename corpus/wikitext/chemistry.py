"""Formulas, nuclides and particles."""

from __future__ import annotations

import re

from corpus.wikitext.extension import tex
from corpus.wikitext.page import Call, template
from corpus.wikitext.wordlists import words

_SYMBOLS = words(
    """
    n H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga
    Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd
    Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac
    Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
    """
)
_NAMES = words(
    """
    neutron hydrogen helium lithium beryllium boron carbon nitrogen oxygen fluorine neon
    sodium magnesium aluminium silicon phosphorus sulfur chlorine argon potassium calcium
    scandium titanium vanadium chromium manganese iron cobalt nickel copper zinc gallium
    germanium arsenic selenium bromine krypton rubidium strontium yttrium zirconium
    niobium molybdenum technetium ruthenium rhodium palladium silver cadmium indium tin
    antimony tellurium iodine xenon caesium barium lanthanum cerium praseodymium neodymium
    promethium samarium europium gadolinium terbium dysprosium holmium erbium thulium
    ytterbium lutetium hafnium tantalum tungsten rhenium osmium iridium platinum gold
    mercury thallium lead bismuth polonium astatine radon francium radium actinium thorium
    protactinium uranium neptunium plutonium americium curium berkelium californium
    einsteinium fermium mendelevium nobelium lawrencium rutherfordium dubnium seaborgium
    bohrium hassium meitnerium darmstadtium roentgenium copernicium nihonium flerovium
    moscovium livermorium tennessine oganesson
    """
)
_NUMBER_OF = {name: number for number, name in enumerate(_NAMES)}
_NUMBER_OF.update({symbol.lower(): number for number, symbol in enumerate(_SYMBOLS) if number})
_NUMBER_OF.update({"aluminum": 13, "cesium": 55, "sulphur": 16, "deuterium": 1, "tritium": 1})

_CHARGE = re.compile(r"\d*[+\-−–]+|[+\-−–]\d*")
_DIGITS = re.compile(r"\d+(?:\.\d+)?|[nxym]|\d*[nxym]?[-−–+]?[nxy\d]*")


def _up(text: str) -> str:
    return f"<sup>{text.replace('-', '−').replace('–', '−')}</sup>" if text else ""


def _down(text: str) -> str:
    return f"<sub>{text}</sub>" if text else ""


@template("chem", "chem1", "chemical formula")
def _chem(call: Call) -> str:
    out, after_text = "", False
    started = 0
    for part in call.positional():
        if not part:
            continue
        if _CHARGE.fullmatch(part) and after_text:
            out += _up(part)
        elif len(part) <= 20 and _DIGITS.fullmatch(part):
            if after_text:
                out += _down(part)
            else:
                # Before the symbol: mass number, then atomic number.
                out += _up(part) if not started else _down(part)
                started += 1
        else:
            out += part
            after_text = True
    return out


_CHEM2 = re.compile(
    r"(?P<arrow><->|<=>|->|<-| ?→ ?)"
    r"|(?P<up>\^\{?(?P<raised>[^{}\s]*)\}?)|(?P<low>_\{?(?P<lowered>[^{}\s]*)\}?)"
    r"|(?P<charge>\((?P<sign>\d{0,3}[+−-])\))|(?P<end>\d{0,3}[+−-](?=$|[\s\])]))"
    r"|(?P<count>(?<=[A-Za-z)\]}])\d+(?:\.\d+)?[−-]?(?:x|n)?)|(?P<star>\*)|(?P<bond>\\[sdt])"
)


@template("chem2")
def _chem2(call: Call) -> str:
    source = call.get(1)
    if "<" in source and ("<sub" in source or "<sup" in source):
        return source

    def shown(match: re.Match[str]) -> str:
        if match["arrow"]:
            arrow = {"->": "→", "<-": "←"}.get(match["arrow"], "⇌")
            return f"{arrow}" if match["arrow"].strip() != "→" else " → "
        if match["up"]:
            return _up(match["raised"])
        if match["low"]:
            return _down(match["lowered"])
        if match["charge"]:
            return _up(match["sign"])
        if match["end"]:
            return _ending(match)
        if match["count"]:
            return _down(match["count"])
        return "·" if match["star"] else {"\\s": "–", "\\d": "=", "\\t": "≡"}[match["bond"]]

    return _CHEM2.sub(shown, source)


def _ending(match: re.Match[str]) -> str:
    """A sign at the end of a formula is its charge; digits before it count atoms."""
    text, start = match["end"], match.start()
    before = match.string[start - 1] if start else " "
    if not (before.isalnum() or before in ")]}"):
        return text
    digits, sign = text[:-1], text[-1]
    return _down(digits) + _up(sign)


def nuclide(symbol: str, mass: str, charge: str, with_number: bool) -> str:
    """Returns a nuclide as wikitext: mass number raised, atomic number lowered, symbol, charge."""
    number = _NUMBER_OF.get(symbol.lower())
    shown = _SYMBOLS[number] if number is not None else symbol
    low = str(number) if with_number and number is not None else ""
    return _up(mass) + _down(low) + shown + _up(charge)


@template("nuclide", "nuclide2", "isotope", "simplenuclide", "simplenuclide2", "simple nuclide",
          "isotopelink", "nuclideref")  # fmt: skip
def _nuclide(call: Call) -> str:
    symbol, mass = call.get(1), call.get(2)
    if symbol.isdecimal() and not mass.isdecimal():
        symbol, mass = mass, symbol
    with_number = call.name in ("nuclide", "nuclide2") and call.get("anum") != "no"
    return nuclide(symbol, mass, call.first(3, "charge"), with_number)


@template("element", "chemical element", "chemelement")
def _element(call: Call) -> str:
    numbers = [part for part in call.positional() if part.isdecimal()]
    names = [part for part in call.positional() if part and not part.isdecimal()]
    if not names:
        return ""
    return (
        _up(numbers[0] if numbers else "")
        + _down(numbers[1] if len(numbers) > 1 else "")
        + names[0]
    )


@template("physics particle", "particle")
def _particle(call: Call) -> str:
    symbol = call.get(1)
    if call.get("anti"):
        symbol += "\u0305"
    left = _up(call.first("tl", "TL")) + _down(call.first("bl", "BL"))
    return left + symbol + _down(call.first("br", "BR")) + _up(call.first("tr", "TR"))


_PARTICLES = {
    "electron": "e<sup>−</sup>", "positron": "e<sup>+</sup>", "antielectron": "e<sup>+</sup>",
    "proton": "p", "proton+": "p<sup>+</sup>", "antiproton": "p̅", "neutron": "n",
    "neutron0": "n<sup>0</sup>", "antineutron": "n̅", "muon": "μ<sup>−</sup>",
    "antimuon": "μ<sup>+</sup>", "tauon": "τ<sup>−</sup>", "tau": "τ<sup>−</sup>",
    "antitauon": "τ<sup>+</sup>", "neutrino": "ν", "antineutrino": "ν̅",
    "electron neutrino": "ν<sub>e</sub>", "electron antineutrino": "ν̅<sub>e</sub>",
    "muon neutrino": "ν<sub>μ</sub>", "muon antineutrino": "ν̅<sub>μ</sub>",
    "tau neutrino": "ν<sub>τ</sub>", "tau antineutrino": "ν̅<sub>τ</sub>",
    "tauon neutrino": "ν<sub>τ</sub>", "photon": "γ", "gamma": "γ", "gluon": "g",
    "graviton": "G", "w boson": "W", "w boson+": "W<sup>+</sup>", "w boson-": "W<sup>−</sup>",
    "w boson+-": "W<sup>±</sup>", "z boson": "Z", "z boson0": "Z<sup>0</sup>",
    "higgs boson": "H", "higgs boson0": "H<sup>0</sup>", "up quark": "u", "down quark": "d",
    "strange quark": "s", "charm quark": "c", "bottom quark": "b", "top quark": "t",
    "up antiquark": "u̅", "down antiquark": "d̅", "strange antiquark": "s̅",
    "charm antiquark": "c̅", "bottom antiquark": "b̅", "top antiquark": "t̅", "quark": "q",
    "antiquark": "q̅", "pion": "π", "pion+": "π<sup>+</sup>", "pion-": "π<sup>−</sup>",
    "pion0": "π<sup>0</sup>", "pion+-": "π<sup>±</sup>", "kaon": "K", "kaon+": "K<sup>+</sup>",
    "kaon-": "K<sup>−</sup>", "kaon0": "K<sup>0</sup>", "antikaon0": "K̅<sup>0</sup>",
    "lambda": "Λ", "lambda0": "Λ<sup>0</sup>", "sigma+": "Σ<sup>+</sup>",
    "sigma0": "Σ<sup>0</sup>", "sigma-": "Σ<sup>−</sup>", "omega-": "Ω<sup>−</sup>",
    "delta++": "Δ<sup>++</sup>", "j/psi": "J/ψ", "eta": "η", "deuteron": "d", "triton": "t",
    "alpha": "α", "beta": "β", "beta-": "β<sup>−</sup>", "beta+": "β<sup>+</sup>",
    "upsilon": "Υ", "axion": "A<sup>0</sup>", "neutralino": "χ̃<sup>0</sup>", "lepton": "ℓ",
    "hydrogen": "H", "helium": "He", "delta": "Δ", "phi": "φ", "rho": "ρ", "d meson": "D",
    "b meson": "B", "x boson": "X", "y boson": "Y",
}  # fmt: skip


@template("subatomicparticle", "subatomic particle", "particle symbol")
def _subatomic(call: Call) -> str:
    name = call.get(1).lower().replace("−", "-").replace("−", "-")
    return _PARTICLES.get(name) or _PARTICLES.get(name.replace(" ", "")) or call.get(1)


@template("e-", "e+", "p+", "p-", "n0", "electron sign")
def _charged(call: Call) -> str:
    return f"{call.name[0]}<sup>{call.name[1].replace('-', '−')}</sup>"


@template("mhchem", "chem math", "ce math", "mchem", "\\ce")
def _mhchem(call: Call) -> str:
    return call.page.keep(f"\\ce{{{tex(call.get(1))}}}", "math") if call.get(1) else ""


@template("smiles", "inchi", "chembox element", "cas2", "hgnc", "ghs phrases", "hphrase",
          "pphrase")  # fmt: skip
def _codes(call: Call) -> str:
    return call.get(1) if call.name in ("smiles",) else ""
