"""The few numbers at the top of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.report.gather import RunData
from eval.report.text import MINUS, compact, number
from eval.scores.verdicts import percent


@dataclass(frozen=True)
class Tile:
    """A number, what it is, and a note."""

    value: str
    label: str
    note: str


def tiles(data: RunData) -> list[Tile]:
    """Returns the tiles that the finished stages allow."""
    found: list[Tile] = []
    models = data.models
    if models:
        last = models[-1]
        domain = last["groups"].get("domain", {})
        if domain.get("accuracy") is not None:
            note = f"95% interval {100 * domain['low']:.1f} to {100 * domain['high']:.1f}"
            note += f"; chance {percent(domain['chance'])}"
            label = f"in-domain accuracy of {last['name']}"
            found.append(Tile(percent(domain["accuracy"]), label, note))
        found += _fall(models)
    if data.corpus.documents:
        sources = len(data.corpus.sources)
        note = f"{compact(data.corpus.chars)} characters from {sources} "
        note += "source" if sources == 1 else "sources"
        found.append(Tile(number(data.corpus.documents), "documents", note))
    if data.synth.pair_count:
        note = f"written by: {', '.join(data.synth.pair_models)}"
        found.append(Tile(number(data.synth.pair_count), "question–answer pairs", note))
    return found


def _fall(models: Sequence[dict[str, Any]]) -> list[Tile]:
    start = models[0]
    model = next((m for m in models[1:] if m["name"] == "cpt"), models[-1])
    for before, after in zip(start["heldout"], model["heldout"], strict=False):
        comparable = before["tokens"] == after["tokens"] and before["perplexity"]
        if before["group"] == "domain" and comparable and after["perplexity"]:
            change = after["perplexity"] / before["perplexity"] - 1
            # A true minus sign lines up with the digits.
            value = f"{100 * change:+.0f}%".replace("-", MINUS)
            note = f"{number(before['perplexity'], 1)} ({start['name']}) to "
            note += number(after["perplexity"], 1)
            return [Tile(value, f"held-out perplexity of {model['name']}", note)]
    return []
