"""General benchmarks: what a model that was made for one field has kept of the rest.

AstroMLab 3, section V and Figure 4. A unit of work is one task of lm-eval with one model, so a run
that was stopped goes on where it was.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from core.errors import RecipeError
from core.hashing import sha256_value
from core.recipe.general import General
from core.sources import SourceIndex
from core.stage import Resources, ShardResult, ShardStage, StageContext, Unit
from eval.general.files import split_files
from eval.general.lm import go_offline, lm_eval_version, open_lm
from eval.general.tasks import Benchmark, Task, benchmark_named, normalized
from eval.models import model_digest, model_files, model_stages

SAMPLE = pa.struct(
    [
        ("question", pa.string()),
        ("target", pa.string()),
        ("answer", pa.string()),
        ("score", pa.float64()),
    ]
)

GENERAL_SCORE = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("benchmark", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        ("value", pa.float64()),
        ("stderr", pa.float64()),
        ("n", pa.int32()),
        ("chance", pa.float64()),
        ("normalized", pa.float64()),
        ("limited", pa.bool_()),
        ("per_question", pa.list_(pa.float32())),
        ("samples", pa.list_(SAMPLE)),
    ]
)
"""One metric of a task with a model.

``value``, its standard error (null where lm-eval knows none) and ``chance`` are from 0 to 1,
``normalized`` from 0 (guessing) to 100; ``n`` questions were asked, not all there are where
``limited``. The task's first metric has each question's score in ``per_question``, the mean where
a task is scored by several metrics, and some questions with their answers in ``samples``.
"""

_OPERATIONAL = {
    "published", "figure_scores", "effect_of_cpt", "effect_of_sft", "workers", "gpus", "nltk_data",
    "tensor_parallel_size",
}  # fmt: skip
"""Keys of the section that change no score."""


class GeneralTasksStage(ShardStage):
    """Asks every model every task."""

    name = "eval.general_tasks"
    description: ClassVar[str] = "Ask the tasks of general benchmarks through lm-eval"
    schema = GENERAL_SCORE
    row_unit = "question"
    reconcile: ClassVar[str] = (
        "questions are counted once per model and task; the table has a row per metric"
    )

    def __init__(self, section: General, models: dict[str, str]) -> None:
        """Takes the recipe's parts.

        Args:
            section: benchmarks and how to ask.
            models: name in the tables to train or merge stage, or model folder.

        Raises:
            RecipeError: a server is named for a model that is not there.
        """
        for name in section.servers:
            if name not in models:
                raise RecipeError(
                    f"'{name}' is no model of eval.models",
                    where="key eval.general.servers",
                    remedy=f"name one of {', '.join(models)}",
                )
        self._section = section
        self._models = models
        self._held: tuple[str, Any] = ("", None)
        self.inputs = model_stages(models)
        self.actors = section.workers
        gpus = max(section.gpus, section.tensor_parallel_size if section.backend == "vllm" else 0)
        self.resources = Resources(gpus_if_any=gpus)

    def config(self) -> dict[str, Any]:
        """Returns the section short of what changes no score, the models, lm-eval's version."""
        section = self._section.model_dump(mode="json", exclude=_OPERATIONAL)
        for server in section["servers"].values():
            # Where it listens, with which key and how fast, changes no answer.
            for key in ("base_url", "api_key_env", "max_concurrency"):
                del server[key]
        return {
            "general": section,
            "models": [list(pair) for pair in self._models.items()],
            "lm_eval": lm_eval_version(),
        }

    def _tasks(self) -> list[tuple[Benchmark, Task, str]]:
        return [
            (benchmark, task, asked.path)
            for asked in self._section.tasks
            for benchmark in (benchmark_named(asked.name),)
            for task in benchmark.tasks
        ]

    def _data_files(self, benchmark: Benchmark, task: Task, path: str, root: Path) -> list[Path]:
        return [
            file
            for split in task.splits
            for file in split_files(root, path, benchmark, task, split)
        ]

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmarks' files and those of models that are folders."""
        files = [f for each in self._tasks() for f in self._data_files(*each, ctx.root)]
        return sorted(set(files)) + model_files(self._models, ctx)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per model and task, model by model."""
        data = [
            sources.digest(self._data_files(benchmark, task, path, ctx.root))
            for benchmark, task, path in self._tasks()
        ]
        units: list[Unit] = []
        for model, reference in self._models.items():
            weights = model_digest(model, reference, ctx, sources)
            for (benchmark, task, path), digest in zip(self._tasks(), data, strict=True):
                payload = {
                    "model": model,
                    "reference": reference,
                    "benchmark": benchmark.name,
                    "task": task.name,
                    "path": path,
                }
                units.append(Unit(len(units), payload, sha256_value([payload, digest, weights])))
        return units

    def setup(self, ctx: StageContext) -> None:
        """Keeps the worker from the network before it loads any library."""
        go_offline()

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Asks one model the questions of one task."""
        from eval.general.harness import run_task

        model = unit.payload["model"]
        benchmark = benchmark_named(unit.payload["benchmark"])
        task = next(t for t in benchmark.tasks if t.name == unit.payload["task"])
        chat = model in self._section.chat_models
        lm = self._open(model, ctx.model_path(unit.payload["reference"]), chat)
        with tempfile.TemporaryDirectory(prefix="astromill-general-") as scratch:
            measured = run_task(
                lm, ctx.root, unit.payload["path"], benchmark, task, self._section,
                Path(scratch), chat,
            )  # fmt: skip
        asked = len(measured.per_question)
        rows = [
            {
                "model": model,
                "benchmark": benchmark.name,
                "task": task.name,
                "metric": metric,
                "value": measured.values[metric],
                "stderr": measured.errors.get(metric),
                "n": asked,
                "chance": task.chance,
                "normalized": normalized(measured.values[metric], task.chance),
                "limited": self._section.limit is not None,
                "per_question": None if number else measured.per_question,
                "samples": None if number else measured.samples,
            }
            for number, metric in enumerate(benchmark.metrics)
        ]
        return ShardResult(
            kept=pa.Table.from_pylist(rows, schema=GENERAL_SCORE),
            rejected=measured.rejects,
            rows_in=asked + len(measured.rejects),
            rows_out=asked,
            metrics={"questions": asked, "truncation_warnings": measured.truncations},
        )

    def _open(self, model: str, path: str, chat: bool) -> Any:
        # Units come model by model; one is held at a time.
        if self._held[0] != model:
            self._held = ("", None)
            server = self._section.servers.get(model)
            self._held = (model, open_lm(path, self._section, server, chat))
        return self._held[1]
