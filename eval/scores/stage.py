"""From predictions and held-out likelihoods to ``scores.json``: what the models can do.

Every accuracy comes with its 95% Wilson interval and the accuracy that guessing would have. The
verdicts say in plain words whether the models do what they are trained for, and say so plainly
when they do not.

Files of the stage::

    scores.json                          per model: groups, benchmarks, topics, held-out sets
    samples.json                         a few questions with every model's answer
    submission/<benchmark>.<model>.csv   predicted letters, for benchmarks without a full key
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from core.atomic import write_json, write_text
from core.intervals import wilson
from core.recipe.eval import Benchmark, HeldoutSet
from core.shards import read_shard, shard_paths
from core.stage import JobResult, JobStage, StageContext
from eval.items import Item, benchmark_file, letter, load_items
from eval.scores.verdicts import verdicts

Row = dict[str, Any]

GROUPS = ("domain", "general")
SAMPLES_PER_KIND = 3
"""Questions shown where the last model is right, and as many where it is wrong."""


def accuracy(rows: Iterable[Row], items: dict[str, Item]) -> dict[str, Any]:
    """Counts right answers.

    Args:
        rows: predictions of one model, items with and without key mixed.
        items: the questions by ``benchmark/item_id``.

    Returns:
        ``correct``, ``total`` (items with a key), ``accuracy`` (None where total is 0), ``low``
        and ``high`` (95% Wilson) and ``chance``, the expected accuracy of guessing.
    """
    keyed = [row for row in rows if row["correct"] is not None]
    correct, total = sum(row["correct"] for row in keyed), len(keyed)
    low, high = wilson(correct, total)
    chance = sum(1 / len(items[item_key(row)].choices) for row in keyed)
    return {
        "correct": correct,
        "total": total,
        "accuracy": correct / total if total else None,
        "low": low,
        "high": high,
        "chance": chance / total if total else None,
    }


def item_key(row: Row) -> str:
    """Returns what names a prediction's question over all benchmarks."""
    return f"{row['benchmark']}/{row['item_id']}"


def heldout_scores(rows: Iterable[Row]) -> dict[str, Any]:
    """Sums likelihoods over the documents of one model and set.

    Returns:
        ``documents``, ``tokens``, ``bytes``, ``perplexity`` = exp(nll / tokens) and
        ``bits_per_byte`` = nll / ln 2 / bytes; the last two None where there is nothing.
    """
    listed = list(rows)
    tokens = sum(row["tokens"] for row in listed)
    size_bytes = sum(row["bytes"] for row in listed)
    nll = math.fsum(row["negative_log_likelihood"] for row in listed)
    return {
        "documents": len(listed),
        "tokens": tokens,
        "bytes": size_bytes,
        "perplexity": _exp(nll / tokens) if tokens else None,
        "bits_per_byte": nll / math.log(2) / size_bytes if size_bytes else None,
    }


def _exp(value: float) -> float | None:
    # Beyond 700 nats a token exp() overflows; such a model is broken, and inf is no JSON.
    return math.exp(value) if value < 700 else None


def score_models(
    models: Sequence[str],
    benchmarks: Sequence[Benchmark],
    sets: Sequence[HeldoutSet],
    predictions: Sequence[Row],
    heldout: Sequence[Row],
    items: dict[str, Item],
) -> dict[str, Any]:
    """Returns the content of ``scores.json``; same rows, same value."""
    scored = [
        _score_model(
            model,
            benchmarks,
            sets,
            [row for row in predictions if row["model"] == model],
            [row for row in heldout if row["model"] == model],
            items,
        )
        for model in models
    ]
    said = verdicts(scored)
    return {
        "models": scored,
        "verdicts": [v.sentence for v in said],
        "verdict_holds": [v.holds for v in said],
    }


def _score_model(
    model: str,
    benchmarks: Sequence[Benchmark],
    sets: Sequence[HeldoutSet],
    predictions: Sequence[Row],
    heldout: Sequence[Row],
    items: dict[str, Item],
) -> dict[str, Any]:
    group_of = {b.name: b.group for b in benchmarks}
    by_topic: dict[tuple[str, str], list[Row]] = {}
    for row in predictions:
        topic = items[item_key(row)].topic
        if topic is not None:
            by_topic.setdefault((group_of[row["benchmark"]], topic), []).append(row)
    return {
        "name": model,
        "groups": {
            group: accuracy([r for r in predictions if group_of[r["benchmark"]] == group], items)
            for group in GROUPS
            if group in group_of.values()
        },
        "benchmarks": [
            {"name": b.name, "group": b.group}
            | accuracy([r for r in predictions if r["benchmark"] == b.name], items)
            for b in benchmarks
        ],
        "topics": [
            {"topic": topic, "group": group} | accuracy(rows, items)
            for (group, topic), rows in sorted(by_topic.items())
        ],
        "heldout": [
            {"set": s.name, "group": s.group}
            | heldout_scores(r for r in heldout if r["set"] == s.name)
            for s in sets
        ],
    }


def choose_samples(
    models: Sequence[str], predictions: Sequence[Row], items: dict[str, Item]
) -> list[dict[str, Any]]:
    """Returns a few questions with every model's answer.

    Half are ones that the last model gets right (those that the first gets wrong come first), half
    ones that it gets wrong; in file order, so nobody picked them.
    """
    by_item: dict[str, dict[str, Row]] = {}
    for row in predictions:
        if row["correct"] is not None:
            by_item.setdefault(item_key(row), {})[row["model"]] = row
    last, first = models[-1], models[0]
    complete = {key: rows for key, rows in by_item.items() if last in rows and first in rows}
    right = [key for key, rows in complete.items() if rows[last]["correct"]]
    right.sort(key=lambda key: complete[key][first]["correct"])
    wrong = [key for key, rows in complete.items() if not rows[last]["correct"]]
    return [
        {
            "benchmark": key.partition("/")[0],
            "item_id": items[key].item_id,
            "question": items[key].question,
            "choices": list(items[key].choices),
            "answer": items[key].answer,
            "right": complete[key][last]["correct"],
            "predicted": {m: complete[key][m]["choice"] for m in models if m in complete[key]},
        }
        for key in [*right[:SAMPLES_PER_KIND], *wrong[:SAMPLES_PER_KIND]]
    ]


def submission_csv(rows: Iterable[Row]) -> str:
    """Returns predictions as CSV text with the columns ``item_id, prediction`` (a letter)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["item_id", "prediction"])
    writer.writerows([row["item_id"], letter(row["choice"])] for row in rows)
    return out.getvalue()


class ScoresStage(JobStage):
    """Adds up predictions and held-out likelihoods."""

    name = "eval.scores"
    description: ClassVar[str] = "Accuracy with intervals, perplexity, verdicts"
    row_unit = "score"

    def __init__(
        self,
        models: dict[str, str],
        benchmarks: Sequence[Benchmark],
        sets: Sequence[HeldoutSet] = (),
    ) -> None:
        """Takes the recipe's parts.

        Args:
            models: as given to the stages read; their order is the tables' order.
            benchmarks: as given to ``eval.mcq``.
            sets: as given to ``eval.heldout``; without any, that stage is not read.
        """
        self._models = list(models)
        self._benchmarks = list(benchmarks)
        self._sets = list(sets)
        self.inputs = ("eval.mcq", "eval.heldout") if self._sets else ("eval.mcq",)

    def config(self) -> dict[str, Any]:
        """Returns names and groups."""
        return {
            "models": self._models,
            "benchmarks": [b.model_dump(mode="json") for b in self._benchmarks],
            "heldout": [s.model_dump(mode="json", exclude={"paths"}) for s in self._sets],
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files: topics and texts come from them."""
        return [benchmark_file(b, ctx) for b in self._benchmarks]

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Writes the files named in the module's docstring."""
        items = {
            f"{b.name}/{item.item_id}": item
            for b in self._benchmarks
            for item in load_items(benchmark_file(b, ctx))[0]
        }
        predictions = _rows(ctx.folder("eval.mcq"))
        heldout = _rows(ctx.folder("eval.heldout")) if self._sets else []
        scores = score_models(
            self._models, self._benchmarks, self._sets, predictions, heldout, items
        )
        write_json(out / "scores.json", scores)
        write_json(out / "samples.json", choose_samples(self._models, predictions, items))
        self._write_submissions(predictions, items, out / "submission")
        rows = len(predictions) + len(heldout)
        return JobResult(rows_in=rows, rows_out=rows, metrics=_metrics(scores))

    def _write_submissions(
        self, predictions: Sequence[Row], items: dict[str, Item], folder: Path
    ) -> None:
        for benchmark in self._benchmarks:
            mine = [row for row in predictions if row["benchmark"] == benchmark.name]
            if all(items[item_key(row)].answer is not None for row in mine):
                continue
            for model in self._models:
                text = submission_csv(row for row in mine if row["model"] == model)
                write_text(folder / f"{benchmark.name}.{model}.csv", text)


def _rows(folder: Path) -> list[Row]:
    return [row for path in shard_paths(folder) for row in read_shard(path).to_pylist()]


def _metrics(scores: dict[str, Any]) -> dict[str, Any]:
    return {
        f"accuracy_{group}_{model['name']}": values["accuracy"]
        for model in scores["models"]
        for group, values in model["groups"].items()
        if values["accuracy"] is not None
    }
