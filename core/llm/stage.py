"""What all stages that ask a language model share: engine, request log, usage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.llm.cache import RequestLog, cached_generate
from core.llm.engine import Engine, GenerateRequest, Generation, open_engine
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
        self.resources = Resources(gpus=engine.gpus)

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
        stages = [name for name in self.inputs if name not in self.aligned]
        digests = [Manifest.require(ctx.folder(name), name).digest for name in stages]
        path = ctx.run_dir / "cache" / "llm" / self.name / f"{unit.index:05d}.jsonl"
        with RequestLog(path) as request_log:
            return cached_generate(
                self.engine, self._engine_config.sampling, requests, request_log, "".join(digests)
            )
