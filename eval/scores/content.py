"""``scores.json``: every number of the evaluation in one place.

Its shape; shares are from 0 to 1, ``low`` and ``high`` 95% intervals, null what was not measured.
A *label* is a row of every table (:class:`eval.scores.rows.Label`)::

    models          per label: name, model, mode, groups, benchmarks, topics, heldout
      groups        domain, general -> ACCURACY
      benchmarks    name, group, ACCURACY, missing (questions without a row: they were rejected)
      topics        topic, group, ACCURACY, versus_first (null for the first label): total, a_only,
                    b_only, difference, low, high, p_value, p_holm, mark ("+", "-" or "")
      heldout       set, group, documents, tokens, bytes, perplexity, bits_per_byte
    verdicts        sentences; verdict_holds: whether what was hoped for holds
    calibration     per label and group with keyed, scored answers: name, model, mode, group,
                    meaningful, note, total, accuracy, mean_confidence, overconfidence, ece,
                    ece_equal_mass, brier, brier_guess, bins, mass_bins (each: low_edge, high_edge,
                    total, confidence, accuracy, low, high)
    position_bias   per label and group, but not for mode choice, which lists none: name, model,
                    mode, group, permutations, answers, accuracy_spread, chi2, degrees, p_value,
                    positions (position, chosen, chosen_share, expected_share, right_total,
                    right_correct, accuracy, low, high),
                    consistency (same, total, share, low, high),
                    averaged (accuracy, low, high, questions, rows)
    paired          per group and pair: a, b, group, total, both_right, a_only, b_only, both_wrong,
                    accuracy_a, accuracy_b, difference (b - a), low, high, p_value, p_holm
    contaminated    null without a report of the corpus; else
      benchmarks    name, group, known, items, flagged, unmatched
      models        per label and group: name, model, mode, group, all, clean, flagged (each:
                    correct, total, accuracy, low, high), difference (flagged - clean), low, high

ACCURACY is correct, total (questions with a key), accuracy, low, high, chance, asked (with and
without key), unanswered, truncated. Only permutation 0, the file's own order, is scored; the others
go into ``position_bias``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from core.recipe.eval import Benchmark
from eval.scores.accuracy import accuracy, count_rows
from eval.scores.bias import position_bias
from eval.scores.calibration import calibration_entry
from eval.scores.contaminated import flag_counts, with_and_without
from eval.scores.paired import Marks, compare, compare_pairs, mark_of, marks, pairs_of, with_holm
from eval.scores.rows import Label, in_file_order
from eval.scores.verdicts import verdicts

GROUPS = ("domain", "general")

SMALL = ("total", "a_only", "b_only", "difference", "low", "high", "p_value", "p_holm")
"""What ``versus_first`` of a topic keeps."""

Likelihoods = Callable[[str], list[dict[str, Any]]]


@dataclass
class Gathered:
    """What the labels' rows leave behind, one label after the other.

    Args:
        benchmarks: of the recipe.
        items: all questions, schema :data:`eval.scores.rows.ITEM_SCHEMA`.
        likelihoods: gives a model's entries of ``heldout``.
    """

    benchmarks: Sequence[Benchmark]
    items: pl.DataFrame
    likelihoods: Likelihoods
    labels: list[Label] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    position_bias: list[dict[str, Any]] = field(default_factory=list)
    contaminated: list[dict[str, Any]] = field(default_factory=list)
    marks: dict[str, Marks] = field(default_factory=dict)

    def add(self, label: Label, rows: pl.DataFrame) -> None:
        """Takes a label's rows, of all permutations."""
        first = in_file_order(rows)
        self.labels.append(label)
        self.marks[label.name] = marks(first, len(self.items))
        self.models.append(label.record() | self._tables(label, first))
        for group in self._groups():
            who = label.record() | {"group": group}
            mine = first.filter(pl.col("group") == group)
            # Mode choice lists no choices: nothing is shown anywhere.
            bias = None
            if label.mode != "choice":
                bias = position_bias(rows.filter(pl.col("group") == group))
            found = (
                (self.calibration, calibration_entry(mine, label.mode)),
                (self.position_bias, bias),
                (self.contaminated, with_and_without(mine)),
            )
            for entries, entry in found:
                if entry is not None:
                    entries.append(who | entry)

    def _groups(self) -> list[str]:
        return [group for group in GROUPS if any(b.group == group for b in self.benchmarks)]

    def _tables(self, label: Label, first: pl.DataFrame) -> dict[str, Any]:
        counts = count_rows(first)
        topics = sorted({(c["group"], c["topic"]) for c in counts if c["topic"] is not None})
        sizes = dict(self.items.group_by("benchmark").len().iter_rows())
        tables: dict[str, Any] = {
            "groups": {
                group: accuracy([c for c in counts if c["group"] == group])
                for group in self._groups()
            },
            "benchmarks": [
                {"name": b.name, "group": b.group}
                | accuracy([c for c in counts if c["benchmark"] == b.name])
                for b in self.benchmarks
            ],
            "topics": [
                {"topic": topic, "group": group}
                | accuracy([c for c in counts if (c["group"], c["topic"]) == (group, topic)])
                for group, topic in topics
            ],
            "heldout": self.likelihoods(label.model),
        }
        for entry in tables["benchmarks"]:
            entry["missing"] = sizes.get(entry["name"], 0) - entry["asked"]
        return tables

    def content(self, found: Mapping[str, set[str]] | None) -> dict[str, Any]:
        """Returns the content of ``scores.json``; same rows, same value.

        Args:
            found: benchmark to ids that the corpus held, None where nobody looked.
        """
        self._compare_topics()
        paired = self.paired()
        said = verdicts(self.models, paired)
        return {
            "models": self.models,
            "verdicts": [v.sentence for v in said],
            "verdict_holds": [v.holds for v in said],
            "calibration": self.calibration,
            "position_bias": self.position_bias,
            "paired": paired,
            "contaminated": None
            if found is None
            else {
                "benchmarks": flag_counts(self.benchmarks, self.items, found),
                "models": self.contaminated,
            },
        }

    def paired(self) -> list[dict[str, Any]]:
        """Returns the comparisons that matter, group by group."""
        pairs = pairs_of([label.name for label in self.labels])
        groups = self.items["group"].to_numpy()
        return [
            entry | {"group": group}
            for group in self._groups()
            for entry in compare_pairs(self.marks, groups == group, pairs)
        ]

    def _compare_topics(self) -> None:
        """Adds ``versus_first`` to every topic of every label."""
        first = self.marks[self.labels[0].name]
        inside = dict(self._topic_masks())
        for number, model in enumerate(self.models):
            own = self.marks[model["name"]]
            for group in self._groups():
                topics = [t for t in model["topics"] if t["group"] == group]
                compared = []
                for topic in topics:
                    mask = inside[group, topic["topic"]]
                    entry = compare(first[mask], own[mask]) if number else None
                    topic["versus_first"] = None
                    if entry is not None:
                        compared.append((topic, entry))
                family = with_holm([entry for _, entry in compared])
                for (topic, _), entry in zip(compared, family, strict=True):
                    kept = {name: entry[name] for name in SMALL}
                    topic["versus_first"] = kept | {"mark": mark_of(entry)}

    def _topic_masks(self) -> Iterator[tuple[tuple[str, str], np.ndarray[Any, np.dtype[np.bool_]]]]:
        known = self.items.filter(pl.col("topic").is_not_null())
        for (group, topic), rows in known.group_by("group", "topic"):
            mask = np.zeros(len(self.items), dtype=np.bool_)
            mask[rows["place"].to_numpy()] = True
            yield (str(group), str(topic)), mask
