"""Summaries by taking sentences out: no language model.

A paper says what it found in its abstract and its conclusions: the first sentences of both are
taken, or where a text has neither, the first sentence of each section. Nothing is put in other
words, so such a summary is an extract, good for trying the stages that read summaries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from core.llm.engine import GenerateRequest, Generation
from core.llm.rules_text import split_sentences
from core.sections import Section, section_name, split_sections

MAX_SENTENCES = 6
"""Of a summary; about 150 words."""

SHORT_SENTENCES = 1
PART_SENTENCES = 3
MAX_SENTENCE_WORDS = 60

_ABSTRACT = frozenset({"abstract", "summary", "aims", "overview"})
_CONCLUSION = frozenset(
    {
        "conclusion",
        "conclusions",
        "summary and conclusions",
        "discussion and conclusions",
        "conclusions and outlook",
        "concluding remarks",
        "summary",
        "key points",
    }
)
# A sentence that needs the one before it, or speaks of a figure, says little by itself.
_LEANS = re.compile(
    r"(?:however|therefore|thus|hence|moreover|furthermore|also|but|and|these|those|this|it|they|"
    r"he|she|such|in addition|as a result)\b",
    re.IGNORECASE,
)
_REFERS = re.compile(r"\b(?:fig(?:ure|s)?\.?|tables?|eqs?\.|section|sect\.) ?\(?\d", re.IGNORECASE)


def answer_summary(request: GenerateRequest) -> Generation:
    """Answers the task ``summary``: ``{"summary": ...}``, with ``short`` where that is asked for.

    Args:
        request: ``inputs`` has ``kind`` (``whole``, ``part`` or ``combine``), ``text`` and
            ``short`` (empty: not asked for).
    """
    try:
        kind, text = request.inputs["kind"], request.inputs["text"]
        short = bool(request.inputs["short"])
    except KeyError as error:
        return Generation("", "error", error=f"bad inputs: {error!r}")
    # A text of formulas or code alone has no such sentence: any is better than an empty answer.
    sentences = _extract(kind, text) or split_sentences(text)[:PART_SENTENCES]
    value = {"summary": " ".join(sentences)}
    if short:
        value["short"] = " ".join(sentences[:SHORT_SENTENCES])
    return Generation(json.dumps(_bounded(value, request), ensure_ascii=False), "stop")


def _extract(kind: str, text: str) -> list[str]:
    if kind == "combine":
        # One paragraph per part: the first sentences of each, in turn, until there are enough.
        return _spread([list(_plain(p)) for p in text.split("\n\n")], MAX_SENTENCES)
    sections = split_sections(text)
    if kind == "part":
        named = _named(sections, text, _ABSTRACT) or _named(sections, text, _CONCLUSION)
        every = [_of(section, text) for section in sections]
        return named[:PART_SENTENCES] or _spread(every, PART_SENTENCES)
    abstract = _named(sections, text, _ABSTRACT)
    ending = [s for s in _named(sections, text, _CONCLUSION) if s not in abstract]
    taken = abstract[: MAX_SENTENCES - min(2, len(ending))]
    taken += ending[: MAX_SENTENCES - len(taken)]
    if len(taken) >= PART_SENTENCES:
        return taken
    return _spread([_of(section, text) for section in sections], MAX_SENTENCES)


def _named(sections: list[Section], text: str, names: frozenset[str]) -> list[str]:
    for section in sections:
        if section.path and section_name(section.path[-1]) in names:
            return _of(section, text)
    return []


def _of(section: Section, text: str) -> list[str]:
    paragraphs = [text[b.start_char : b.end_char] for b in section.blocks if not b.heading]
    return [sentence for paragraph in paragraphs for sentence in _plain(paragraph)]


def _plain(paragraph: str) -> Iterator[str]:
    for sentence in split_sentences(paragraph):
        words = len(sentence.split())
        starts = sentence[:1].isupper() or sentence[:1].isdigit()
        whole = sentence.endswith(".") and starts and 5 <= words <= MAX_SENTENCE_WORDS
        if whole and not _LEANS.match(sentence) and not _REFERS.search(sentence):
            yield sentence


def _spread(groups: list[list[str]], most: int) -> list[str]:
    """Returns the first sentence of each group, then the second, in the order of the text."""
    chosen: list[tuple[int, int]] = []
    deepest = max(map(len, groups), default=0)
    for turn in range(deepest):
        chosen += [(place, turn) for place, group in enumerate(groups) if turn < len(group)]
        if len(chosen) >= most:
            break
    sentences = [groups[place][turn] for place, turn in sorted(chosen[:most])]
    return list(dict.fromkeys(sentences))


def _bounded(value: dict[str, str], request: GenerateRequest) -> Mapping[str, str]:
    """Returns the texts without the sentences that are over the schema's lengths."""
    properties = (request.schema or {}).get("properties", {})
    bounded = {}
    for name, text in value.items():
        most = int(properties.get(name, {}).get("maxLength", len(text)))
        while len(text) > most and ". " in text:
            text = text[: text.rindex(". ") + 1]
        bounded[name] = text[:most]
    return bounded
