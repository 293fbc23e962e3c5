"""Words and shapes that the ``rules`` engine knows: verbs, prepositions, dates, quantities."""

from __future__ import annotations

import re


def _words(text: str) -> list[str]:
    return text.split()


BE = ("is", "are", "was", "were")
MODALS = ("will", "can", "must", "may", "should", "would", "could")

# Simple past -> base.
_IRREGULAR = dict(
    pair.split(":")
    for pair in _words(
        "found:find built:build made:make led:lead took:take gave:give wrote:write saw:see "
        "showed:show flew:fly went:go became:become began:begin came:come brought:bring "
        "sent:send struck:strike won:win held:hold left:leave drew:draw knew:know fell:fall "
        "grew:grow thought:think"
    )
)
_PARTICIPLE_TO_PAST = {
    "seen": "saw",
    "written": "wrote",
    "shown": "showed",
    "taken": "took",
    "given": "gave",
    "drawn": "drew",
    "flown": "flew",
    "begun": "began",
    "known": "knew",
}
_REGULAR = _words(
    "absorb analyse arrange calculate capture carry cause classify collect complete compute "
    "confirm consider contain cover create define deliver derive describe design detect develop "
    "discover double emit estimate examine explain explode explore form formulate identify "
    "image introduce invent land launch measure name notice observe occur orbit originate predict "
    "prepare produce propose prove publish reach receive record reflect release reveal rotate "
    "shape shift start study surround travel use visit want work map pass enter "
    "appear end last change move turn help power heat need mark push pull follow reject "
    "require separate support return weigh protect connect add join open divide determine depend "
    "consist belong vary increase decrease store convert transport regulate provide include"
)
_PRESENT_ONLY = _words(
    "have take make hold lie come give find rise shine spin become begin fall grow hide mean "
    "send live stand see feel lose throw drive spread know build bring point look burn keep show"
)
PREPOSITIONS = frozenset(
    _words(
        "in on at of by from to with for near around beyond between inside outside under over "
        "above below behind before after during through within into across along towards toward "
        "against beneath onto off upon about among past without until since like as than"
    )
)
ADVERBS = frozenset(_words("last first later once again soon always often never only now then"))
BAD_START = PREPOSITIONS | frozenset(
    _words(
        "it this these that those they he she we you i its their his her our your there here "
        "such one another both some most many few several other others then thus however when "
        "while if because although though where what which who no not all each every so but and "
        "or yet also therefore moreover today now only even just once still instead perhaps"
    )
)
"""A sentence that starts so leans on the one before it, or does not start with its subject."""

NO_OBJECT = frozenset(_words("take become mean come go fall last"))
NO_NOUN = frozenset(
    _words("more less away up out very too that how what every once not back far and or")
)
NO_BLANK = frozenset(
    _words("another other others very not more less one own same such per well and or")
)

NO_KIND = frozenset(
    _words("early young old late distant nearby ancient modern outer inner whole entire famous new")
)
"""Words that may stand before a name without saying what kind of thing it is."""

PRONOUN = re.compile(
    r"\b(?:here|there|it|they|them|this|these|those|he|she|him|we|us|our|you|such)\b", re.I
)
POSSESSIVE = re.compile(r"\b(?:its|their|his|her)\b", re.I)
SUBORDINATE = re.compile(r"\b(?:that|which|who|whom|whose|where|when|if|because|than|what|how)\b")
COMPARATIVE = re.compile(
    r"(?:fast|long|near|clos|slow|low|high|lat|furth|farth|bright|dark|larg|small|light|warm|cold|"
    r"hott|great|dens|old|young|strong|weak|bigg|wid|thick|thinn|short|heavi|earli)er\b"
)
ROLE = re.compile(
    r"\b(?:source|cause|name|shape|element|gas|substance|metal|fuel|process|product|result|form|"
    r"force|symbol|colou?r|type|class|agent|unit|material|ingredient|kind|phase|stage|valve|"
    r"mechanism|event|reason)\b"
)
"""Heads of ``the ... is X`` whose X may be a bare common noun."""

_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DATE = re.compile(rf" (in|on) ((?:the year )?(?:\d{{1,2}} )?(?:(?:{_MONTHS}) )?(\d{{4}}))\b")
NUMBER = (
    r"(?:\d[\d,.]*\d|\d|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
    r"(?: (?:hundred|thousand|million|billion))?"
)
_UNIT = (
    r"(?:kilometres?|kilometers?|km|metres?|meters?|miles|days?|hours?|minutes?|seconds?|years?|"
    r"months?|weeks?|degrees|kelvin|solar masses|light-years?|percent|per cent|tonnes?|"
    r"kilograms?|grams?|times|astronomical units)(?: per \w+)?"
)
QUANTITY = rf"{NUMBER} {_UNIT}"
ABOUT = r"(?:about |around |nearly |roughly |over )?"
SUPERLATIVE = re.compile(
    r"the ((?:\w+est|most (?:\w+ly )?\w+|least \w+|best-known|only|first|second|third|fourth|fifth|"
    r"sixth|seventh|eighth|ninth|tenth|last|main)(?: known)?) ((?:[a-z-]+ )*?[a-z-]+)"
    r"( (?:in|of|on|from|at|around|that|to|with|for|near|between)\b.*)?$"
)
_THING = re.compile(
    r"\d|^The |\b[A-Z]{3,}\b|\b(?:Space|Telescope|Observatory|Horizons|Mission|Agency|Galaxy|"
    r"Nebula|Moon|Sun|Belt|Cloud|Way|System|Ocean|Sea|River|Mount|University|Institute|Company|"
    r"Act|War|Union|Pathfinder|Explorer|Survey|Array|Crater|Comet|Great|Impact|Orbiter|Surveyor|"
    r"Express|Probe|Lander|Rover)\b"
)
_PERSON = re.compile(r"[A-Z][\w.'-]+(?: (?:[A-Z][\w.'-]*|de|van|von|der|la))+")


def third_person(base: str) -> str:
    """Returns a verb's third person singular."""
    if base == "have":
        return "has"
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ies"
    return base + ("es" if re.search(r"(?:s|x|z|ch|sh|o)$", base) else "s")


def _past(base: str) -> str:
    if base == "map":
        return "mapped"
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ied"
    return base + ("d" if base.endswith("e") else "ed")


PAST = {_past(base): base for base in _REGULAR} | _IRREGULAR
THIRD = {third_person(base): base for base in [*_REGULAR, *_PRESENT_ONLY]}
BASES = frozenset(THIRD.values()) | frozenset(PAST.values())


def past_of_participle(word: str) -> str | None:
    """Returns the simple past of a participle (``seen``: ``saw``), or None if unknown."""
    if word in _PARTICIPLE_TO_PAST:
        return _PARTICIPLE_TO_PAST[word]
    return word if word in PAST or (word.endswith("ed") and len(word) > 4) else None


def is_person(phrase: str) -> bool:
    """Tells whether a phrase looks like full names of people."""
    names = re.split(r" and |, ", phrase)
    return all(_PERSON.fullmatch(name) and not _THING.search(name) for name in names)


def who(phrase: str) -> str:
    """Returns the question word for a phrase."""
    return "who" if is_person(phrase) else "what"
