"""Scores as a model's card shows them, and as the Hub's model index has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.full_card import cell
from core.release.facts import ModelFacts


def model_index(facts: ModelFacts) -> list[dict[str, Any]]:
    """Returns the scores as the Hub's model index has them; one entry per benchmark and mode."""
    results = []
    for entry in facts.entries:
        for benchmark in entry.get("benchmarks", []):
            if benchmark.get("accuracy") is None:
                continue
            name, mode = str(benchmark["name"]), entry.get("mode")
            metric = {
                "type": "accuracy",
                "value": round(100 * benchmark["accuracy"], 2),
                "name": f"accuracy in percent; {_numbers(benchmark)}",
            }
            results.append(
                {
                    "task": {"type": "question-answering", "name": "multiple choice"},
                    "dataset": {"name": f"{name}{f' ({mode})' if mode else ''}", "type": name},
                    "metrics": [metric],
                }
            )
    return results


def _numbers(values: Mapping[str, Any]) -> str:
    chance = values.get("chance")
    guess = "" if chance is None else f", guessing {100 * chance:.1f}"
    low, high = 100 * values["low"], 100 * values["high"]
    return f"95% interval {low:.1f} to {high:.1f}, {values['total']:,} questions{guess}"


def score_values(facts: ModelFacts) -> dict[str, Any]:
    """Returns the values of the card's section on evaluation; empty where nothing was scored."""
    models = facts.scores["models"] if facts.scores else []
    if not models or not facts.entries:
        return {
            name: []
            for name in ("groups", "score_rows", "mode_notes", "heldout", "sets", "verdicts")
        } | {"guess": ""}
    groups = list(dict.fromkeys(group for m in models for group in m.get("groups", {})))
    sets = list(dict.fromkeys(h["set"] for m in models for h in m.get("heldout", [])))
    seen: set[str] = set()
    heldout = []
    for model in models:
        name = str(model.get("model", model["name"]))
        if name in seen:
            continue
        seen.add(name)
        by_set = {h["set"]: h for h in model.get("heldout", [])}
        cells = [_perplexity(by_set.get(s)) for s in sets]
        heldout.append({"name": _bold(name, facts), "cells": cells})
    return {
        "groups": groups,
        "score_rows": [
            {
                "name": _bold(model["name"], facts),
                "cells": [_percent(model.get("groups", {}).get(g, {})) for g in groups],
            }
            for model in models
        ],
        "guess": _guess(models[0], groups),
        "mode_notes": _mode_notes(facts),
        "heldout": heldout if sets else [],
        "sets": sets,
        "verdicts": [str(text) for text in (facts.scores or {}).get("verdicts", [])],
    }


def _bold(name: str, facts: ModelFacts) -> str:
    mine = {*facts.scored_as, *(str(e.get("model", e["name"])) for e in facts.entries)}
    return f"**{cell(name)}**" if name in mine else cell(name)


def _guess(model: Mapping[str, Any], groups: list[str]) -> str:
    chances = [
        f"{group} {100 * chance:.1f}"
        for group in groups
        if (chance := model.get("groups", {}).get(group, {}).get("chance")) is not None
    ]
    return f" Guessing would reach: {', '.join(chances)}." if chances else ""


def _mode_notes(facts: ModelFacts) -> list[str]:
    notes = []
    for entry in facts.entries:
        for group, values in entry.get("groups", {}).items():
            unanswered = values.get("unanswered")
            if unanswered:
                notes.append(
                    f"{entry['name']}, {group}: {unanswered:,} questions got no readable answer "
                    "and count as wrong."
                )
    return notes


def _percent(values: Mapping[str, Any]) -> str:
    if values.get("accuracy") is None:
        return "–"
    low, high = 100 * values["low"], 100 * values["high"]
    return f"{100 * values['accuracy']:.1f} [{low:.1f}, {high:.1f}]"


def _perplexity(values: Mapping[str, Any] | None) -> str:
    if not values or values.get("perplexity") is None:
        return "–"
    return f"{values['perplexity']:,.1f} ({values['tokens']:,})"


def general_values(facts: ModelFacts) -> dict[str, Any] | None:
    """Returns the values of the table of general benchmarks, or None where there is none."""
    found = facts.general
    if found is None:
        return None
    measured = set(found.get("measured", found["models"]))
    rows = []
    for model in found["models"]:
        scores = found["scores"].get(model, {})
        cells = [_general_cell(scores.get(b["key"])) for b in found["benchmarks"]]
        if any(cells):
            label = model if model in measured else f"{model} (published)"
            rows.append({"name": _bold(label, facts), "cells": cells})
    names = [cell(b.get("label") or b["name"]) for b in found["benchmarks"]]
    return {"names": names, "rows": rows, "limit": found.get("limit")}


def _general_cell(values: Mapping[str, Any] | None) -> str:
    if not values or values.get("score") is None:
        return ""
    error = values.get("stderr")
    return f"{values['score']:.1f}" + (f" ± {error:.1f}" if error is not None else "")


def score_limits(facts: ModelFacts) -> list[str]:
    """Returns what the scores do not show, or show to be weak; sentences."""
    found = []
    for entry in facts.entries:
        for group, values in entry.get("groups", {}).items():
            if values.get("accuracy") is None or values.get("chance") is None:
                continue
            if values["low"] <= values["chance"]:
                found.append(
                    f"On the {group} questions ({entry['name']}) it does not clearly do better "
                    f"than guessing: {_percent(values)}, guessing {100 * values['chance']:.1f}."
                )
    if facts.entries:
        found.append("It was scored on multiple-choice questions; other uses were not measured.")
    return found
