"""Hand-written ratings shown to the judge, and which of them a run shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import InputError
from core.hashing import sha256_text
from core.recipe.judge import SCORE_SCALE
from core.yaml_reader import read_yaml
from synth.judge.verdict import CRITERIA

EXAMPLES_FILE = Path(__file__).parents[1] / "prompts" / "judge_examples.yaml"

NO_FAULT = "none"

_TEXTS = ("fault", "passage", "question", "answer", "explanation")


@dataclass(frozen=True)
class Example:
    """One rated pair.

    Args:
        fault: ``none``, or the kind of fault it shows.
        passage: what the pair was written from.
        question: on one line.
        answer: on one line.
        scores: in the order of the criteria.
        explanation: why, on one line.
    """

    fault: str
    passage: str
    question: str
    answer: str
    scores: tuple[int, ...]
    explanation: str


def read_examples(path: Path) -> list[Example]:
    """Reads a file of examples.

    Raises:
        InputError: it is missing or not in the form of ``judge_examples.yaml``.
    """
    try:
        listed = read_yaml(path.read_text(encoding="utf-8"))["examples"]
        return [_example(number, row) for number, row in enumerate(listed, 1)]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise InputError(
            f"these are no examples for a judge: {type(error).__name__}: {error}",
            where=str(path),
            remedy="write them like synth/prompts/judge_examples.yaml: a list 'examples' of fault, "
            "passage, question, answer, scores and explanation",
        ) from error


def _example(number: int, row: Any) -> Example:
    texts = {name: row[name] for name in _TEXTS}
    if any(not isinstance(text, str) or not text.strip() for text in texts.values()):
        raise ValueError(f"example {number}: {', '.join(_TEXTS)} are texts")
    scores = row["scores"]
    if not isinstance(scores, list) or len(scores) != len(CRITERIA):
        raise ValueError(f"example {number}: the scores are a list of {len(CRITERIA)}")
    if any(type(score) is not int or not 1 <= score <= SCORE_SCALE for score in scores):
        raise ValueError(f"example {number}: scores are integers from 1 to {SCORE_SCALE}")
    # One line each: a line break ends a verdict.
    return Example(**{k: " ".join(v.split()) for k, v in texts.items()}, scores=tuple(scores))


def choose_examples(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Returns ``count`` examples in an order, both drawn by the seed.

    Half of them (the smaller half of an odd number) have no fault; of the others every kind of
    fault comes once before one comes twice. The order is shuffled, since a model leans towards the
    last examples it saw.

    Raises:
        ValueError: there are too few of either.
    """

    def drawn(draw: str, example: Example) -> str:
        # By hash: the same on every Python version.
        return sha256_text(f"{seed}\n{draw}\n{example.question}")

    pool = sorted(examples, key=lambda e: drawn("choice", e))
    good = [e for e in pool if e.fault == NO_FAULT]
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, Example]] = []
    for place, example in enumerate(e for e in pool if e.fault != NO_FAULT):
        turns[example.fault] = turns.get(example.fault, 0) + 1
        ranked.append((turns[example.fault], place, example))
    bad = [example for _, _, example in sorted(ranked, key=lambda item: item[:2])]
    half = count // 2
    if len(good) < half or len(bad) < count - half:
        raise ValueError(
            f"{count} examples need {half} without a fault and {count - half} with one; there are "
            f"{len(good)} and {len(bad)}"
        )
    chosen = [*good[:half], *bad[: count - half]]
    return sorted(chosen, key=lambda e: drawn("order", e))
