"""What all stages that ask a language model share: engine, request log, usage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.llm.cache import RequestLog, cached_generate
from core.llm.engine import Engine, GenerateRequest, Generation, open_engine
from core.llm.usage import Usage
from core.manifest import Manifest
from core.recipe.engine import Engine as EngineConfig
from core.stage import STAGE_PREFIXES, Resources, ShardStage, StageContext, Unit


class LlmStage(ShardStage):
    """A shard stage whose work is asking a language model. Its actors load the model once."""

    def __init__(self, engine: EngineConfig, workers: int, aligned: tuple[str, ...]) -> None:
        """Makes the stage.

        Args:
            engine: who is asked.
            workers: actors; results do not depend on it.
            aligned: stages whose shards are read side by side.
        """
        self._engine_config = engine
        self._opened: Engine | None = None
        self.aligned = aligned
        model = engine.model or ""
        self.inputs = (*aligned, model) if model.startswith(STAGE_PREFIXES) else aligned
        self.actors = workers
        self.resources = engine_resources(engine)
        self._used: tuple[int, Usage] = (-1, Usage())

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of a model of the user's own."""
        return ctx.model_files(self._engine_config.model)

    def setup(self, ctx: StageContext) -> None:
        """Opens the engine."""
        model = self._engine_config.model
        self._opened = open_engine(self._engine_config, ctx.model_path(model) if model else None)

    @property
    def engine(self) -> Engine:
        """The opened engine."""
        assert self._opened is not None, "setup comes first"
        return self._opened

    def ask(
        self, requests: Sequence[GenerateRequest], unit: Unit, ctx: StageContext
    ) -> list[Generation]:
        """Answers requests, in order; those that the unit's log holds are not sent again."""
        if self._engine_config.kind == "rules":
            return self.engine.generate(requests)
        # A model trained in this run keeps its label when it changes; its content does not.
        model, digest = self._engine_config.model or "", ""
        if model.startswith(STAGE_PREFIXES):
            digest = Manifest.require(ctx.folder(model), model).digest
        # A unit that failed halfway and is tried again counts what it asked once.
        if self._used[0] != unit.index:
            self._used = (unit.index, Usage())
        path = log_folder(ctx, self.name) / f"{unit.index:05d}.jsonl"
        with RequestLog(path) as request_log:
            return cached_generate(
                self.engine,
                self._engine_config.sampling,
                requests,
                request_log,
                digest,
                self._used[1],
            )

    def usage(self) -> dict[str, int | float]:
        """Returns what was asked since the last call, to be merged into the unit's metrics.

        ``requests`` (equal ones count once), ``prompt_tokens``, ``completion_tokens``, ``failed``
        and, where the recipe gives prices, ``cost_<currency>``. The same however much of it came
        from the log. Nothing for the engine ``rules``, which is no model.
        """
        if self._engine_config.kind == "rules":
            return {}
        _, used = self._used
        self._used = (-1, Usage())
        return used.totals(self._engine_config.prices)


def log_folder(ctx: StageContext, stage: str) -> Path:
    """Returns the folder of a stage's request logs, one file per shard."""
    return ctx.run_dir / "cache" / "llm" / stage


def engine_resources(engine: EngineConfig) -> Resources:
    """Returns what one worker with this engine takes: vLLM its GPUs, where there are any."""
    if engine.kind == "vllm" and not engine.gpus:
        return Resources(gpus_if_any=engine.tensor_parallel_size)
    return Resources(gpus=engine.gpus)
