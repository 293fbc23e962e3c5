"""What goes before the first pass and after the last: control characters, left-over markup."""

from __future__ import annotations

import html
import re

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ue000-\uf8ff]")
_MARK_ENTITY = re.compile(r"&#(?:0*127|x0*7f);?", re.IGNORECASE)
_LONG_REFERENCE = re.compile(r"&#(?:\d{8,}|x[0-9a-f]{8,});?", re.IGNORECASE)
_SWITCH = re.compile(r"__[A-Z][A-Z_]{1,40}__")
# Brackets right after a word are a call or an index, f() or a[], and stay.
_EMPTY_BRACKETS = re.compile(
    r"(?: |^)\((?:[ ,;:–-]|or|also|e\.g\.|i\.e\.)*\)|\((?:[ ,;–]|or\b|also\b)+\)"
    r"|(?: |^)\[[ ,;]*\](?!\()"
)
_BRACKET_START = re.compile(r"\( *(?:[,;:] ?)+")
# Starts at the beginning of a run only, so that a long run is read once.
_BRACKET_END = re.compile(r"(?<![,;: ])[,;: ]+\)")
_BEFORE_STOP = re.compile(r" +([,.;:!?)])(?=\s|$)")
_HOLES = (" ,", " .", " ;", " :", " !", " ?", " )")
_COMMAS = re.compile(r",(?: ?,)+")
_SPACES = re.compile(r" {2,}")
_LEFT_OVER = re.compile(
    r"\{\{+|\}\}+|\[\[+|\]\]+|<!--|-->|\{\||(?<!\\)\|\}|</?ref\b[^<>]*>?|''+|(?<!\S)\|-(?!\S)"
)


def prepare(wikitext: str) -> str:
    """Returns wikitext with uniform line ends and without control characters."""
    text = wikitext.replace("\r\n", "\n").replace("\r", "\n")
    return _SWITCH.sub("", _MARK_ENTITY.sub("", _CONTROL.sub("", text)))


def decode_entities(text: str) -> str:
    """Returns text with HTML entities as characters; absurdly long numbers are no character."""
    if "&" not in text:
        return text
    return html.unescape(_LONG_REFERENCE.sub("", text) if "&#" in text else text)


def tidy(text: str) -> str:
    """Repairs one piece of rendered prose: holes that dropped templates left behind.

    Args:
        text: a paragraph, list item or cell with markers still in place of final text.

    Returns:
        The text without empty brackets, doubled spaces and left-over wiki markup.
    """
    if (
        "{" in text
        or "[" in text
        or "'" in text
        or "}" in text
        or "]" in text
        or "<" in text
        or "|" in text
    ):
        text = _LEFT_OVER.sub("", text)
    if "(" in text or "[" in text:
        text = _EMPTY_BRACKETS.sub("", _EMPTY_BRACKETS.sub("", text))
        text = _BRACKET_END.sub(")", _BRACKET_START.sub("(", text))
        text = text.replace("( ", "(")
    if ",," in text or ", ," in text:
        text = _COMMAS.sub(",", text)
    if any(hole in text for hole in _HOLES):
        text = _BEFORE_STOP.sub(r"\1", text)
    return (_SPACES.sub(" ", text) if "  " in text else text).strip()
