r"""Titles and author lists of metadata records as people write them.

arXiv records are plain text with TeX accents (``Gr\"obner``, ``{\O}bro``); arXiv's own pages show
them as Unicode and leave formulas between dollars as they are, and so does this.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_COMBINING = {
    "`": "\u0300",
    "'": "\u0301",
    "^": "\u0302",
    "~": "\u0303",
    "=": "\u0304",
    "u": "\u0306",
    ".": "\u0307",
    '"': "\u0308",
    "r": "\u030a",
    "H": "\u030b",
    "v": "\u030c",
    "d": "\u0323",
    "c": "\u0327",
    "k": "\u0328",
    "b": "\u0331",
}
_SPECIAL = {
    **{"O": "Ø", "o": "ø", "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ"},
    **{"aa": "å", "AA": "Å", "l": "ł", "L": "Ł", "i": "ı", "j": "ȷ"},
    **{"dh": "ð", "DH": "Ð", "th": "þ", "TH": "Þ", "dj": "đ", "DJ": "Đ"},
}
# An accent that is a letter needs a space or brace after it: \v{S}, \c c.
_ACCENT = re.compile(
    r"\\(?:(?P<mark>[`'^~=.\"])\s*|(?P<letter>[uvHcdbkr])(?=\s|\{|\\)\s*)"
    r"(?:\{\s*(?:\\(?P<dotless>[ij])\s*|(?P<braced>[A-Za-z]))\s*\}"
    r"|\\(?P<bare_dotless>[ij])(?![A-Za-z])\s*|(?P<bare>[A-Za-z]))"
)
_SPECIAL_COMMAND = re.compile(
    rf"\\({'|'.join(sorted(_SPECIAL, key=len, reverse=True))})(?![A-Za-z])(?:\{{\}}|\s*)"
)
_FORMULA = re.compile(r"((?<!\\)\$[^$]{0,300}(?<!\\)\$)")
_QUOTED = re.compile(r"(?:``|'')(.{1,200}?)''")

_INITIALS = re.compile(r"(?:[A-Z]\.[- ]?){1,4}\Z")
_SUFFIX = re.compile(r"(?:jr|sr)\.?\Z|(?:ii|iii|iv)\Z", re.IGNORECASE)
_PARTICLES = frozenset(
    {
        *("de", "del", "della", "den", "der", "des", "di", "do", "dos", "du", "da", "das"),
        *("la", "le", "lo", "van", "von", "vom", "zu", "zur", "zum", "ter", "ten", "al", "el"),
        *("bin", "ibn", "af", "av", "dal", "dalla", "degli"),
    }
)
_CAPITAL_PARTICLES = frozenset(
    {
        *("De", "Del", "Della", "Den", "Der", "Di", "Du", "Da", "Dos", "Dal"),
        *("Van", "Von", "La", "Le", "Lo"),
    }
)
_GROUP = re.compile(
    r"\b(?:collaborations?|consortium|team|working group|survey|project|group|network)\b",
    re.IGNORECASE,
)
_MARKS = re.compile(r"\^\{?[^{}\s,]{1,20}\}?|\$\^[^$]{0,30}\$|[*†‡§¶]|\bet al\b\.?", re.IGNORECASE)


@dataclass(frozen=True)
class Authors:
    """Who wrote a paper.

    Args:
        first: the first author as one says it in a sentence: ``Péter E. Frenkel``,
            ``the Planck Collaboration``.
        cite: how a reference names them: ``Frenkel``, ``Streinu & Theran``, ``Harvey et al.``,
            ``Planck Collaboration``.
        by: the same after "by": ``Streinu and Theran``, ``the Planck Collaboration``.
    """

    first: str
    cite: str
    by: str


def clean_title(raw: str | None) -> str:
    """Returns a title on one line, accents and quotation marks as Unicode, formulas as they are."""
    parts = _FORMULA.split(" ".join((raw or "").split()))
    parts[::2] = [_plain(part) for part in parts[::2]]
    title = " ".join("".join(parts).split())
    title = _QUOTED.sub("“\\1”", title)
    title = re.sub(r'(?<!\S)"([^"]{1,200})"(?!\w)', "“\\1”", title).replace('"', "″")
    if title.endswith(".") and not title.endswith("..") and title.count(".") == 1:
        title = title[:-1]
    return unicodedata.normalize("NFC", title)


def unaccent(text: str) -> str:
    """Returns a text with TeX accents and letters as Unicode."""
    text = _ACCENT.sub(_accented, text)
    return unicodedata.normalize("NFC", _SPECIAL_COMMAND.sub(lambda m: _SPECIAL[m[1]], text))


def _accented(found: re.Match[str]) -> str:
    mark = _COMBINING[found["mark"] or found["letter"]]
    return (found["dotless"] or found["bare_dotless"] or found["braced"] or found["bare"]) + mark


def _plain(text: str) -> str:
    text = unaccent(text)
    text = re.sub(r"\\(?:textit|textbf|emph|it|bf|em|rm|sc|tt|text|mathrm)\b\s*", "", text)
    text = re.sub(r"\\[,;: ]", " ", text)
    text = re.sub(r"\\([&%#_$])", r"\1", text)
    return text.replace("~", " ").replace("{", "").replace("}", "")


def read_authors(raw: str | list[str] | None) -> Authors | None:
    """Returns the authors of a record, or None where none can be read.

    Args:
        raw: arXiv's field (``A. Uthor, B. Uthor (Univ. X) and C. Uthor``), or names one by one.
    """
    names = [str(name) for name in raw] if isinstance(raw, list) else _split(raw or "")
    names = [name for name in map(_tidy, names) if sum(c.isalpha() for c in name) > 1]
    if not names or len(names[0]) > 80:
        return None
    others = bool(re.search(r"\bet\s+al\b", raw)) if isinstance(raw, str) else False
    first = names[0]
    if _GROUP.search(first):
        group = re.sub(r"^[Tt]he ", "", first)
        return Authors(f"the {group}", group, f"the {group}")
    surnames = [_surname(name) for name in names[:2]]
    count = len(names) + (2 if others else 0)
    grouped = len(names) > 1 and _GROUP.search(names[1]) is not None
    if count == 2 and not grouped:
        return Authors(first, " & ".join(surnames), " and ".join(surnames))
    cite = surnames[0] if count == 1 else f"{surnames[0]} et al."
    return Authors(first, cite, cite)


def _split(raw: str) -> list[str]:
    text = _without_brackets(" ".join(unaccent(raw).replace("~", " ").split()))
    # "The BABAR Collaboration: B. Aubert, ...", "A. Uthor for the X Collaboration"
    text = re.sub(r":\s", ", ", text)
    text = re.sub(
        r",?\s(?:for|on behalf of)\s(?:the\s)?[^,]*\b(?:collaborations?|team|group)\b",
        "",
        text,
        flags=re.I,
    )
    text = _MARKS.sub("", text)
    names = [n.strip() for n in re.split(r"\s*[,;]\s*(?:and\s|&\s)?|\s+(?:and|&)\s+", text)]
    names = [name for name in names if name]
    joined: list[str] = []
    for name in names:
        if joined and _SUFFIX.match(name):
            joined[-1] = f"{joined[-1]} {name}"
        else:
            joined.append(name)
    # "Doe, J., Smith, K. L.": every second piece is initials.
    if len(joined) > 1 and all(_INITIALS.match(name) for name in joined[1::2]):
        turned = [f"{b} {a}" for a, b in zip(joined[::2], joined[1::2], strict=False)]
        return turned + joined[len(turned) * 2 :]
    return joined


def _without_brackets(text: str) -> str:
    """Returns a text without its bracketed parts (affiliations), which may nest."""
    kept, depth = [], 0
    for character in text:
        if character in "([":
            depth += 1
        elif character in ")]":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(character)
    return "".join(kept)


def _tidy(name: str) -> str:
    name = unaccent(name).replace("{", "").replace("}", "").replace("\\", "")
    # J.P.Hague and A.A. Serga; not the H.E.S.S. Collaboration
    if not _GROUP.search(name):
        name = re.sub(r"\b([A-Z][a-z]?)\.(?=[^\W\d_])", r"\1. ", name)
    return " ".join(name.split()).strip(" ,;:-")


def _surname(name: str) -> str:
    words = name.split()
    end = len(words)
    while end > 1 and _SUFFIX.match(words[end - 1]):
        end -= 1
    start = end - 1
    while start > 0 and (
        words[start - 1] in _PARTICLES or (start > 1 and words[start - 1] in _CAPITAL_PARTICLES)
    ):
        start -= 1
    if start == 0:
        # "El Ghoul" alone is a surname; "de Marrais" with nothing before it, too.
        return " ".join(words[:end])
    return " ".join(words[start:end])
