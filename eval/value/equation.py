"""The value score: accuracy and price of a model as one number.

AstroMLab 4, Equation 1::

    Value = (Score - Score_GPT4) / 3.5 + log10(Cost_GPT4 / Cost)

Scores are in percentage points. A model that costs ten times as much as another of its time scores
about 3.5 points more (AstroMLab 1), so 3.5 points and a factor of ten in cost weigh the same. The
baseline's value is 0; +1 is the baseline's score at a tenth of its cost.

A published table has rounded numbers, so what follows from them is an interval: :class:`Rounded`
carries half the width along. Costs are compared as decimal logarithms, where rounding is symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log10

POINTS_PER_DECADE = 3.5
"""Percentage points that a tenfold cost buys: AstroMLab 1's slope, in Equation 1 of AstroMLab 4."""


@dataclass(frozen=True)
class Rounded:
    """A number known to ``value`` - ``half_width`` .. ``value`` + ``half_width``."""

    value: float
    half_width: float = 0.0

    @property
    def low(self) -> float:
        """Lower end."""
        return self.value - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.value + self.half_width

    def __sub__(self, other: Rounded) -> Rounded:
        """Returns the difference; the half widths add up, since roundings are independent."""
        return Rounded(self.value - other.value, self.half_width + other.half_width)

    def __add__(self, other: Rounded) -> Rounded:
        """Returns the sum."""
        return Rounded(self.value + other.value, self.half_width + other.half_width)

    def __neg__(self) -> Rounded:
        """Returns the negative, as wide."""
        return Rounded(-self.value, self.half_width)

    def decades(self) -> Rounded:
        """Returns a difference of scores as the decades of cost that it is worth."""
        return Rounded(self.value / POINTS_PER_DECADE, self.half_width / POINTS_PER_DECADE)

    def powers(self) -> tuple[float, float, float]:
        """Returns 10 to the low end, the value and the high end."""
        return 10**self.low, 10**self.value, 10**self.high

    def meets(self, low: float, high: float) -> bool:
        """Returns whether any number that it may stand for lies in ``low`` .. ``high``."""
        # A score of 81.9 is 81.85 to 81.95: a hair of tolerance, so that ends that touch count.
        return self.high >= low - _TOLERANCE and self.low <= high + _TOLERANCE


_TOLERANCE = 1e-9


def value_score(
    score_percent: float, cost: float, baseline_score_percent: float, baseline_cost: float
) -> float:
    """Returns the value of a model, Equation 1.

    Args:
        score_percent: share of right answers, 0 to 100.
        cost: for a number of tokens; any unit that the baseline's has, too.
        baseline_score_percent: the baseline's (GPT-4's) score.
        baseline_cost: the baseline's cost.

    Raises:
        ValueError: a score is no percentage, or a cost is not above 0.
    """
    points = _score(score_percent) - _score(baseline_score_percent)
    return points / POINTS_PER_DECADE + log10(_cost(baseline_cost)) - log10(_cost(cost))


def implied_relative_cost(
    score_percent: float, value: float, baseline_score_percent: float
) -> float:
    """Returns cost / baseline's cost from a model's score and value: Equation 1 turned round.

    Raises:
        ValueError: a score is no percentage, or the value is not finite.
    """
    if not isfinite(value):
        raise ValueError(f"a value score must be finite, not {value}")
    points = _score(score_percent) - _score(baseline_score_percent)
    return float(10 ** (points / POINTS_PER_DECADE - value))


def log_relative_cost(score: Rounded, value: Rounded, baseline_score: Rounded) -> Rounded:
    """Returns log10(cost / baseline's cost) with all that rounding leaves open.

    One decimal of the scores and two of the value leave +-0.034, 8% in cost.
    """
    return (score - baseline_score).decades() - value


def log_cost_ratio(
    score: Rounded, value: Rounded, other_score: Rounded, other_value: Rounded
) -> Rounded:
    """Returns log10(cost / other's cost); the baseline's score and its rounding cancel."""
    return (score - other_score).decades() - (value - other_value)


def worth_in_cost(points: float) -> float:
    """Returns the factor in cost that a lead in percentage points is worth: 10^(points / 3.5)."""
    return float(10 ** (points / POINTS_PER_DECADE))


def score_at(value: float, log_relative: float, baseline_score_percent: float) -> float:
    """Returns the score of value ``value`` at a cost of 10^``log_relative`` times the baseline's.

    A line of equal value in the figure: 3.5 points more for each decade.
    """
    return baseline_score_percent + POINTS_PER_DECADE * (value + log_relative)


def corpus_cost_usd(tokens: float, usd_per_100k_tokens: float) -> float:
    """Returns what it costs to have a model read or write so many tokens, in US dollars.

    Input and output count alike, as the mean of their prices does (AstroMLab 4, section 4.2).

    Raises:
        ValueError: there are fewer than no tokens, or the price is not above 0.
    """
    if not (isfinite(tokens) and tokens >= 0):
        raise ValueError(f"{tokens} is not a number of tokens")
    return tokens / 1e5 * _cost(usd_per_100k_tokens)


def _score(score_percent: float) -> float:
    if not 0 <= score_percent <= 100:
        raise ValueError(f"a score must be 0 to 100 percent, not {score_percent}")
    return score_percent


def _cost(cost: float) -> float:
    if not (isfinite(cost) and cost > 0):
        raise ValueError(f"a cost must be above 0, not {cost}")
    return cost
