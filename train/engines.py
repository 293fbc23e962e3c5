"""Opens the engine that a recipe asks for."""

from __future__ import annotations

from pathlib import Path

from core.recipe.train import Trainer
from train.engine import TrainEngine


def open_engine(model: Path, section: Trainer) -> TrainEngine:
    """Loads a model and spreads it over the workers.

    Args:
        model: a Hugging Face Llama in safetensors.
        section: of the run.

    Raises:
        InputError: the weights cannot be read, or do not fit the engine.
    """
    if section.parallel.engine == "pipeline":
        from train.pipeline.engine import PipelineEngine

        return PipelineEngine(model, section)
    from train.zero import ZeroEngine

    return ZeroEngine(model, section)
