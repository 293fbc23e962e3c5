"""Plain sentences and clauses for the ``rules`` engine: splitting and cutting.

No parser: a closed list of verbs finds where the predicate starts, and a sentence whose subject
does not look plain is left alone. Fewer questions, but readable ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.llm.rules_lexicon import (
    ADVERBS,
    BAD_START,
    BASES,
    BE,
    MODALS,
    PAST,
    POSSESSIVE,
    PREPOSITIONS,
    PRONOUN,
    SUBORDINATE,
    THIRD,
)

_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|et al|cf|vs|etc|approx|ca|Fig|Figs|Eq|Sec|Ref|No|Dr|Mr|Mrs|Ms|Prof|St|Jr)"
    r"|\b[A-Z])\.$"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")
_SKIPPED_LINE = re.compile(r"^\s*(?:#|\||```|!\[|<|\$\$|>|---)")
_CUT = re.compile(
    r",? (?:because|although|though|while|whereas|until|unless|when|so that)\b"
    r"|; |: | - | \u2013 | \u2014 | \("
    r"|, (?:and|but|so|yet|or|for|nor|which|who|whose|whom|where|with|at|against|within|only|"
    r"including|such|especially|as|an?|the|one|in|on|to|after|before|from|about|both|each|now|"
    r"then|it|they|called|known|not|also|making|where|if|since|like)\b"
)


_SECOND_VERB = re.compile(
    rf" and (?:then|not) | and (?:also )?(?=(?:{'|'.join([*BE, *MODALS, *PAST, *THIRD])})\b)"
)


@dataclass(frozen=True)
class Clause:
    """The main clause of a sentence, cut at its main verb.

    Args:
        subject: as it stands in the sentence, first letter lowered where it is a common noun.
        verb: one word.
        rest: what follows, without the full stop.
    """

    subject: str
    verb: str
    rest: str


def split_sentences(passage: str) -> list[str]:
    """Returns the sentences of a Markdown passage; headings, tables and code are left out."""
    found: list[str] = []
    for block in _blocks(passage):
        sentence = ""
        for piece in _SENTENCE_END.split(block):
            sentence = f"{sentence} {piece}".strip()
            if not _ABBREVIATION.search(sentence):
                found.append(sentence)
                sentence = ""
        if sentence:
            found.append(sentence)
    return found


def _blocks(passage: str) -> Iterator[str]:
    """Yields paragraphs and list items as single lines."""
    lines: list[str] = []
    for line in [*passage.splitlines(), ""]:
        skipped = not line.strip() or bool(_SKIPPED_LINE.match(line))
        item = _LIST_MARK.match(line)
        if (skipped or item) and lines:
            yield " ".join(lines)
            lines = []
        if not skipped:
            lines.append(_LIST_MARK.sub("", line).strip())


def is_plain(sentence: str) -> bool:
    """Tells whether a sentence stands on its own: a statement that refers to nothing before it."""
    words = sentence.split()
    return (
        sentence.endswith(".")
        and 4 <= len(words) <= 40
        and (sentence[0].isupper() or sentence[0].isdigit())
        and not re.search(r"[$\\|{}<>*_`\[\]]|https?:|\.\.", sentence)
        and re.sub(r"\W", "", words[0]).lower() not in BAD_START
    )


def dated_last(sentence: str) -> str:
    """Turns ``In 1930 X found Y.`` into ``X found Y in 1930.``; leaves others as they are."""
    match = re.match(r"In (?:the year )?(\d{4}),? (?!and )([^,]+)(,.*)?\.$", sentence)
    if not match or re.search(r"\b\d{4}\b", match[2]):
        return sentence
    subject = match[2]
    for cut in (" and ", " but ", " for ", " that "):
        subject = subject.split(cut)[0] if cut in subject else subject
    return f"{subject[0].upper()}{subject[1:]} in {match[1]}."


def main_clause(sentence: str, passage: str) -> Clause | None:
    """Returns the main clause of a plain sentence, or None where no pattern would fit it."""
    text = _CUT.split(re.sub(r"^([^,]+), [^,]+, (?=is |was |are |were )", r"\1 ", sentence))[0]
    text = re.sub(r" (?:also|therefore|still|however|in fact|as well)\b", "", text.rstrip("."))
    if ", " in text and not re.search(r"\band [^,]+$", text[text.rindex(", ") :]):
        text = text[: text.index(", ")]
        if re.search(r"\b(?:an?|the) [\w-]+$", text):  # a flat, spinning disc
            return None
    words = text.split()
    position = next((n for n in range(1, len(words)) if _is_verb(words, n)), None)
    if position is None or position + 1 >= len(words):
        return None
    subject, rest = " ".join(words[:position]), " ".join(words[position + 1 :])
    rest = _SECOND_VERB.split(rest)[0]
    if not _is_subject(subject) or PRONOUN.search(rest):
        return None
    return Clause(lower_first(subject, passage), words[position], rest)


def _is_verb(words: list[str], n: int) -> bool:
    word, before = words[n], words[n - 1].lower()
    after = words[n + 1] if n + 1 < len(words) else ""
    if word in BE or word in MODALS:
        return True
    if before in PREPOSITIONS or before in ("the", "a", "an", "and", "or") or before.endswith("'s"):
        return False
    if after in BE or after == "of":
        return False
    if word in PAST and after == "by":  # teams led by X
        return False
    if word in PAST or word in THIRD:
        return True
    plural = before.endswith("s") or " and " in " ".join(words[:n])
    return word in BASES and plural


def _is_subject(subject: str) -> bool:
    words, lowered = subject.split(), subject.lower()
    return (
        len(words) <= 9
        and "," not in subject
        and not SUBORDINATE.search(subject)
        and not PRONOUN.search(subject)
        and not re.search(r"\b(?:not|never)\b", subject)
        and not POSSESSIVE.search(subject)
        and words[0].lower() not in BAD_START
        and not re.match(r"the (?:same|other|former|latter|first$|second$|third$|last$)", lowered)
        and words[-1].lower() not in PREPOSITIONS | ADVERBS
        and not words[-1].endswith("ly")
    )


def lower_first(phrase: str, passage: str) -> str:
    """Lowers the first letter unless the word is a name, judging by the rest of the passage."""
    first = phrase.split()[0]
    word = re.sub(r"\W+$", "", first)
    if word in ("The", "A", "An", "Two", "Three", "Four", "Five"):
        return phrase[0].lower() + phrase[1:]
    if not word.isalpha() or not word[1:].islower():
        return phrase
    second_word = phrase.split()[1:2]
    if second_word and not second_word[0][0].islower():
        return phrase
    stem = word[:-1] if word.endswith("s") else word
    if re.search(rf"[a-z,] {word}\b", passage) or first.endswith("'s"):
        return phrase
    if re.search(rf"\b{stem.lower()}", passage):
        return phrase[0].lower() + phrase[1:]
    second = [w for w in phrase.split()[1:3] if w != "and"][:1]
    common = bool(second) and second[0][0].islower() and second[0] != "of"
    return phrase[0].lower() + phrase[1:] if common else phrase
