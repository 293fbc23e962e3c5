"""Unrelated multiple-choice questions as conversations: the stage ``synth.control``.

AstroMLab 3, section IV: a control for the merge, "unrelated multiple-choice questions using
identical output formatting". The prompts are the benchmark's own (:mod:`core.mcq_format`); a
question that a benchmark holds is a reject, and so is one of the field itself.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from core.contamination import ContaminationIndex
from core.contamination_files import load_index
from core.hashing import sha256_value
from core.mcq_format import json_answer, json_prompt, listed
from core.overlap import Rules
from core.questions import ENDINGS
from core.recipe.control import Control
from core.rejects import Reason, Reject
from core.schema import CONVERSATION
from core.sources import SourceIndex, find_files
from core.stage import ShardResult, ShardStage, StageContext, Unit

DATASET = "control"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_LETTER_ONLY = "Answer with the letter only."
"""The end of ``eval.mcq``'s question in mode ``letter``; a test holds that the two agree."""


class Question(Protocol):
    """A multiple-choice question: what ``eval.items`` reads."""

    @property
    def item_id(self) -> str:
        """Its name."""

    @property
    def question(self) -> str:
        """What is asked."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Answers to choose from."""

    @property
    def answer(self) -> int | None:
        """The right choice, from 0; None without a key."""

    @property
    def topic(self) -> str | None:
        """What it is about."""


Loader = Callable[[Path], tuple[Sequence[Question], list[Reject]]]
"""Reads a file of questions. Handed in, since stage packages do not import each other."""


def conversation(
    question: Question, section: Control, order: Sequence[int]
) -> list[dict[str, str]]:
    """Returns the turns that ask a question and answer it in the section's format.

    Args:
        question: with a key.
        section: the format.
        order: the choices in the order shown.
    """
    assert question.answer is not None, "questions without a key are rejects"
    texts = [question.choices[n] for n in order]
    right = list(order).index(question.answer)
    if section.format == "json":
        asked = json_prompt(question.question, texts)
        # Files have no reasons, and an empty one would teach to give none.
        answer = json_answer(right, f"The right choice is: {texts[right]}")
    elif section.format == "letter":
        asked = f"{question.question}\n{listed(texts)}\n{_LETTER_ONLY}"
        answer = LETTERS[right]
    else:
        asked, answer = question.question, texts[right]
    system = section.system_prompt
    head = [{"role": "system", "content": system}] if system else []
    return [
        *head,
        {"role": "user", "content": asked},
        {"role": "assistant", "content": answer},
    ]


def shown_order(question: Question, section: Control, seed: int) -> list[int]:
    """Returns the choices in the order shown, the same for a question whatever else there is."""
    order = list(range(len(question.choices)))
    if section.shuffle:
        drawn = int(sha256_value([seed, question.item_id, question.question])[:16], 16)
        random.Random(drawn).shuffle(order)
    return order


def control_conversations(
    questions: Iterable[Question],
    section: Control,
    seed: int,
    place: str,
    index: ContaminationIndex | None = None,
) -> tuple[pa.Table, list[Reject], Counter[str]]:
    """Returns the conversations of a file's questions, and the questions that give none.

    The counts are of the places where right answers are shown: a key that prefers one is seen.

    Args:
        questions: of one file.
        section: the recipe section.
        seed: the recipe's.
        place: what ids begin with.
        index: the benchmarks' questions, which must not be trained on.
    """
    topics = _words(section.drop_topics)
    keywords = _words(section.drop_keywords)
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    counts: Counter[str] = Counter()
    for question in questions:
        conv_id = f"{DATASET}:{place}:{question.item_id}"
        fault = _fault(question, topics, keywords, index)
        if fault is not None:
            rejects.append(Reject(conv_id, *fault, _said(question)))
            continue
        order = shown_order(question, section, seed)
        counts[f"right_at_{order.index(question.answer or 0) + 1}"] += 1
        rows.append(
            {
                "conv_id": conv_id,
                "dataset": DATASET,
                "messages": conversation(question, section, order),
                "reasoning": False,
                "doc_ids": [],
            }
        )
    return pa.Table.from_pylist(rows, schema=CONVERSATION), rejects, counts


def _said(question: Question) -> str:
    return f"{question.question}\n{listed(question.choices)}"


def _words(words: Sequence[str]) -> re.Pattern[str] | None:
    parts = [re.escape(word.strip()) for word in words if word.strip()]
    # "_" joins words in the names of topics, and must end one.
    joined = "|".join(sorted(parts, key=len, reverse=True))
    return re.compile(rf"(?<![^\W_])(?:{joined})(?![^\W_])", re.IGNORECASE) if parts else None


def _fault(
    question: Question,
    topics: re.Pattern[str] | None,
    keywords: re.Pattern[str] | None,
    index: ContaminationIndex | None,
) -> tuple[Reason, str] | None:
    if question.answer is None:
        return Reason.MALFORMED_RECORD, "no key: there is no answer to learn"
    if topics and question.topic and (found := topics.search(question.topic)):
        return Reason.EXCLUDED_CATEGORY, f"the topic '{question.topic}' has '{found.group()}'"
    if keywords and (found := keywords.search(_said(question))):
        return Reason.KEYWORD, repr(found.group())
    if index is not None:
        held = index.find_pair(question.question, listed(question.choices))
        if held:
            match = held[0]
            item = f"{match.benchmark}:{match.item_id}"
            return Reason.CONTAMINATED, f"{item} ({match.words} words of the {match.part})"
    return None


class ControlStage(ShardStage):
    """Question files to conversations, one shard per file."""

    name = "synth.control"
    description: ClassVar[str] = "Unrelated multiple-choice questions in the benchmark's format."
    code_version = 2
    row_unit = "conversation"
    schema = CONVERSATION

    def __init__(
        self, section: Control, load: Loader, benchmarks: Mapping[str, str], rules: Rules
    ) -> None:
        """Makes the stage.

        Args:
            section: the recipe section.
            load: reads a file of questions.
            benchmarks: name to path of the questions that must not be trained on.
            rules: what counts as one of them.
        """
        self._section = section
        self._load = load
        self._benchmarks = dict(benchmarks)
        self._rules = rules

    def config(self) -> dict[str, Any]:
        """Returns the section, and what must not be trained on."""
        return {
            "control": self._section.model_dump(mode="json"),
            "benchmarks": self._benchmarks,
            "rules": asdict(self._rules),
        }

    def _question_files(self, ctx: StageContext) -> list[Path]:
        return find_files(ctx.root, self._section.paths, ENDINGS, "synth.control.paths")

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of questions, and the benchmarks'."""
        return self._question_files(ctx) + [ctx.path(path) for path in self._benchmarks.values()]

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per file."""
        held = sources.digest([ctx.path(path) for path in self._benchmarks.values()])
        units = []
        for index, path in enumerate(self._question_files(ctx)):
            payload = {"file": sources.name(path)}
            digest = sha256_value([payload, sources.digest([path]), held])
            units.append(Unit(index, payload, digest))
        return units

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads one file."""
        path = ctx.path(unit.payload["file"])
        questions, unreadable = self._load(path)
        index = None
        if self._benchmarks:
            index = load_index(ctx.root, self._benchmarks, self._rules)
        table, rejects, counts = control_conversations(
            questions, self._section, ctx.seed, path.stem, index
        )
        return ShardResult(
            table,
            unreadable + rejects,
            rows_in=table.num_rows + len(rejects) + len(unreadable),
            metrics=dict(sorted(counts.items())),
        )
