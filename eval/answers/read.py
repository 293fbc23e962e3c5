r"""Which choice a model's text settles on.

The rules, in order; the first that finds anything decides, also where what it finds cannot be used:

============= ==================================================================================
``json``      an object with a key such as ``answer`` or ``ideal_choice``, whole or cut off
``boxed``     ``\boxed{B}``
``tag``       ``<answer>B</answer>``
``statement`` "the answer is (B)", "I choose B", "Answer: B"; the last one counts
``letter``    nothing but a letter
``bold``      one letter, and one only, in bold
``line``      one letter, and one only, at the start of a line, as choices are written: "B) text"
``judgement`` "B is correct", of one letter only
``text``      the words of one choice and nothing else
``contained`` the words of one choice somewhere, of no other, and nowhere denied
============= ==================================================================================

With ``choice`` None, ``read_by`` says why: ``truncated`` (thoughts without an end), ``empty``,
``several`` (letters that exclude each other), ``out_of_range`` (a letter beyond the choices),
``conflict`` (a letter with another choice's words), ``unread`` (nothing found). A wrong reading is
worse than none: it looks like knowledge or the lack of it.
"""

from __future__ import annotations

import re
import string
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from eval.answers.fields import boxed_values, json_values, tagged_values
from eval.answers.letters import LETTER, MAX_CANDIDATES, Stated, choice_words, stated
from eval.answers.statements import judgements, last_statement
from eval.answers.text import (
    TRUNCATED,
    alike,
    in_plain_spaces,
    own_part,
    without_markup,
    without_thoughts,
)

_BOLD = re.compile(r"\*\*([^*\n]{1,300})\*\*|__([^_\n]{1,300})__")
_LEADING = re.compile(rf"(?:^|\n)[>#\- ]{{0,5}}{LETTER}")
_MARK = re.compile(r"[)\]\"']{0,2}(?:$|\n|[.):](?: |\n|$)| [—–-] )")
_LONE = re.compile(r"[\W_]{0,10}([A-Za-z])[\W_]{0,10}")
_ANSWER_WORD = re.compile(r"(?i:the )?(?i:final |correct )?(?i:answer|option|choice)[ :]{1,3}")
_DENIED = re.compile(
    r"\b(?:not|never|no|neither|nor|cannot|impossible|rather than|instead of|unlike|except)\b|n't\b"
)
_OPENING_WORDS = re.compile(r" ?(?:Because|This|The|Since|It|In|As|When|Due)\b")

MIN_CONTAINED_CHARS = 4
MAX_CONTAINED_IN_CHARS = 120
"""In a longer text the words of a choice come up whatever the answer is. In the explanations of
Astro-QA's 1,297 keyed questions the one choice contained was the right one in 97% of those up to
120 characters (104 found), 94% up to 200 (186), 93% up to 1,000 (305)."""


@dataclass(frozen=True)
class Answer:
    """What was read.

    Args:
        choice: the 0-based choice, None where none could be read.
        read_by: the rule that read it, or why there is none.
        detail: what it went by, for a person.
    """

    choice: int | None
    read_by: str
    detail: str = ""


Rule = Callable[[str, Sequence[str]], "Answer | None"]


def read_answer(text: str, choices: Sequence[str], *, reasoning: bool = False) -> Answer:
    """Reads the choice that a text settles on; see the module's table.

    Args:
        text: what the model wrote after the prompt.
        choices: the choices in the order shown, so that ``A`` is the first.
        reasoning: the prompt opened ``<think>``: only what follows the last ``</think>`` counts.

    Returns:
        The answer; time is in proportion to the text, whatever it holds.
    """
    after = without_thoughts(text, reasoning)
    if after is None:
        return Answer(None, TRUNCATED, "the thoughts do not end")
    plain = own_part(in_plain_spaces(after))
    if not plain:
        return Answer(None, "empty", "no text")
    for rule in _RULES:
        found = rule(plain, choices)
        if found is not None:
            return found
    return Answer(None, "unread", plain[:80])


def _by_field(name: str, values: Callable[[str], Iterable[str]]) -> Rule:
    def rule(text: str, choices: Sequence[str]) -> Answer | None:
        last = deque(values(text), maxlen=1)
        return _of_value(last[0], choices, name) if last else None

    return rule


def _of_value(value: str, choices: Sequence[str], name: str) -> Answer:
    """Reads a field: a letter, a letter with its choice's words, or these words."""
    plain = _ANSWER_WORD.sub("", without_markup(in_plain_spaces(value)).strip(), count=1)
    if lone := _LONE.fullmatch(plain):
        return _answer([Stated((lone[1].upper(),), 0)], choices, name, value)
    if (same := _same_words(plain, choices)) is not None:
        return Answer(same, name, value[:80])
    if opening := re.match(LETTER, plain):
        one = stated(plain, opening, choices)
        if one is not None:
            return _answer([one], choices, name, value)
    return Answer(None, "unread", f"{name}: {value[:80]}")


def _by_statement(text: str, choices: Sequence[str]) -> Answer | None:
    plain = without_markup(text)
    last = last_statement(plain, choices)
    if last is None:
        return None
    return _answer([last], choices, "statement", plain[max(0, last.start - 40) : last.start + 40])


def _by_bold(text: str, choices: Sequence[str]) -> Answer | None:
    found = []
    for match in islice(_BOLD.finditer(text), MAX_CANDIDATES):
        inner = without_markup(match[1] or match[2]).strip()
        opening = re.match(LETTER, inner)
        one = stated(inner, opening, choices) if opening else None
        if one is not None:
            found.append(Stated(one.letters, match.start(), one.conflict))
    return _answer(found, choices, "bold") if found else None


def _by_line(text: str, choices: Sequence[str]) -> Answer | None:
    plain = without_markup(text)
    found = []
    for match in islice(_LEADING.finditer(plain), MAX_CANDIDATES):
        one = stated(plain, match, choices)
        if one is not None and _is_marked(plain, match, choices):
            found.append(one)
    # In between, a letter may be one of a list that the others of are written in another way.
    ends = (0, plain.rfind("\n") + 1)
    if not any(one.start <= ends[0] + 20 or one.start >= ends[1] for one in found):
        return None
    return _answer(found, choices, "line")


def _is_marked(text: str, match: re.Match[str], choices: Sequence[str]) -> bool:
    """Tells a choice's mark from an initial: ``A. Einstein`` is none, ``A. The star`` is one."""
    end = match.end()
    mark = _MARK.match(text, end)
    if mark is None:
        return False
    rest = text[mark.end() : mark.end() + 300]
    if not rest or text[mark.end() - 1 : mark.end()] == "\n" or "." not in mark[0]:
        return True
    opened = alike(rest)
    named = any(
        choice_words(choice) and opened.startswith(choice_words(choice)) for choice in choices
    )
    return named or bool(_OPENING_WORDS.match(rest))


def _by_letter(text: str, choices: Sequence[str]) -> Answer | None:
    found = _LONE.fullmatch(text) if len(text) <= 30 else None
    return _answer([Stated((found[1].upper(),), 0)], choices, "letter", text) if found else None


def _by_judgement(text: str, choices: Sequence[str]) -> Answer | None:
    found = list(judgements(without_markup(text)))
    return _answer(found, choices, "judgement") if found else None


def _by_text(text: str, choices: Sequence[str]) -> Answer | None:
    same = _same_words(_ANSWER_WORD.sub("", text, count=1), choices)
    return None if same is None else Answer(same, "text", text[:80])


def _same_words(text: str, choices: Sequence[str]) -> int | None:
    words = alike(text)
    found = [
        place for place, choice in enumerate(choices) if choice_words(choice) == words and words
    ]
    return found[0] if len(found) == 1 else None


def _by_contained(text: str, choices: Sequence[str]) -> Answer | None:
    if len(text) > MAX_CONTAINED_IN_CHARS:
        return None
    words = alike(text)
    parts = [choice_words(choice) for choice in choices]
    spans = {place: _spans(part, words) for place, part in enumerate(parts)}
    # "Mars" inside of "Mars and Venus" is no mention of its own.
    for place, part in enumerate(parts):
        longer = [
            s for other, p in enumerate(parts) if part != p and part in p for s in spans[other]
        ]
        spans[place] = [
            (a, b) for a, b in spans[place] if not any(c <= a and b <= d for c, d in longer)
        ]
    found = [place for place, places in spans.items() if places]
    if len(found) != 1 or sum(c.isalpha() for c in parts[found[0]]) < MIN_CONTAINED_CHARS:
        return None
    denied = any(_DENIED.search(words[:start]) for start, _ in spans[found[0]])
    return None if denied else Answer(found[0], "contained", choices[found[0]][:80])


def _spans(part: str, words: str) -> list[tuple[int, int]]:
    if not part:
        return []
    whole = re.compile(rf"(?<!\w){re.escape(part)}(?!\w)")
    return [found.span() for found in whole.finditer(words)]


def _answer(found: Sequence[Stated], choices: Sequence[str], name: str, detail: str = "") -> Answer:
    """Returns the one letter that was found as an answer, or why it is none."""
    letters = sorted({letter for one in found for letter in one.letters})
    shown = f"{name}: {' '.join(detail.split())[:80] or ', '.join(letters)}"
    if len(letters) > 1:
        return Answer(None, "several", shown)
    choice = string.ascii_uppercase.index(letters[0])
    if choice >= len(choices):
        return Answer(None, "out_of_range", f"{shown} (of {len(choices)} choices)")
    if any(one.conflict for one in found):
        return Answer(None, "conflict", shown)
    return Answer(choice, name, shown)


_RULES: tuple[Rule, ...] = (
    _by_field("json", json_values),
    _by_field("boxed", boxed_values),
    _by_field("tag", tagged_values),
    _by_statement,
    _by_letter,
    _by_bold,
    _by_line,
    _by_judgement,
    _by_text,
    _by_contained,
)
