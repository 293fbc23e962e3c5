"""The scores as a terminal table: one row per model."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from eval.scores.verdicts import interval_text, percent


def score_table(scores: dict[str, Any]) -> Table:
    """Returns the content of ``scores.json`` as a table.

    Args:
        scores: what ``eval.scores`` wrote.

    Returns:
        One row per model: held-out perplexity per set, accuracy per group with its 95% interval;
        chance is in the caption.
    """
    models = scores["models"]
    sets = [h["set"] for h in models[0]["heldout"]] if models else []
    groups = list(models[0]["groups"]) if models else []
    table = Table(title="Scores", title_justify="left", caption_justify="left")
    table.add_column("model", no_wrap=True)
    for name in sets:
        table.add_column(f"perplexity\n{name}", justify="right")
    for group in groups:
        table.add_column(f"{group} accuracy\n\\[95% interval]", justify="right", no_wrap=True)
    for model in models:
        heldout = {h["set"]: h["perplexity"] for h in model["heldout"]}
        cells = [model["name"], *(_number(heldout.get(name)) for name in sets)]
        # rich reads "[42.9, 64.3]" as markup unless the bracket is escaped.
        cells += [interval_text(model["groups"].get(g, {})).replace("[", r"\[") for g in groups]
        table.add_row(*cells)
    chances = [
        f"{group} {percent(models[0]['groups'][group]['chance'])}"
        for group in groups
        if models[0]["groups"][group]["chance"] is not None
    ]
    table.caption = f"guessing: {', '.join(chances)}" if chances else None
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"
