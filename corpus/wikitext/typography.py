"""Signs, fractions, roots, brackets and the other templates of mathematics and typesetting."""

from __future__ import annotations

import re

from corpus.wikitext.extension import tex
from corpus.wikitext.inline import INVISIBLE_PLUS
from corpus.wikitext.page import REGISTRY, Call, template
from corpus.wikitext.wordlists import names

_SIGNS = {
    " – ": (
        "snd, spnd, spaced ndash, spaced en dash, dash, sndash, spacedendash, spndash, en "
        "dash spaced, snds"
    ),
    "–": "ndash, en dash, nsndns, endash, –",
    " — ": "mdashs, spaced mdash, smd, smdash",
    "—": "mdash, em dash, emdash, mdashb, —, dashdash",
    " ": (
        "nbsp, space, spaces, spc, thinsp, thin space, hairsp, hair space, nnbsp, figure "
        "space, ensp, emsp, indent, zwsp, sp, in5 space, gap, pad, quad, padding, thinspace, "
        "0ws, tab"
    ),
    "": (
        "zwj, zwnj, shy, wbr, zwsp, wj sign, lrm, rlm, zero width joiner, word joiner, ic, "
        "italics correction, br0, nowrap begin, nowrap end, wrap begin, wrap end, "
        "nowrapbegin, nowrapend, nw, hyphenation point, visible zero"
    ),
    "'": "', apostrophe, \\', as, 's mark, singlequote",
    '"': '", quote sign',
    "'\"": "'-\", ' \", '\", singledouble",
    "\"'": "\"-', \" ', \"', doublesingle",
    "'s": "'s, apostrophe s",
    " · ": "·, middot, dot, dotsep, spaced middot, i·, ⋅ spaced, ∙",
    " • ": "•, bull, bullet, •w",
    "…": "ellipsis, ..., …",
    "*": "asterisk, *",
    "−": "minus, −, minus sign",
    "×": "times, x, ×, multiplication sign",
    "±": "pm, ±, plus-minus, +-, plusminus, plus minus",
    "′": "prime, ′",
    "″": "pprime, ″, double prime",
    "°": "degree, deg, degrees, °",
    "ʻ": "okina, ʻ, ‘okina",
    "ʿ": "ayin, ain",
    "ʾ": "hamza, aleph",
    "π": "pi, π",
    "φ": "phi",
    "τ": "tau",
    "∞": "infty, infinity",
    "→": "→, r-arrow, rightarrow",
    "♯": "sharp, music sharp",
    "♭": "flat, music flat",
    "†": "dagger, †",
    "‡": "double dagger, ddagger, double-dagger, ‡",
    "§": "section sign, sect",
    "[": "lbrack, bracket left, (sq",
    "]": "rbrack, bracket right",
    "/": "slash, \\, /",
    " / ": "spaces slash, spaced slash",
    "↑": "up, increase sign, ↑",
    "☉": "sun symbol, sun, solar symbol",
    "⊕": "earth symbol, ⊕",
    "▲": "increase, gain, up-arrow, positive increase",
    "▼": "decrease, loss, down-arrow, negative decrease",
    "c/o": "c/o sign",
    "ʹ": "prime letter",
    "#": "number sign, hash-tag, hash",
    "~": "tilde, swungdash",
    "€": "euro sign",
}
_SIGN_OF = {name: sign for sign, written in _SIGNS.items() for name in names(written)}


_PLUS_MINUS = ("pm", "±", "plus-minus", "plusminus", "+-", "plus minus")


def _sign(call: Call) -> str:
    if call.name == '"' and call.get(1):
        return f'"{call.get(1)}"'
    if call.name in _PLUS_MINUS and call.get(1):
        return f"+{call.get(1)}/−{call.get(2)}" if call.get(2) else f"±{call.get(1)}"
    sign = _SIGN_OF[call.name]
    # An apostrophe beside italics must not be counted with their marks.
    return call.page.keep(sign) if "'" in sign else sign


for _name in _SIGN_OF:
    REGISTRY[_name] = _sign
# A comma separates the names above.
REGISTRY[","] = lambda call: " · "
REGISTRY["nbhyph"] = REGISTRY["nbh"] = lambda call: "-"
REGISTRY["pipe"] = lambda call: call.page.keep("|")
REGISTRY["\\"] = lambda call: " / "
REGISTRY["cent"] = lambda call: f"{call.get(1)}¢"

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν",
    "xi": "ξ", "omicron": "ο", "rho": "ρ", "sigma": "σ", "upsilon": "υ", "chi": "χ", "psi": "ψ",
    "omega": "ω",
}  # fmt: skip


@template("greek", "greek letter", "greek letters")
def _greek(call: Call) -> str:
    return _GREEK.get(call.get(1).lower(), call.get(1))


_SIMPLE = re.compile(r"[\w.,∞°′″]+|[−+-]?[\d.,]+|\x7f\d+\x7f|√?\w+")


def _grouped(call: Call, key: int | str) -> str:
    """A numerator or denominator, in brackets where it is a sum or product."""
    text = call.get(key)
    shown = call.value(key)
    return text if _SIMPLE.fullmatch(shown) or not shown else f"({text})"


@template("frac", "fraction", "ifrac", "sfrac", "sfrac2", "tfrac", "dfrac", "cfrac",
          "stack fraction", "fracbar", "intfrac", "sfracn")  # fmt: skip
def _fraction(call: Call) -> str:
    # A number right before a fraction is added to it, as in 2½; inline.unescape sets them apart.
    if call.has(3):
        return f"{INVISIBLE_PLUS}{call.get(1)} {_grouped(call, 2)}/{_grouped(call, 3)}"
    if call.has(2):
        return f"{INVISIBLE_PLUS}{_grouped(call, 1)}/{_grouped(call, 2)}"
    return f"{INVISIBLE_PLUS}1/{_grouped(call, 1)}" if call.get(1) else "⁄"


@template("sqrt", "radic", "root", "radical", "nth root", "surd")
def _root(call: Call) -> str:
    degree = {"2": "", "3": "∛", "4": "∜"}.get(call.get(2), "")
    sign = degree or "√"
    if call.get(2) and not degree and call.get(2) != "2":
        sign = f"<sup>{call.get(2)}</sup>√"
    return sign + _grouped(call, 1)


@template("sup", "superscript", "smallsup", "super", "exp")
def _sup(call: Call) -> str:
    if call.name == "exp":
        return (
            f"e<sup>{call.get(1)}</sup>"
            if not call.get(2)
            else f"{call.get(1)}<sup>{call.get(2)}</sup>"
        )
    return f"<sup>{call.get(1)}</sup>" if call.get(1) else ""


@template("sub", "subscript", "smallsub")
def _sub(call: Call) -> str:
    return f"<sub>{call.get(1)}</sub>" if call.get(1) else ""


@template("su", "subsup", "sup sub", "subsuper", "sup-sub", "supsub")
def _sub_and_sup(call: Call) -> str:
    if call.name == "su":
        up, down, base = call.first("p", 1), call.first("b", 2), ""
    elif call.name in ("supsub", "sup sub", "sup-sub"):
        base, up, down = "", call.get(1), call.get(2)
    else:
        base, down, up = call.get(1), call.get(2), call.get(3)
    signs = ("+", "-", "−")
    if up.startswith(signs) and down.startswith(signs) and len(up) > 1 and len(down) > 1:
        # Two-sided uncertainties, not powers.
        return f"{up}/{down}"
    return base + (f"<sub>{down}</sub>" if down else "") + (f"<sup>{up}</sup>" if up else "")


@template("overline", "overbar", "ol")
def _overline(call: Call) -> str:
    text = call.get(1)
    return text + "\u0305" if len(text) == 1 else text


@template("vec", "vector", "hat", "math hat", "circumflex", "tilde over", "math tilde")
def _accent(call: Call) -> str:
    accent = {"v": "\u20d7", "h": "\u0302", "m": "\u0302", "c": "\u0302"}.get(
        call.name[0], "\u0303"
    )
    text = call.get(1)
    return text + accent if len(call.value(1)) == 1 else text


@template("abs", "norm", "mabs", "mset", "set", "floor", "ceil", "angbr", "angle bracket",
          "chevrons", "angbracket", "bra", "ket", "bra-ket", "braket", "bracks", "brackets",
          "paren", "parentheses", "bigparen", "sqbrackets", "angle brackets", "angbr ipa",
          "delim", "mbraket", "curly brackets", "set builder")  # fmt: skip
def _bracketed(call: Call) -> str:
    text = call.get(1)
    if call.name in ("bra-ket", "braket"):
        text = "|".join(part for part in (call.get(1), call.get(2), call.get(3)) if part)
        if call.get(1) in ("bra", "ket"):
            return _pair(call, "⟨" if call.get(1) == "bra" else "|", call.get(2),
                         "|" if call.get(1) == "bra" else "⟩")  # fmt: skip
    left, right = _PAIRS.get(call.name, ("⟨", "⟩"))
    return _pair(call, left, text, right)


def _pair(call: Call, left: str, text: str, right: str) -> str:
    # A bar or a brace of text must not read as markup later.
    return call.page.keep(left) + text.replace("|", call.page.keep("|")) + call.page.keep(right)


_PAIRS = {
    "abs": ("|", "|"), "mabs": ("|", "|"), "norm": ("‖", "‖"), "mset": ("{", "}"),
    "set": ("{", "}"), "floor": ("⌊", "⌋"), "ceil": ("⌈", "⌉"), "bra": ("⟨", "|"),
    "ket": ("|", "⟩"), "bracks": ("[", "]"), "brackets": ("[", "]"), "sqbrackets": ("[", "]"),
    "curly brackets": ("{", "}"),
}  # fmt: skip


@template("tmath", "nobr math", "mathtext", "texmath", "bigmath tex", "math-inline")
def _tex_math(call: Call) -> str:
    return call.page.keep(tex(call.page.settle(call.get(1))), "math") if call.get(1) else ""


@template("numblk", "equationblock", "numbered block", "num blk", "equation", "equation box 1",
          "equation box 2", "nb5", "equation block", "bigeq")  # fmt: skip
def _numbered(call: Call) -> str:
    if call.has("equation") or call.name.startswith("equation box"):
        return f"\n\n:{call.get('equation')}\n\n"
    body = call.get(2).lstrip(":; ") if call.get(1).strip(":; ") == "" else call.get(1)
    label = re.sub(r"[()*']|<[^<>]*>", "", call.value(3)).strip()
    if not body:
        return ""
    formula = re.fullmatch(r"\x7f(\d+)\x7f\s*([.,;:]?)", body)
    if label and formula and call.page.finals[int(formula[1])].kind in ("math", "display"):
        text = call.page.finals[int(formula[1])].text + formula[2]
        tagged = call.page.keep(f"{text} \\tag{{{label}}}", "display")
        return f"\n\n{tagged}\n\n"
    return (
        f"\n\n:{body}\n\n" if not label else f"\n\n:{body}{call.page.keep(' (' + label + ')')}\n\n"
    )


@template("equationref", "equationnote", "eqref", "eqnref", "equation note")
def _equation_label(call: Call) -> str:
    return f"({call.first(2, 1).strip('()')})" if call.first(2, 1) else ""


@template("eqn", "math proof", "math theorem", "proof", "theorem", "math example",
          "proof box")  # fmt: skip
def _theorem(call: Call) -> str:
    text = call.first("statement", "proof", "math_statement", "example", 1)
    name = call.first("name", "title")
    return f"\n\n{name + '. ' if name else ''}{text}\n\n" if text else ""


@template("underset", "overset", "overset2", "stack fraction2", "underbrace", "overbrace")
def _stacked(call: Call) -> str:
    accent = _ACCENTS.get(call.get(1)) if call.name == "overset" else None
    if accent and len(call.value(2)) == 1:
        return call.value(2) + accent
    return call.first(2, 1)


_ACCENTS = {
    ".": "\u0307",
    "·": "\u0307",
    "..": "\u0308",
    "~": "\u0303",
    "^": "\u0302",
    "→": "\u20d7",
}


@template("music", "musical note")
def _music(call: Call) -> str:
    names = {"sharp": "♯", "flat": "♭", "natural": "♮", "b": "♭", "#": "♯"}
    return names.get(call.get(1).lower(), "")


@template("unichar", "u+")
def _character(call: Call) -> str:
    code = call.get(1).upper().removeprefix("U+")
    name = call.get(2)
    if not re.fullmatch(r"[0-9A-F]{2,6}", code) or int(code, 16) > 0x10FFFF:
        return name
    value = int(code, 16)
    shown = chr(value) if value > 0x20 and not 0xD800 <= value < 0xE000 and value != 0x7F else ""
    kept = call.page.keep(shown) + " " if shown else ""
    return f"U+{code} {kept}{name.upper()}".strip()


@template("char", "'char")
def _char(call: Call) -> str:
    return call.page.keep(call.get(1)) if call.get(1) else ""


@template("integral", "intmath", "sum", "prod")
def _integral(call: Call) -> str:
    sign = {"sum": "∑", "prod": "∏"}.get(call.name, "∫")
    if call.get(1) not in ("int", ""):
        sign = {"sum": "∑", "oint": "∮", "prod": "∏", "iint": "∬"}.get(call.get(1), sign)
    down, up = call.get(2), call.get(3)
    return sign + (f"<sub>{down}</sub>" if down else "") + (f"<sup>{up}</sup>" if up else "") + " "
