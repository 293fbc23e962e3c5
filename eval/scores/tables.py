"""Calibration, position bias, comparisons and contamination as terminal tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from eval.scores.paired import SIGNIFICANT
from eval.scores.verdicts import interval_text, p_text, percent, points


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=number == 0)
    return table


def _p(value: float | None) -> str:
    """Returns a p-value without its letter: ``0.012``, ``< 0.001``."""
    return "–" if value is None else p_text(value).removeprefix("p ").removeprefix("= ")


def _cell(values: dict[str, Any] | None) -> str:
    # rich reads "[42.9, 64.3]" as markup unless the bracket is escaped.
    return escape(interval_text(values or {}))


def paired_table(entries: Sequence[dict[str, Any]], title: str = "Same questions") -> Table:
    """Returns comparisons of pairs, one row each; group and topic where entries have them."""
    places = [key for key in ("group", "topic") if any(key in entry for entry in entries)]
    table = _table(
        title,
        "b",
        "against a",
        *places,
        "questions",
        "only b : only a",
        "points \\[95%]",
        "p",
        "Holm",
    )
    for entry in entries:
        marked = "*" if entry["p_holm"] < SIGNIFICANT else ""
        table.add_row(
            escape(entry["b"]),
            escape(entry["a"]),
            *(escape(str(entry[place])) for place in places),
            f"{entry['total']:,}",
            f"{entry['b_only']:,} : {entry['a_only']:,}",
            escape(points(entry).replace(" points", "")),
            _p(entry["p_value"]),
            _p(entry["p_holm"]) + marked,
        )
    table.caption = (
        "only b: questions that b has right and a wrong; p: McNemar, exact; Holm: corrected for "
        "all rows of a group, * below 0.05"
    )
    return table


def answered_table(models: Sequence[dict[str, Any]]) -> Table | None:
    """Returns what was asked and not answered; None where everything was answered."""
    rows = []
    for model in models:
        asked, unanswered, truncated, missing = (
            sum(bench[key] for bench in model["benchmarks"])
            for key in ("asked", "unanswered", "truncated", "missing")
        )
        if unanswered or missing:
            rows.append((model["name"], asked, unanswered, truncated, missing))
    if not rows:
        return None
    table = _table("Not answered", "model", "asked", "unanswered", "of these cut off", "not scored")
    for name, asked, unanswered, truncated, missing in rows:
        share = f" ({percent(unanswered / asked)})" if asked else ""
        table.add_row(
            escape(name), f"{asked:,}", f"{unanswered:,}{share}", f"{truncated:,}", f"{missing:,}"
        )
    table.caption = "unanswered counts as wrong; not scored counts not at all"
    return table


def calibration_table(entries: Sequence[dict[str, Any]]) -> Table:
    """Returns calibration, one row per label and group."""
    table = _table(
        "Calibration", "model", "group", "questions", "confidence", "accuracy", "ECE",
        "ECE equal mass", "Brier", "of guessing",
    )  # fmt: skip
    for entry in entries:
        table.add_row(
            escape(entry["name"]) + ("" if entry["meaningful"] else " ¹"),
            entry["group"],
            f"{entry['total']:,}",
            percent(entry["mean_confidence"]),
            percent(entry["accuracy"]),
            *(f"{entry[key]:.3f}" for key in ("ece", "ece_equal_mass", "brier", "brier_guess")),
        )
    if not all(entry["meaningful"] for entry in entries):
        table.caption = "¹ scores that rank answers; no probabilities"
    return table


def bias_table(entries: Sequence[dict[str, Any]]) -> Table:
    """Returns position bias, one row per label and group that was asked in several orders."""
    shown = [entry for entry in entries if entry["permutations"]]
    letters = [
        place["position"] for place in max((e["positions"] for e in shown), key=len, default=[])
    ]
    table = _table(
        "Position bias: share of answers on each place shown",
        "model", "group", "orders", *letters, "same in all", "accuracy over all", "p",
    )  # fmt: skip
    for entry in shown:
        shares = [p["chosen_share"] for p in entry["positions"]]
        same = entry["consistency"]
        table.add_row(
            escape(entry["name"]),
            entry["group"],
            str(entry["permutations"] + 1),
            *("–" if s is None else percent(s) for s in shares),
            *("" for _ in range(len(letters) - len(shares))),
            _cell(same and {**same, "accuracy": same["share"]}),
            _cell(entry["averaged"]),
            _p(entry["p_value"]),
        )
    table.caption = "p: chi-square that the order does not matter, within questions"
    return table


def contaminated_table(found: dict[str, Any]) -> Table:
    """Returns accuracy with and without the questions that the corpus held."""
    table = _table(
        "Questions that the corpus held before it was cleaned",
        "model", "group", "all", "without them", "only them",
    )  # fmt: skip
    for entry in found["models"]:
        cells = (_cell(entry[key]) for key in ("all", "clean", "flagged"))
        table.add_row(escape(entry["name"]), entry["group"], *cells)
    known = (
        f"{b['name']}: {b['flagged']:,} of {b['items']:,}"
        if b["known"]
        else f"{b['name']}: not looked for"
        for b in found["benchmarks"]
    )
    table.caption = "; ".join(known)
    return table


def detail_tables(scores: dict[str, Any]) -> Iterable[Table]:
    """Yields the tables of ``scores.json`` that have something to show."""
    unanswered = answered_table(scores["models"])
    if unanswered is not None:
        yield unanswered
    if scores["paired"]:
        yield paired_table(scores["paired"])
    if scores["calibration"]:
        yield calibration_table(scores["calibration"])
    if any(entry["permutations"] for entry in scores["position_bias"]):
        yield bias_table(scores["position_bias"])
    if scores["contaminated"]:
        yield contaminated_table(scores["contaminated"])


def submitted_table(record: dict[str, Any]) -> Table:
    """Returns the accuracies of a scored file, one row per model."""
    table = _table("Scores", "model", "right", "accuracy \\[95%]", "unread")
    for model in record["models"]:
        table.add_row(
            escape(model["name"]),
            f"{model['correct']:,} of {model['total']:,}",
            _cell(model),
            f"{model['unanswered']:,}",
        )
    table.caption = f"{record['missing']:,} questions are not in the file and count as wrong"
    return table
