"""The models under test: which stages or files they are, and one engine held open at a time."""

from __future__ import annotations

from pathlib import Path

from core.llm import Engine, open_engine
from core.manifest import Manifest
from core.recipe.engine import Engine as EngineConfig
from core.sources import SourceIndex, find_files
from core.stage import STAGE_PREFIXES, StageContext

MODEL_FILES = (".safetensors", ".json", ".model", ".jinja", ".txt")


def model_stages(models: dict[str, str]) -> tuple[str, ...]:
    """Returns the stages among the model references, each once, in order."""
    return tuple(dict.fromkeys(r for r in models.values() if r.startswith(STAGE_PREFIXES)))


def model_files(models: dict[str, str], ctx: StageContext) -> list[Path]:
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


def model_digest(name: str, reference: str, ctx: StageContext, sources: SourceIndex) -> str:
    """Returns the hash of a model's content: of its stage's output, or of its folder's files.

    Raises:
        InputError: the stage has not run, or the folder is missing.
    """
    if reference.startswith(STAGE_PREFIXES):
        return Manifest.require(ctx.folder(reference), reference).digest
    return sources.digest(_folder_files(name, reference, ctx))


class HeldEngine:
    """Keeps the last opened model, since a worker's units come model by model."""

    def __init__(self) -> None:
        self._path = ""
        self._engine: Engine | None = None

    def open(self, path: str) -> Engine:
        """Returns the engine of a model folder, closing the one before.

        Raises:
            EngineError: the model cannot be loaded.
        """
        if self._engine is None or self._path != path:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            self._engine = open_engine(EngineConfig(kind="transformers", model=path))
            self._path = path
        return self._engine
