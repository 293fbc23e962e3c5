"""Sentences that say which choice is the answer, as a table of patterns.

All of them bound their repeats, so each takes time in proportion to the text. Texts come in plain
spaces and without markup (:mod:`eval.answers.text`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from eval.answers.letters import LETTER, MAX_CANDIDATES, Stated, letter_of, lists_all, stated

_LINK = (
    r"(?: is| was| would be| should be| must be| will be| has to be| seems to be| appears to be)"
)
_FILL = (
    r"(?:,? (?:therefore|thus|clearly|most likely|likely|definitely|probably|indeed|actually|"
    r"simply|still|just|also|now|again|then|hence),?)?"
)
_GAP = rf"(?:(?: ?:|{_LINK}:?|{_LINK} that|{_LINK} given by|{_LINK} in| ?=| ?->| ?→| [-–—])"
_GAP += rf"{_FILL}:?[ \n]?(?i:the )?(?i:following:? ?)?)"
_FOR = r"(?: here| (?:to|for|of) (?:the|this|that|your) (?:question|problem|query|quiz))?"

STRONG = tuple(
    re.compile(pattern + LETTER)
    for pattern in (
        rf"(?i:\banswers?(?: choice| option| letter)?{_FOR}{_GAP})",
        r"(?i:\b(?:correct|right|best|ideal|final|appropriate|accurate|likely|closest)"
        rf"(?: answer| choice| option| letter| statement| one| response| selection)?{_FOR}"
        rf"{_GAP})",
        rf"(?i:\b(?:my|the|your) (?:choice|selection|pick|verdict|conclusion){_GAP})",
        r"(?i:\bI(?:'d| would| will|'ll)?(?: therefore| thus)? (?:choose|pick|select|go with|"
        r"answer(?: with)?)(?: the)?:? )",
        r"(?i:(?:^|\n)(?:the )?(?:final |correct |my )?answer:? )",
        r"(?i:\b(?:therefore|thus|hence|so),? (?:it is|it's|it must be|i choose|option|choice) )",
        r"(?i:\b(?:no|wait|actually|correction|rather), (?:(?:it is|it's|it should be) )?)",
        r"(?i:\b(?:therefore|thus|hence|so|in conclusion), )",
        r"(?i:(?:^|\n|[.!?] )(?:choose|select|pick|it is|it's|it must be) )",
    )
)
"""Where a letter follows one of these, the text has settled on it; the last of them counts."""

NAMED = STRONG[5:]
"""Those that may go on to refuse what they name."""

_RIGHT = (
    r"[)\]\"'”’]? (?i:is|must be|would be|seems|appears to be)"
    r"(?i: therefore| thus| clearly| indeed)?(?i: the)?(?i: most| single| only| one)?"
    r"(?i: correct| right| best| accurate| appropriate| ideal| likely)?"
    r"(?i: answer| choice| option| correct| right| best)\b(?! about| that| only)"
)
JUDGED = re.compile(
    rf"(?<![\w'’-]){LETTER}{_RIGHT}"
    r"|(?i:\b(?:is|matches|fits|means|corresponds to|points to) (?:option|choice|answer) )"
    r"[(\[\"']?(?P<named>[A-Z])(?![\w'’-])"
)
"""``B is correct``: said of each true statement in turn, too, so it counts only if there is one."""

_DOUBT = re.compile(
    r"\b(?:not|never|no way|cannot|if|whether|unless|suppose|assume|assuming|wrong|incorrect|worst|"
    r"false|tempting|initial|initially|previous|example|sample|format|instead of)\b|n't\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?\n](?=\s|$)|[,;] (?:so|but|therefore|thus|hence|then)\b")
_REFUSED = re.compile(
    r" (?:is|was|are|would be) (?:also |clearly |then )?(?:not|incorrect|wrong|false)\b|n't\b"
)
_LOOK_BACK_CHARS = 80
_LOOK_AHEAD_CHARS = 300


def last_statement(text: str, choices: Sequence[str]) -> Stated | None:
    """Returns what the text settles on in the end, or None."""
    found = [match for pattern in STRONG for match in pattern.finditer(text)]
    found.sort(key=lambda match: (match.end(), match.start()))
    for match in reversed(found[-MAX_CANDIDATES:]):
        one = _stated(text, match, choices)
        if one is not None:
            return one
    return None


def judgements(text: str) -> Iterator[Stated]:
    """Yields the letters that the text calls right."""
    for found in islice(JUDGED.finditer(text), MAX_CANDIDATES):
        if not _in_doubt(text, found.start()):
            yield Stated((found["named"] or letter_of(found),), found.start())


def _stated(text: str, found: re.Match[str], choices: Sequence[str]) -> Stated | None:
    one = stated(text, found, choices)
    if one is None or _in_doubt(text, found.start()):
        return None
    # "The correct answer is:" and then the whole list again.
    if "\n" in found[0] and lists_all(text, found.end(), one.letters[0]):
        return None
    after = text[found.end() : found.end() + _LOOK_AHEAD_CHARS]
    # "Is the answer B?"
    if after[:2].lstrip(")]\"'").startswith("?"):
        return None
    # "Therefore, option D, which says that ..., is also incorrect."
    sentence = _SENTENCE_END.split(after, maxsplit=1)[0]
    return None if found.re in NAMED and _REFUSED.search(sentence) else one


def _in_doubt(text: str, start: int) -> bool:
    """Tells whether the clause before a statement turns it round: "I do not think the answer"."""
    before = text[max(0, start - _LOOK_BACK_CHARS) : start]
    ends = [found.end() for found in _SENTENCE_END.finditer(before)]
    return bool(_DOUBT.search(before[ends[-1] :] if ends else before))
