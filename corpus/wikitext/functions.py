"""Parser functions and magic words, as far as articles use them in their text."""

from __future__ import annotations

import re
from collections.abc import Callable

from corpus.wikitext.arithmetic import evaluate
from corpus.wikitext.page import Page
from corpus.wikitext.scan import Node
from corpus.wikitext.wordlists import words

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class _Arguments:
    """Parts after the function's name, expanded when asked for."""

    def __init__(self, first: str, parts: list[list[Node]], page: Page) -> None:
        self.first, self.page, self._parts = first.strip(), page, parts[1:]

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: int) -> str:
        if number >= len(self._parts):
            return ""
        return self.page.expand(self._parts[number], self.page).strip()


def _if(a: _Arguments) -> str:
    return a[0] if a.first else a[1]


def _ifeq(a: _Arguments) -> str:
    left, right = a.first, a[0]
    same = left == right
    if not same and _NUMBER.fullmatch(left) and _NUMBER.fullmatch(right):
        same = float(left) == float(right)
    return a[1] if same else a[2]


def _ifexpr(a: _Arguments) -> str:
    value = evaluate(a.first)
    return a[0] if value else a[1]


def _iferror(a: _Arguments) -> str:
    if 'class="error"' in a.first:
        return a[0]
    return a[1] if len(a) > 1 else a.first


def _expr(a: _Arguments) -> str:
    value = evaluate(a.first)
    # What #iferror looks for; the tag itself shows nothing.
    return '<strong class="error"></strong>' if value is None else f"{value:.12g}"


def _switch(a: _Arguments) -> str:
    default, falling = "", False
    for number in range(len(a)):
        case, equals, result = a[number].partition("=")
        case = case.strip()
        if not equals:
            # A case without a result shares the next one's; the last one is the default.
            if number == len(a) - 1:
                return case
            falling = falling or case == a.first
        elif falling or case == a.first:
            return result.strip()
        elif case == "#default":
            default = result.strip()
    return default


def _formatnum(a: _Arguments) -> str:
    text = a.first
    if a[0].upper() in ("R", "NOSEP"):
        return text.replace(",", "") if a[0].upper() == "R" else text
    match = re.fullmatch(r"([-−]?)(\d+)((?:\.\d+)?)", text)
    return f"{match[1]}{int(match[2]):,}{match[3]}" if match and len(match[2]) < 400 else text


def _tag(a: _Arguments) -> str:
    name = a.first.lower()
    if name in ("math", "chem", "ce") and a[0]:
        return a.page.keep(a[0] if name == "math" else f"\\ce{{{a[0]}}}", "math")
    return ""


def _first_upper(a: _Arguments) -> str:
    return a.first[:1].upper() + a.first[1:]


def _plural(a: _Arguments) -> str:
    return a[0] if a.first in ("1", "-1") else a[1] or a[0]


FUNCTIONS: dict[str, Callable[[_Arguments], str]] = {
    "#if": _if,
    "#ifeq": _ifeq,
    "#ifexpr": _ifexpr,
    "#iferror": _iferror,
    "#ifexist": lambda a: a[0],
    "#switch": _switch,
    "#expr": _expr,
    "#tag": _tag,
    "formatnum": _formatnum,
    "lc": lambda a: a.first.lower(),
    "uc": lambda a: a.first.upper(),
    "lcfirst": lambda a: a.first[:1].lower() + a.first[1:],
    "ucfirst": _first_upper,
    "plural": _plural,
    "#time": lambda a: "",
    "#dateformat": lambda a: a.first,
    "#formatdate": lambda a: a.first,
    "#language": lambda a: "",
    "nowrap": lambda a: a.first,
    "padleft": lambda a: a.first.rjust(_width(a), a[1][:1] or "0"),
    "padright": lambda a: a.first.ljust(_width(a), a[1][:1] or "0"),
    "#invoke": lambda a: _invoke(a),
    "#lst": lambda a: "",
    "#lsth": lambda a: "",
    "#section": lambda a: "",
    "#property": lambda a: "",
    "#statements": lambda a: "",
    "int": lambda a: "",
    "displaytitle": lambda a: "",
    "defaultsort": lambda a: "",
    "defaultsortkey": lambda a: "",
    "defaultcategorysort": lambda a: "",
    "#related": lambda a: "",
    "#coordinates": lambda a: "",
    "fullurl": lambda a: "",
    "canonicalurl": lambda a: "",
    "localurl": lambda a: "",
    "filepath": lambda a: "",
    "urlencode": lambda a: a.first,
    "anchorencode": lambda a: a.first,
    "ns": lambda a: a.first,
    "fullpagename": lambda a: a.first,
    "pagename": lambda a: a.first,
    "numberingroup": lambda a: "",
}


def _width(a: _Arguments) -> int:
    return min(int(a[0]), 100) if a[0].isdecimal() and len(a[0]) < 5 else 0


def _invoke(a: _Arguments) -> str:
    return a[1] if a.first.lower() in ("string", "text") else ""


def parser_function(name: str, parts: list[list[Node]], page: Page) -> str | None:
    """Returns what a parser function or magic word gives; None where ``name`` is neither."""
    if name in ("!", "=", "(", ")", "((", "))", "!!", "!-", "(!", "!)"):
        return _BRACES[name]
    word, colon, first = name.partition(":")
    function = FUNCTIONS.get(word.strip().lower()) if colon else None
    if function:
        return function(_Arguments(first, parts, page))
    if name.startswith("#"):
        return ""
    if name.isupper():
        if name.split(":")[0] in ("PAGENAME", "FULLPAGENAME", "BASEPAGENAME", "SUBPAGENAME"):
            return page.title
        if name in _SILENT_WORDS or name.startswith(("CURRENT", "LOCAL", "REVISION", "NUMBEROF")):
            return ""
    return None


# Braces stay text: what they would open is not ours to read again.
_BRACES = {
    "!": "|",
    "=": "=",
    "!!": "||",
    "!-": "|-",
    "(!": "{|",
    "!)": "|}",
    "(": "{",
    ")": "}",
    "((": "",
    "))": "",
}
_SILENT_WORDS = frozenset(
    words(
        """
    SITENAME SERVER SERVERNAME NAMESPACE NAMESPACENUMBER TALKPAGENAME ARTICLEPAGENAME
    PAGEID CONTENTLANGUAGE PAGELANGUAGE DIRMARK SCRIPTPATH STYLEPATH
    """
    )
)
