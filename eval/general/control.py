"""The control experiment's outcome: did the merge bring knowledge, or practice in answering?

AstroMLab 3, section IV, compares three models on the benchmark: before the merge, merged, and tuned
on unrelated questions in the same output format instead. Here the comparison is paired, question by
question (exact McNemar's test, Tango's interval, Holm's correction). "Near-identical" means that
the whole 95% interval of the difference lies within the recipe's margin; an interval that reaches
beyond leaves the matter open, however close the two scores are.

Files of the stage::

    control.json   {"margin", "groups": [{"group", "pairs": [...], "sentences": [...], "verdict"}]}
    control.md     the same as a table, for people

A pair has the keys of ``scores.json``'s ``paired``: ``a, b, total, both_right, a_only, b_only,
both_wrong, accuracy_a, accuracy_b, difference, low, high, p_value, p_holm``. ``verdict`` is one of
``practice`` (the control comes to the merge), ``more`` (the merge does better than the control),
``control_better``, ``no_gain`` (the merge does not do better than its start), ``open``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from core.atomic import write_json, write_text
from core.errors import RecipeError
from core.recipe.control import ControlComparison
from core.stage import JobResult, JobStage, StageContext
from eval.scores.answered import read_answered
from eval.scores.paired import SIGNIFICANT

SCORES_STAGE = "eval.scores"

Pair = dict[str, Any]

_VERDICTS = {
    "practice": "What the merge gained in {group} questions is practice in answering: "
    "{control}, which learned the form alone, is near-identical to {merged}.",
    "more": "{merged} gained more in {group} questions than practice in the form explains: "
    "it is better than {control}.",
    "control_better": "Practice in the form did more for {group} questions than the merge: "
    "{control} is better than {merged}.",
    "no_gain": "The merge did not measurably improve {group} questions, so that there is nothing "
    "to explain.",
    "open": "These {group} questions do not decide whether the merge's gain is practice: the "
    "interval of the difference between {control} and {merged} is wider than the margin.",
}


def verdict_of(start_merged: Pair, merged_control: Pair, margin: float) -> str:
    """Returns what the comparison says; the words are in the module's text.

    Args:
        start_merged: the merge against its start.
        merged_control: the control against the merge.
        margin: of what is near-identical, as a share.
    """
    if start_merged["p_holm"] >= SIGNIFICANT or start_merged["difference"] <= 0:
        return "no_gain"
    if merged_control["low"] >= -margin and merged_control["high"] <= margin:
        return "practice"
    if merged_control["p_holm"] < SIGNIFICANT:
        return "more" if merged_control["difference"] < 0 else "control_better"
    return "open"


def outcome(pairs: list[Pair], section: ControlComparison, names: tuple[str, str, str]) -> Pair:
    """Returns one group's entry of ``control.json``.

    Args:
        pairs: start-merged, start-control, merged-control on the same questions.
        section: the margin.
        names: labels of start, merge and control.
    """
    start_merged, _, merged_control = pairs
    verdict = verdict_of(start_merged, merged_control, section.margin)
    said = _VERDICTS[verdict].format(group=start_merged["group"], merged=names[1], control=names[2])
    return {
        "group": start_merged["group"],
        "pairs": [{k: v for k, v in pair.items() if k != "group"} for pair in pairs],
        "verdict": verdict,
        "sentences": [*map(_sentence, pairs), said],
    }


def _sentence(pair: Pair) -> str:
    return (
        f"{pair['b']} against {pair['a']}: {_points(pair['difference'])} points "
        f"(95% interval {_points(pair['low'])} to {_points(pair['high'])}; "
        f"{pair['b_only']} questions right that {pair['a']} has wrong, {pair['a_only']} the other "
        f"way; McNemar's p {pair['p_value']:.2g}, {pair['p_holm']:.2g} after Holm)."
    )


def _points(share: float) -> str:
    # A true minus sign, and no minus nought.
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")


def control_markdown(found: dict[str, Any]) -> str:
    """Returns ``control.md``."""
    lines = ["# Control experiment", ""]
    lines += [f"Near-identical: within {100 * found['margin']:g} points.", ""]
    for group in found["groups"]:
        lines += [f"## {group['group'].capitalize()} questions", ""]
        lines += ["| a | b | questions | a right | b right | b − a (95%) | p (Holm) |"]
        lines += ["|---|---|---:|---:|---:|---:|---:|"]
        for pair in group["pairs"]:
            lines.append(
                f"| {pair['a']} | {pair['b']} | {pair['total']} "
                f"| {100 * pair['accuracy_a']:.1f}% | {100 * pair['accuracy_b']:.1f}% "
                f"| {_points(pair['difference'])} ({_points(pair['low'])} to "
                f"{_points(pair['high'])}) | {pair['p_holm']:.2g} |"
            )
        lines += ["", group["sentences"][-1], ""]
    return "\n".join(lines)


class ControlComparisonStage(JobStage):
    """Compares start, merge and control."""

    name = "eval.control"
    description: ClassVar[str] = "The control experiment: merge against practice in answering"
    row_unit = "comparison"
    inputs = (SCORES_STAGE,)

    def __init__(self, section: ControlComparison, models: dict[str, str]) -> None:
        """Takes the recipe's parts.

        Args:
            section: which models play which part.
            models: of ``eval.models``.

        Raises:
            RecipeError: one of them is not there, or two are the same.
        """
        parts = {"start": section.start, "merged": section.merged, "control": section.control}
        for key, name in parts.items():
            if name.partition(":")[0] not in models:
                raise RecipeError(
                    f"'{name}' is no model of eval.models",
                    where=f"key eval.control.{key}",
                    remedy=f"name one of {', '.join(models)}",
                )
        if len(set(parts.values())) < len(parts):
            raise RecipeError(
                "the control experiment needs three different models",
                where="key eval.control",
                remedy="name the fine-tuned model, the merge and the control",
            )
        self._section = section

    def config(self) -> dict[str, Any]:
        """Returns the section."""
        return self._section.model_dump(mode="json")

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the files named in the module's docstring."""
        answered = read_answered(ctx.folder(SCORES_STAGE))
        section = self._section
        start, merged, control = (
            answered.label(name) for name in (section.start, section.merged, section.control)
        )
        pairs = answered.by_group([(start, merged), (start, control), (merged, control)])
        groups: dict[str, list[Pair]] = {}
        for pair in pairs:
            groups.setdefault(pair["group"], []).append(pair)
        found: dict[str, Any] = {
            "margin": section.margin,
            "groups": [
                outcome(listed, section, (start, merged, control))
                for listed in groups.values()
                # A group without a key, or that one of the three was not asked, decides nothing.
                if len(listed) == 3
            ],
        }
        write_json(out / "control.json", found)
        write_text(out / "control.md", control_markdown(found))
        metrics = {f"verdict_{g['group']}": g["verdict"] for g in found["groups"]}
        return JobResult(rows_in=len(pairs), rows_out=len(pairs), metrics=metrics)
