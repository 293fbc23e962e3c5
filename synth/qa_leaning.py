"""Does a text lean on a source that its reader has not got?

"What does the paper conclude?" or "as shown in Figure 3" cannot be understood alone. It can where
the paper is named close by: by author and year, title, arXiv number, or "the paper by ...".
AstroMLab 3, section III.1, has a model judge whether pairs stand alone; what a pattern can
tell need not be judged.
"""

from __future__ import annotations

import re

_SOURCE = (
    r"paper|study|article|text|passage|excerpt|manuscript|document|chapter|section|authors?|work"
    r"|researchers|letter|abstract|summary|review|thesis|report"
)
_UNNAMED = re.compile(
    # "the study of galaxies", "the passage through ...", "the author of ..." name what they are.
    r"\b(?:the|this)\s+(?:paper|study|article|text|passage|excerpt|manuscript|document|chapter"
    r"|section|authors?|researchers)\b(?!['\u2019]?s?\s+(?:of|through|across|who|that|behind)\b)(?![-/])"
    r"|\bthis\s+(?:study|paper|article|review|section|chapter)\s+of\b"
    rf"|\b(?:the|these|our)\s+(?:present|current|given|provided|above|cited|accompanying)\s+(?:{_SOURCE})\b"
    r"|\b(?:these|our|their)\s+(?:paper|study|article|manuscript)\b|\bthese\s+(?:authors|researchers)\b"
    r"|\b(?:in|of|by|from|for|throughout)\s+this\s+(?:work|letter|review|thesis|report)\b"
    r"|\bthis\s+(?:work|letter|review|thesis|report)\s+(?:presents?|shows?|finds?|found|uses?|aims?"
    r"|proposes?|describes?|discusses|reports?|investigates?|considers?)\b"
    r"|\b(?:according\s+to|based\s+on|from|in)\s+the\s+(?:given|provided)\s+(?:information|context)\b",
    re.IGNORECASE,
)
_POINTER = re.compile(
    # "a table 3 metres long" and "figure 8 pattern" point nowhere.
    r"(?<!\ba )(?<!\bthe )(?<!-)\b"
    r"(?i:fig(?:ures?|s?\.)|tables?|eqn?s?\.|equations?|sect(?:ions?|s?\.)|secs?\.|appendix"
    r"|chapter)[\s~]{1,2}\(?"
    r"(?:\d{1,3}\b(?!\s*(?:%|[-\u2013]?(?:shaped|pattern|curve|orbit)))|[A-Z]\d{0,2}\b(?![\w'-]))"
    r"|\u00a7\s?\d"
    r"|(?i:\bthe\s+(?:figures?|tables?|equations?|panels?|plots?)\s+(?:above|below|shown|given)\b"
    r"|\bthe\s+above(?:-?mentioned)?\s+(?:equation|expression|relation|figure|table|formula|result"
    r"|discussion|consideration|definition|example|method|model)s?\b"
    r"|\b(?:as|was|were|is|are|been)\s+(?:shown|described|discussed|mentioned|noted|stated"
    r"|defined|given|listed|explained|outlined|derived|introduced|seen)\s+"
    r"(?:above|below|earlier|previously|in\s+the\s+(?:previous|preceding|next|following|last|text"
    r"|paper|figure|table|appendix|passage|introduction)\b)"
    r"|\b(?:mentioned|described|discussed|shown|defined|listed)\s+(?:above|below)\b"
    r"|\bin\s+the\s+(?:previous|preceding|next|following)\s+"
    r"(?:section|chapter|paragraph|figure|table)\b)"
)
_FIRST_PERSON = re.compile(
    r"(?i:\bour\s+(?:results?|sample|analys[ie]s|data|methods?|methodology|simulations?|observations|study"
    r"|paper|work|findings?|approach|measurements?|fits?|catalog(?:ue)?|calculations?"
    r"|fiducial\s+\w+|best[- ]fit\w*|target|targets|conclusions?)\b)"
    r"|\b[Ww]e\s+(?:presented|present|reported|report|propose|proposed|conclude|concluded|thank"
    r"|performed|analy[sz]ed|investigated?|adopt|adopted|fitted|derived|obtained|carried\s+out"
    r"|simulated|selected|measured)\b"
)
_OPTIONS = re.compile(r"\bwhich\s+of\s+the\s+following\b", re.IGNORECASE)
_LISTED = re.compile(r"(?:^|\s)\(?[A-Da-d1-4][.):]\s|:\s|\n\s*[-*\u2022]")

_NEAR_CHARS = 120
_NO_AUTHOR = (
    r"(?!(?:In|Since|By|On|From|Until|After|Before|During|Around|About|The|Of|For|And|January|February"
    r"|March|April|May|June|July|August|September|October|November|December|Figure|Table|Section"
    r"|Equation|Chapter|Appendix|Fig|Eq)\b)"
)
_NAMED = re.compile(
    rf"\b{_NO_AUTHOR}[A-Z][\w'\u2019-]+(?:,?\s+(?:et\s+al\.?|and|&)(?:\s+[A-Z][\w'\u2019-]+)?)*,?\s+"
    r"\(?(?:1[6-9]|20)\d\d[a-z]?\b"
    r"|\b[A-Z][\w'\u2019-]+\s+et\s+al\b|\barXiv:\s?[\w.-]+/?\d+"
)
_BY = re.compile(
    r"(?:\s+\w+){0,4}?\s+by\s+(?:the\s+)?[A-Z]"
    r"|[,:]?\s+(?:(?:titled|entitled|called)\s+)?[\"\u201c\u2018*_][A-Z0-9][^\"\u201d\u2019*_]{5,}"
)
_WORD = re.compile(r"[^\W_]+")
_MIN_TITLE_WORDS = 3


def leaning(text: str, title: str = "") -> str | None:
    """Returns the words with which a text leans on a source that it does not name, or None.

    Args:
        text: a question or an answer.
        title: of the source; a text that holds it has named it.
    """
    for pattern in (_UNNAMED, _POINTER):
        for found in pattern.finditer(text):
            if not _is_named(text, found, title):
                return found.group()
    if first := _FIRST_PERSON.search(text):
        return first.group()
    if (options := _OPTIONS.search(text)) and not _LISTED.search(text, options.end()):
        return options.group()
    return None


def _is_named(text: str, found: re.Match[str], title: str) -> bool:
    near = text[max(0, found.start() - _NEAR_CHARS) : found.end() + _NEAR_CHARS]
    if _NAMED.search(near) or _BY.match(text, found.end()):
        return True
    words = _WORD.findall(title.casefold())
    if len(words) < _MIN_TITLE_WORDS:
        return False
    return f" {' '.join(words)} " in f" {' '.join(_WORD.findall(text.casefold()))} "
