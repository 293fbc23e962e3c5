"""Mean scores under a judge's probabilities.

::

    Score: [5,4,|      P(1) .. P(5) as next token, normalised  ->  sum of n * P(n)

A score's alternatives are weighed at the place where the judge wrote it, after the scores that it
wrote before; so the four means belong to one verdict. Probabilities of anything but a score are
left out. G-Eval (Liu et al. 2023, arXiv:2303.16634, section 2) takes the mean in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.llm import Choice, ChoiceRequest, GenerateRequest
from synth.judge.verdict import CRITERIA, Verdict


def score_choices(
    request: GenerateRequest, text: str, verdict: Verdict, scale: int
) -> list[ChoiceRequest]:
    """Returns the question for every score of a verdict, in the order of the criteria.

    Args:
        request: what the judge was asked.
        text: what it wrote.
        verdict: read from that text.
        scale: the highest score.
    """
    # "1" also begins "10": with two digits the bracket behind belongs to the alternative.
    end = "" if scale < 10 else "]]"
    asked = []
    for name in CRITERIA:
        if name not in verdict.spans:
            continue
        before = text[: verdict.spans[name][0]]
        scores = [f"{score}{end}" for score in range(1, scale + 1)]
        if request.messages:
            # What stands before is the same in all of them and cancels out.
            choices = tuple(before + score for score in scores)
            asked.append(ChoiceRequest(messages=request.messages, choices=choices))
        else:
            asked.append(ChoiceRequest(prompt=request.prompt + before, choices=tuple(scores)))
    return asked


def mean_score(choice: Choice) -> float:
    """Returns the mean of 1, 2, ... under the alternatives' normalised probabilities."""
    top = max(choice.logprobs)
    weights = [math.exp(value - top) for value in choice.logprobs]
    total = math.fsum(weights)
    return math.fsum(n * weight for n, weight in enumerate(weights, 1)) / total


def expected_scores(verdict: Verdict, choices: Sequence[Choice]) -> list[float | None]:
    """Returns a row's ``expected_scores``: a mean per criterion, None where it has no score.

    Raises:
        ValueError: the judge's probabilities are not to be had; says why.
    """
    given = iter(choices)
    means: list[float | None] = []
    for name in CRITERIA:
        if name not in verdict.spans:
            means.append(None)
            continue
        choice = next(given)
        if choice.error is not None:
            raise ValueError(choice.error)
        if any(map(math.isnan, choice.logprobs)) or max(choice.logprobs) == -math.inf:
            raise ValueError("no score has a probability")
        means.append(mean_score(choice))
    return means
