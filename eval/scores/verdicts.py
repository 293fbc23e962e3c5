"""Plain sentences on whether the models do what they are trained for.

Three questions, asked of the models after the first (the start):

* Did in-domain held-out perplexity fall by at least 30% against the first model? Asked of ``cpt``
  where there is one, since that is the stage trained on such text; else of all.
* Is in-domain accuracy above guessing by more than the interval: Wilson's low end > chance? Asked
  of all but ``cpt``, which has not been taught to answer; of it too where it is the only one.
* Is the in-domain accuracy of the same models above the first one's, over the questions that both
  were asked? By McNemar's exact test, which sees what two overlapping intervals hide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.scores.paired import SIGNIFICANT

PERPLEXITY_FALL = 0.30
"""Share by which continued pretraining should lower in-domain perplexity."""


@dataclass(frozen=True)
class Verdict:
    """A sentence, and whether what was hoped for holds."""

    sentence: str
    holds: bool


def percent(share: float, digits: int = 1) -> str:
    """Returns a share as a percentage: 0.538 is ``53.8%``."""
    return f"{100 * share:.{digits}f}%"


def interval_text(values: dict[str, Any]) -> str:
    """Returns an accuracy with its interval: ``53.8% [42.9, 64.3]``; a dash where there is none."""
    if values.get("accuracy") is None:
        return "–"
    low, high = 100 * values["low"], 100 * values["high"]
    return f"{percent(values['accuracy'])} [{low:.1f}, {high:.1f}]"


def points(values: dict[str, Any]) -> str:
    """Returns a difference with its interval in points: ``+27.5 points [16.1, 38.0]``."""
    found, low, high = (100 * values[key] for key in ("difference", "low", "high"))
    return f"{found:+.1f} points [{low:.1f}, {high:.1f}]"


def p_text(p_value: float) -> str:
    """Returns a p-value as ``p = 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def verdicts(
    models: Sequence[dict[str, Any]], paired: Sequence[dict[str, Any]] = ()
) -> list[Verdict]:
    """Returns the verdicts over the ``models`` and ``paired`` entries of ``scores.json``.

    Args:
        models: first model first.
        paired: comparisons with the first one are used, others passed over.
    """
    said: list[Verdict] = []
    later = list(models[1:])
    seen = {_model_of(models[0])} if models else set()
    for model in [m for m in later if _model_of(m) == "cpt"] or later:
        # A model asked in several modes has several entries, but one likelihood.
        if _model_of(model) not in seen:
            seen.add(_model_of(model))
            said += _perplexity_verdicts(models[0], model)
    taught = [m for m in later if _model_of(m) != "cpt"] or later
    for model in taught:
        values = model["groups"].get("domain")
        if values and values["accuracy"] is not None:
            said.append(_chance_verdict(model["name"], values))
    names = {m["name"] for m in taught}
    for entry in paired:
        if entry["group"] == "domain" and entry["a"] == models[0]["name"] and entry["b"] in names:
            said.append(_paired_verdict(entry))
    return said


def _model_of(model: dict[str, Any]) -> str:
    """Returns which model an entry is of; its name is that of its label."""
    return str(model.get("model", model["name"]))


def _paired_verdict(entry: dict[str, Any]) -> Verdict:
    numbers = (
        f"{points(entry)} over the same {entry['total']} questions (McNemar, "
        f"{p_text(entry['p_value'])})"
    )
    start = f"{entry['b']}: in-domain accuracy against {entry['a']}: {numbers}"
    if entry["p_value"] >= SIGNIFICANT:
        return Verdict(f"{start}: no clear difference.", False)
    better = entry["difference"] > 0
    return Verdict(f"{start}: {'better' if better else 'worse'}.", better)


def _chance_verdict(name: str, values: dict[str, Any]) -> Verdict:
    numbers = f"{interval_text(values)} over {values['total']} questions"
    chance = percent(values["chance"])
    if values["low"] > values["chance"]:
        sentence = (
            f"{name}: in-domain accuracy {numbers} is above chance ({chance}) by more than its "
            "95% interval."
        )
        return Verdict(sentence, True)
    word = "below" if values["high"] < values["chance"] else "not clearly above"
    return Verdict(f"{name}: in-domain accuracy {numbers} is {word} chance ({chance}).", False)


def _perplexity_verdicts(start: dict[str, Any], model: dict[str, Any]) -> list[Verdict]:
    before = {h["set"]: h for h in start["heldout"] if h["group"] == "domain"}
    return [
        _perplexity_verdict(start["name"], model["name"], before[after["set"]], after)
        for after in model["heldout"]
        if after["set"] in before
    ]


def _perplexity_verdict(
    start: str, name: str, before: dict[str, Any], after: dict[str, Any]
) -> Verdict:
    label = f"{name}: in-domain held-out perplexity ({after['set']})"
    if before["perplexity"] is None or after["perplexity"] is None:
        return Verdict(f"{label} could not be compared with {start}: nothing was scored.", False)
    if (before["documents"], before["bytes"]) != (after["documents"], after["bytes"]):
        return Verdict(
            f"{label} could not be compared with {start}: different documents were scored.", False
        )
    if before["tokens"] != after["tokens"]:
        return Verdict(
            f"{label} cannot be compared per token with {start}, whose tokenizer differs; bits per "
            f"byte went from {before['bits_per_byte']:.3f} to {after['bits_per_byte']:.3f}.",
            False,
        )
    fall = 1 - after["perplexity"] / before["perplexity"]
    numbers = f"from {before['perplexity']:,.1f} ({start}) to {after['perplexity']:,.1f}"
    goal = percent(PERPLEXITY_FALL, 0)
    if fall >= PERPLEXITY_FALL:
        return Verdict(f"{label} fell by {percent(fall)}, {numbers}: at least {goal}.", True)
    moved = f"fell by only {percent(fall)}" if fall > 0 else f"rose by {percent(-fall)}"
    return Verdict(f"{label} {moved}, {numbers}: not the {goal} hoped for.", False)
