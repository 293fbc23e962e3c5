"""The models under test: which stages or files they are, and one engine held open at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.hashing import sha256_value
from core.llm import Engine, open_engine
from core.manifest import Manifest
from core.recipe.engine import Engine as EngineConfig
from core.recipe.mcq import ModelEngine
from core.sources import SourceIndex, find_files
from core.stage import STAGE_PREFIXES, StageContext

MODEL_FILES = (".safetensors", ".json", ".model", ".jinja", ".txt")


def model_stages(models: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the stages among the model references, each once, in order."""
    return tuple(dict.fromkeys(r for r in models.values() if r.startswith(STAGE_PREFIXES)))


def model_files(models: Mapping[str, str], ctx: StageContext) -> list[Path]:
    """Returns the files of the models that are folders.

    Raises:
        InputError: a folder is missing or holds no model.
    """
    return [
        file
        for name, reference in models.items()
        if not reference.startswith(STAGE_PREFIXES)
        for file in _folder_files(name, reference, ctx)
    ]


def _folder_files(name: str, reference: str, ctx: StageContext) -> list[Path]:
    return find_files(ctx.root, [reference], MODEL_FILES, f"eval.models.{name}")


def model_digest(
    name: str,
    reference: str,
    ctx: StageContext,
    sources: SourceIndex,
    engine: EngineConfig | None = None,
) -> str:
    """Returns the hash of a model's content: of its stage's output, or of its folder's files.

    Of a served model, whose files are elsewhere, it is the hash of its name.

    Raises:
        InputError: the stage has not run, or the folder is missing.
    """
    if engine is not None and engine.kind == "openai":
        return sha256_value(["served", reference])
    if reference.startswith(STAGE_PREFIXES):
        return Manifest.require(ctx.folder(reference), reference).digest
    return sources.digest(_folder_files(name, reference, ctx))


class HeldEngine:
    """Keeps the last opened model, since a worker's units come model by model."""

    def __init__(self) -> None:
        self._key: tuple[str, EngineConfig] | None = None
        self._engine: Engine | None = None

    def open(self, path: str, engine: EngineConfig | None = None, label: str = "") -> Engine:
        """Returns the engine of a model, closing the one before.

        Args:
            path: the model's folder, or a served model's name.
            engine: what runs it, without its ``model``; default ``transformers``.
            label: name for the request log, where a path would be another on each machine.

        Raises:
            EngineError: the model cannot be loaded.
        """
        config = engine or ModelEngine()
        if self._engine is None or self._key != (path, config):
            self.close()
            named = EngineConfig.model_validate(config.model_dump() | {"model": label or path})
            self._engine = open_engine(named, path)
            self._key = (path, config)
        return self._engine

    def close(self) -> None:
        """Lets go of the model, if one is open."""
        if self._engine is not None:
            self._engine.close()
        self._engine, self._key = None, None
