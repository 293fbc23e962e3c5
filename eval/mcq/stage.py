"""Multiple-choice benchmarks, answered by every model in every way the recipe asks for.

How questions are asked is in :mod:`eval.mcq.prompts`, how answers are compared and read in
:mod:`eval.mcq.predict`. A unit of work is some hundred questions for one model in one mode, so that
memory stays flat and a killed run goes on where it was; answers that were written are logged as
they come (``cache/llm/eval.mcq``), and none is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from core.hashing import sha256_value
from core.llm import Engine, GenerateRequest, Generation
from core.llm.cache import RequestLog, cached_generate
from core.llm.stage import engine_resources, log_folder
from core.llm.usage import Usage
from core.recipe.mcq import WRITTEN_MODES, Benchmark, Mcq, ModelEngine
from core.rejects import Reject
from core.schema import PREDICTION
from core.sources import SourceIndex
from core.stage import Resources, ShardResult, ShardStage, StageContext, Unit
from eval.answers import TRUNCATED
from eval.items import Item, benchmark_file, load_items
from eval.mcq.predict import Ask, predict
from eval.mcq.shots import load_shots, shots_file
from eval.models import HeldEngine, model_digest, model_files, model_stages

UNIT_ITEMS = 512
"""Questions of a unit: seconds to minutes of work with weighed answers."""

ASKED_AT_ONCE = 1024
"""Askings (a question in one order) handed to the engine at once; it forms its own batches."""


class McqStage(ShardStage):
    """Answers every benchmark with every model; a unit of work is a part of one of each."""

    name = "eval.mcq"
    description: ClassVar[str] = "Answer multiple-choice questions: weighed or written answers"
    code_version = 3
    schema = PREDICTION
    row_unit = "question"
    reconcile: ClassVar[str] = "every question is counted once per model and mode"

    def __init__(self, section: Mcq, models: dict[str, str]) -> None:
        """Takes the recipe's parts.

        Args:
            section: benchmarks and how to ask.
            models: name in the tables to train or merge stage, model folder, or a served model's
                name.
        """
        self._section = section
        self._models = models
        self._held = HeldEngine()
        self._read: tuple[str, list[Item], list[Reject], list[Item]] | None = None
        self.actors = section.workers
        self.resources = _most([engine_resources(section.engine_of(model)) for model in models])
        self.inputs = model_stages(self._local())

    def _local(self) -> dict[str, str]:
        return {
            model: reference
            for model, reference in self._models.items()
            if self._section.engine_of(model).kind != "openai"
        }

    def config(self) -> dict[str, Any]:
        """Returns the section (groups only matter to the scores) and the models."""
        models = [list(pair) for pair in self._models.items()]
        return {"mcq": self._section.identity(), "models": models}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files, those of solved questions, and models that are folders."""
        files = [file for b in self._section.benchmarks for file in _files(b, ctx)]
        return [*dict.fromkeys(files), *model_files(self._local(), ctx)]

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns units of some hundred questions: by model, then mode, then benchmark."""
        parts: list[tuple[str, int, int, str]] = []
        for benchmark in self._section.benchmarks:
            questions = sources.digest(_files(benchmark, ctx))
            count = len(load_items(benchmark_file(benchmark, ctx))[0])
            # A file without a single question still has records to account for.
            for start in range(0, max(count, 1), UNIT_ITEMS):
                parts.append((benchmark.name, start, start + UNIT_ITEMS, questions))
        units: list[Unit] = []
        for model, reference in self._models.items():
            engine = self._section.engine_of(model)
            weights = model_digest(model, reference, ctx, sources, engine)
            for mode in self._section.modes_of(model):
                for name, start, end, questions in parts:
                    payload = {
                        "model": model, "reference": reference, "weights": weights, "mode": mode,
                        "benchmark": name, "start": start, "end": end,
                    }  # fmt: skip
                    units.append(Unit(len(units), payload, sha256_value([payload, questions])))
        return units

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Answers a part of one benchmark with one model in one mode."""
        model, mode = unit.payload["model"], unit.payload["mode"]
        benchmark = self._section.benchmark(unit.payload["benchmark"])
        items, faults, shots = self._questions(benchmark, ctx)
        part = items[unit.payload["start"] : unit.payload["end"]]
        # Records that are no question are told once, by the first unit.
        rejects = list(faults) if unit.payload["start"] == 0 else []
        rows_in = len(part) + len(rejects)
        config = self._section.engine_of(model)
        engine = self._open(unit, config, ctx)
        usage = Usage()
        rows: list[dict[str, Any]] = []
        step = max(1, ASKED_AT_ONCE // (self._section.permutations + 1))
        with self._asking(unit, engine, config, usage, ctx) as ask:
            for start in range(0, len(part), step):
                answered, unscored = predict(
                    part[start : start + step], engine, self._section, model, benchmark.name,
                    mode=mode, shots=shots, seed=ctx.seed, ask=ask,
                )  # fmt: skip
                rows += answered
                rejects += unscored
        own = [row for row in rows if row["permutation"] == 0]
        return ShardResult(
            kept=pa.Table.from_pylist(rows, schema=PREDICTION),
            rejected=rejects,
            rows_in=rows_in,
            rows_out=len(own),
            metrics=_metrics(own) | (usage.totals(config.prices) if ask else {}),
        )

    def close(self) -> None:
        """Lets go of the model that the last unit was answered with."""
        self._held.close()

    def _questions(
        self, benchmark: Benchmark, ctx: StageContext
    ) -> tuple[list[Item], list[Reject], list[Item]]:
        """Returns a benchmark's questions, faults and solved questions, held for the next unit."""
        if self._read is None or self._read[0] != benchmark.name:
            items, faults = load_items(benchmark_file(benchmark, ctx))
            self._read = (benchmark.name, items, faults, load_shots(benchmark, ctx))
        return self._read[1:]

    def _open(self, unit: Unit, config: ModelEngine, ctx: StageContext) -> Engine:
        reference = unit.payload["reference"]
        path = reference if config.kind == "openai" else ctx.model_path(reference)
        return self._held.open(path, config, reference)

    @contextmanager
    def _asking(
        self, unit: Unit, engine: Engine, config: ModelEngine, usage: Usage, ctx: StageContext
    ) -> Iterator[Ask | None]:
        """Gives what answers from the unit's log, and asks for the rest; None where none write."""
        payload = unit.payload
        if payload["mode"] not in WRITTEN_MODES:
            yield None
            return
        # By content, not by number: a model more in the recipe renumbers the units.
        names = (payload["model"], payload["mode"], payload["benchmark"], f"{payload['start']:06d}")
        path = log_folder(ctx, self.name) / f"{'.'.join(names)}.jsonl"
        with RequestLog(path) as request_log:

            def ask(requests: Sequence[GenerateRequest]) -> list[Generation]:
                return cached_generate(
                    engine, config.sampling, requests, request_log, payload["weights"], usage
                )

            yield ask


def _files(benchmark: Benchmark, ctx: StageContext) -> list[Path]:
    shots = shots_file(benchmark, ctx)
    return [benchmark_file(benchmark, ctx), *([shots] if shots else [])]


def _most(needs: Sequence[Resources]) -> Resources:
    """Returns what is enough for each: a worker opens one model after the other."""
    return Resources(
        gpus=max(need.gpus for need in needs),
        gpus_if_any=max(need.gpus_if_any for need in needs),
    )


def _metrics(rows: Sequence[dict[str, Any]]) -> dict[str, int | float]:
    keyed = [row for row in rows if row["correct"] is not None]
    return {
        "scored": len(keyed),
        "correct": sum(row["correct"] for row in keyed),
        "unanswered": sum(row["choice"] is None for row in rows),
        "truncated": sum(row["read_by"] == TRUNCATED for row in rows),
    }


__all__ = ["UNIT_ITEMS", "McqStage"]
