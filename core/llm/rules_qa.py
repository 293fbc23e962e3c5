"""Question and answer pairs from sentences, by pattern.

Answers are short where possible: a name, a number, a noun phrase. Each pattern is a generator over
one clause; what no pattern fits gives a sentence to complete, or nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from core.hashing import sha256_text
from core.llm.rules_lexicon import (
    ABOUT,
    BASES,
    BE,
    COMPARATIVE,
    DATE,
    MODALS,
    NO_BLANK,
    NO_KIND,
    NO_NOUN,
    NO_OBJECT,
    NUMBER,
    PAST,
    POSSESSIVE,
    PREPOSITIONS,
    QUANTITY,
    ROLE,
    SUPERLATIVE,
    THIRD,
    is_person,
    past_of_participle,
    third_person,
    who,
)
from core.llm.rules_text import Clause, dated_last, is_plain, main_clause, split_sentences

SHORT, CLOZE, DEFINITION = 0, 1, 2
"""Kinds, the most useful first."""

_ARTICLES = ("the ", "a ", "an ")
_PLACE = re.compile(r"(?:in|on|at|near|around|beyond) (?:the )?[A-Z][^,]*$")
_OBJECT_END = re.compile(
    r" (?:once|twice|very|backwards|together|by|in|at|on|from|as|with|to|for|during|after|before|"
    r"around|towards|against|without|than|when|while)\b"
)
_CLOZE_ENDS = (
    re.compile(rf"({QUANTITY})$"),
    re.compile(r"\b(\d{4})$"),
    re.compile(r"(?<=[a-z] )([A-Z][\w'-]*(?: (?:of |and )?(?:[A-Z][\w'-]*|\d+))*)$"),
    re.compile(
        r".*\b(?:(?:is|are|was|were) (?:the|an?)|(?:called|of|by|from|into|with)(?: the| an?)?) "
        r"([a-z-]+(?: [a-z-]+){0,2})$"
    ),
)


@dataclass(frozen=True)
class Pair:
    """A question and its answer, with the kind that ranks it."""

    rank: int
    question: str
    answer: str


def make_pairs(passage: str, limit: int, seed: int) -> list[Pair]:
    """Returns at most ``limit`` pairs from a passage, the most useful kinds first.

    Within a kind every sentence gives its first pair before any gives its second, so that a small
    limit still covers the passage.

    Args:
        passage: Markdown or plain text.
        limit: pairs at most.
        seed: varies the wording.
    """
    sentences = [s for s in map(dated_last, split_sentences(passage)) if is_plain(s)]
    found: list[tuple[int, int, Pair]] = []
    for sentence in sentences:
        turns: Counter[int] = Counter()
        for pair in sentence_pairs(sentence, passage, seed):
            found.append((pair.rank, turns[pair.rank], pair))
            turns[pair.rank] += 1
    chosen: dict[str, Pair] = {}
    for _, _, pair in sorted(found, key=lambda item: item[:2]):
        chosen.setdefault(pair.question.lower(), pair)
    return list(chosen.values())[: max(0, limit)]


def sentence_pairs(sentence: str, passage: str, seed: int) -> Iterator[Pair]:
    """Yields the pairs of one plain sentence; ``passage`` tells names from common nouns."""
    draw = int(sha256_text(f"{seed}\n{sentence}")[:8], 16)
    clause = main_clause(sentence, passage)
    found = list(_called(sentence))
    if clause is not None:
        for pattern in (_to_be, _passive, _past, _present, _modal):
            found += pattern(clause, draw)
    for question, answer in found:
        question, answer = re.sub(r"\s+", " ", question), _bare(answer)
        if _is_good(question, answer):
            yield Pair(SHORT, question[0].upper() + question[1:], answer)
    yield from _cloze(sentence, draw)
    if clause is not None and clause.verb in ("is", "are") and clause.rest.startswith(_ARTICLES):
        yield Pair(DEFINITION, f"Tell me what {clause.subject} {clause.verb}.", sentence)


def _bare(phrase: str) -> str:
    return re.sub(r"^(?:the|an?) ", "", phrase.strip(" ,;."), flags=re.I)


def _is_good(question: str, answer: str) -> bool:
    if not answer or answer.lower() in question.lower() or POSSESSIVE.search(question + answer):
        return False
    return len(answer.split()) <= 9 and len(question) <= 200


def _called(sentence: str) -> Iterator[tuple[str, str]]:
    """``S is called X``, where S may hold a relative clause."""
    match = re.match(
        r"((?:An?|The) [^,]+?) (is|are) (?:called|known as) ([^,]+?)(?:,.*)?\.$", sentence
    )
    if match and not re.search(r"\b(?:this|these|it|they) ", match[1]):
        subject = match[1][0].lower() + match[1][1:]
        yield f"what {match[2]} {subject} called?", match[3]
        yield f"what is the name for {subject}?", match[3]


def _to_be(clause: Clause, draw: int) -> Iterator[tuple[str, str]]:
    """``S is the C``, ``S is a C``, ``the R of S is X``, ``S is 6.5 metres wide``."""
    subject, be, rest = clause.subject, clause.verb, clause.rest
    if be not in BE:
        return
    if amount := re.match(
        rf"({ABOUT})({QUANTITY})(?: (wide|long|old|thick|high|tall|deep))?$", rest
    ):
        about = "about " if amount[1] else ""
        if amount[3]:
            yield f"{about}how {amount[3]} {be} {subject}?", amount[2]
        elif " of " in subject or subject.startswith("the time "):
            yield f"what {be} {subject}?", amount[2]
        return
    if rest.startswith("the ") and not subject.startswith(("a ", "an ")):
        yield from _which(rest, be, subject)
        yield f"{who(subject)} {be} {rest}?", subject
        if _is_name(subject):
            return
    head = re.split(r" (?:that|which|who|whose|where) ", rest)[0]
    if subject.startswith("the "):
        if rest.startswith(_ARTICLES) or rest[0].isupper() or _is_role(subject, rest):
            yield f"{who(rest)} {be} {subject}?", head
            yield from _which(subject, be, rest)
    elif rest.startswith(("a ", "an ")):
        yield f"what {be} {subject}?", head
        if _is_name(subject) and len(rest.split()) >= 6:
            yield f"what {be} {rest}?", subject


def _which(definite: str, be: str, answer: str) -> Iterator[tuple[str, str]]:
    """Asks ``Which planet is the largest in X?`` for ``the largest planet in X``."""
    match = SUPERLATIVE.match(definite)
    if not match or len(match[2].split()) > 3:
        return
    degree, noun, where = match[1], match[2], match[3] or ""
    if degree in ("only", "first", "main", "last") and not where.startswith(" to "):
        return
    if where.startswith(" of "):
        noun, where = noun + where, ""
    yield f"which {noun} {be} the {degree}{where}?", answer


def _is_role(subject: str, rest: str) -> bool:
    words = rest.split()
    known = PREPOSITIONS | NO_NOUN | {"so", "about", "almost"}
    head = ROLE.search(subject.split(" of ")[0]) is not None
    return head and len(words) <= 3 and words[0] not in known and not past_of_participle(words[0])


def _is_name(phrase: str) -> bool:
    return not _bare(phrase)[:1].islower()


def _is_vague(subject: str) -> bool:
    """``the telescope``: which one, only the text before would tell."""
    return re.fullmatch(r"the [a-z-]+", subject) is not None


def _passive(clause: Clause, draw: int) -> Iterator[tuple[str, str]]:
    """``S was discovered by X in Y``, ``S is made of X``, ``S is named after X``."""
    subject, be = clause.subject, clause.verb
    match = re.match(r"(?:(mostly|mainly|usually|first) )?([a-z]+)\b(.*)$", clause.rest)
    if be not in BE or not match or _is_vague(subject):
        return
    adverb, participle, tail = match[1] or "", match[2], match[3]
    past, date, undated = past_of_participle(participle), DATE.search(tail), DATE.sub("", tail)
    if past is None:
        return
    by = re.match(r"( (?!by\b)[^,]*?)? by (?!the name|far\b|means\b)(.+?)$", undated)
    if made := re.match(r" (?:(mostly|mainly|largely) )?(of|from) (.+)$", tail):
        yield f"what {be} {subject} {made[1] or adverb} {participle} {made[2]}?", made[3]
    elif named := re.match(r" after (?:the \w+ )?([A-Z].+)$", tail):
        yield f"{who(named[1])} {be} {subject} named after?", named[1]
    elif by:
        agent = re.split(r" (?:with|at|on|from|using|in) ", by[2])[0]
        yield from _agent(subject, be, f"{adverb} {participle}", f"{adverb} {past}", by[1], agent)
    elif participle == "found" and (place := _PLACE.match(undated.strip())):
        yield f"where {be} {subject} found?", _place(place[0])
    if date and be in ("was", "were") and not subject.startswith(("a ", "an ")):
        agent_too = f" by {by[2]}" if by and draw % 2 else ""
        ask, answer = _when(date, draw)
        yield f"{ask} {be} {subject} {adverb} {participle}{agent_too}?", answer


def _agent(
    subject: str, be: str, participle: str, past: str, between: str | None, agent: str
) -> Iterator[tuple[str, str]]:
    if amount := re.match(f"{ABOUT}({QUANTITY})", agent):
        yield f"by how much {be} {subject} {participle}{between or ''}?", amount[1]
    elif is_person(agent):
        yield f"who {past} {subject}{between or ''}?", agent
        yield f"by whom {be} {subject} {participle}{between or ''}?", agent
    else:
        yield f"what {be} {subject} {participle}{between or ''} by?", agent


def _when(date: re.Match[str], draw: int) -> tuple[str, str]:
    if draw % 3:
        return "in what year", date[3]
    return "when", date[2].removeprefix("the year ")


def _past(clause: Clause, draw: int) -> Iterator[tuple[str, str]]:
    """``Clyde Tombaugh discovered Pluto in 1930``: who, when, where, what."""
    subject, rest = clause.subject, clause.rest
    base = PAST.get(clause.verb)
    if base is None or _is_vague(subject):
        return
    date, undated = DATE.search(rest), DATE.sub("", rest).strip()
    yield from _subject_question(clause, rest)
    if not undated:
        return
    if undated != rest:
        yield from _subject_question(clause, undated)
    if date and not re.search(r"\b(?:19|20)\d\d\b", undated):
        ask, answer = _when(date, draw)
        yield f"{ask} did {subject} {base} {undated}?", answer
    if place := _PLACE.match(undated):
        yield f"where did {subject} {base}?", _place(place[0])
    elif date and undated != "place" and _is_object(undated) and len(_object(undated).split()) <= 5:
        yield f"what did {subject} {base}{date[0]}?", _object(undated)


def _subject_question(clause: Clause, predicate: str) -> Iterator[tuple[str, str]]:
    """Asks for the subject: who, what, or which noun where the subject carries its kind."""
    subject, verb = clause.subject, clause.verb
    after = re.fullmatch(r"(?:the|an?) ([A-Z][\w' -]+?) ([a-z]+)", subject)
    before = re.fullmatch(r"the ([a-z]+(?: [a-z]+)?) ([A-Z0-9][\w' .-]*)", subject)
    kind, name = (after[2], after[1]) if after else (before[1], before[2]) if before else ("", "")
    if kind:
        words = set(f"{kind} {name}".split())
        if not words & (PREPOSITIONS | NO_KIND) and past_of_participle(kind) is None:
            yield f"which {kind} {verb} {predicate}?", name
    elif _is_name(subject) or len(predicate.split()) >= 4:
        # "What" takes the singular: "Comets grow tails" gives "What grows tails?".
        singular = third_person(verb) if verb in BASES and verb not in PAST else verb
        yield f"{who(subject)} {singular} {predicate}?", subject


def _present(clause: Clause, draw: int) -> Iterator[tuple[str, str]]:
    """``S takes 88 days to ...``, ``S has two moons``, ``S lies in X``, ``S orbits X``."""
    subject, verb, rest = clause.subject, clause.verb, clause.rest
    if verb in PAST or (verb not in THIRD and verb not in BASES) or _is_vague(subject):
        return
    base, do = (THIRD[verb], "does") if verb in THIRD else (verb, "do")
    if base == "have":
        yield from _having(clause, do)
    elif base == "take" and (took := re.match(rf"({ABOUT})({QUANTITY})( (?:to|for) .+)?$", rest)):
        about = "about " if took[1] else ""
        yield f"{about}how long {do} {subject} take{took[3] or ''}?", took[2]
    elif base in ("lie", "live", "stand") and rest.split()[0] in PREPOSITIONS:
        if not rest.startswith("for "):
            yield f"where {do} {subject} {base}?", _place(rest)
        yield from _subject_question(clause, rest)
    elif source := re.match(r"((?:[a-z]+ly )?)(from|to|of|into|on|for|with) (.+)$", rest):
        if base in ("come", "belong", "consist", "turn", "depend", "originate", "point"):
            yield f"what {do} {subject} {source[1]}{base} {source[2]}?", source[3]
    elif every := re.match(rf"({ABOUT})every ({ABOUT})({QUANTITY})$", rest):
        about = "about " if every[1] or every[2] else ""
        yield f"{about}how often {do} {subject} {base}?", f"every {every[3]}"
    elif lasting := re.match(rf"({ABOUT})({QUANTITY})$", rest):
        if base == "last":
            yield f"{'about ' if lasting[1] else ''}how long {do} {subject} last?", lasting[2]
    elif _is_object(rest):
        complement = base in ("make", "keep") and rest.startswith("the ")
        if len(_object(rest).split()) <= 6 and not complement and base not in NO_OBJECT:
            yield f"what {do} {subject} {base}?", _object(rest)
        if base != "become" or rest.startswith(_ARTICLES):
            yield from _subject_question(clause, rest)


def _having(clause: Clause, do: str) -> Iterator[tuple[str, str]]:
    subject, rest = clause.subject, clause.rest
    first = rest.split()[0]
    if past_of_participle(first) or first == "been":
        return
    if many := re.match(rf"({NUMBER}) ((?:[a-z-]+ )?[a-z-]+s)$", rest):
        yield f"how many {many[2]} {do} {subject} have?", many[1]
    elif of := re.match(rf"an? ([\w -]+?) of {ABOUT}({QUANTITY})$", rest):
        yield f"what is the {of[1]} of {subject}?", of[2]
    elif _is_object(rest):
        if not re.match(NUMBER, rest) and len(_object(rest).split()) <= 6:
            yield f"what {do} {subject} have?", _object(rest)
        yield from _subject_question(clause, rest)


def _is_object(rest: str) -> bool:
    first = rest.split()[0]
    other = first.endswith("ly") or first in NO_NOUN or first in PREPOSITIONS
    return not other and not COMPARATIVE.match(first)


def _object(rest: str) -> str:
    """Returns what the verb acts on, without where, when and how."""
    return _OBJECT_END.split(rest)[0]


def _place(phrase: str) -> str:
    return re.sub(r"^(?:in|on|at) ", "", phrase)


def _modal(clause: Clause, draw: int) -> Iterator[tuple[str, str]]:
    """``The Sun will become a red giant in five billion years``."""
    words = clause.rest.split()
    if clause.verb not in MODALS or words[0] not in BASES or len(words) < 2:
        return
    rest = " ".join(words[1:])
    match = re.match(r"(into )?((?:the |an? )?[\w' -]+?)( (?:in|at|on|from) .+)?$", rest)
    if match and _is_object(match[2]):
        into = " into" if match[1] else ""
        ask = f"what {clause.verb} {clause.subject} {words[0]}{into}{match[3] or ''}?"
        yield ask, match[2]


def _cloze(sentence: str, draw: int) -> Iterator[Pair]:
    """A sentence whose last name, number or noun phrase is missing."""
    text = sentence.rstrip(".")
    if POSSESSIVE.search(text) or re.search(r"\b(?:it|they|he|she|this|these)\b", text, re.I):
        return
    match = next((m for m in (end.search(text) for end in _CLOZE_ENDS) if m), None)
    if match is None or match.start(1) < 12 or set(match[1].split()) & (PREPOSITIONS | NO_BLANK):
        return
    if match[1].lower() in text[: match.start(1)].lower() or past_of_participle(match[1]):
        return
    ask = ("Complete the sentence:", "Fill in the blank:", "Which words are missing?")[draw % 3]
    yield Pair(CLOZE, f"{ask} {text[: match.start(1)]}___.", match[1])
