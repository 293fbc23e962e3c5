"""Recipe section ``parallel`` of a training run: how the model is spread over accelerators."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.recipe.base import Section


class Parallel(Section):
    """How one copy of the model is spread; what is left of the workers is data parallel."""

    engine: Literal["zero", "pipeline"] = "zero"
    """``zero``: DeepSpeed ZeRO over a Hugging Face Llama. ``pipeline``: tensor and pipeline
    parallel layers with ZeRO stage 1, as AstroSage-70B (AstroMLab 4, section 2.3)."""
    tensor_parallel_size: int = Field(1, ge=1)
    """``pipeline`` only: workers that share every layer. 8 in AstroMLab 4, section 2.3."""
    pipeline_parallel_size: int = Field(1, ge=1)
    """``pipeline`` only: stages that the layers are cut into. 8 in AstroMLab 4, section 2.3."""
    activation_checkpointing: bool = False
    """Layers are computed again in the backward pass instead of kept: less memory, a third more
    arithmetic."""

    @property
    def model_workers(self) -> int:
        """Workers that hold one copy of the model together."""
        return self.tensor_parallel_size * self.pipeline_parallel_size

    @model_validator(mode="after")
    def _fits(self) -> Parallel:
        if self.engine == "zero" and self.model_workers > 1:
            raise ValueError(
                "tensor_parallel_size and pipeline_parallel_size need engine: pipeline"
            )
        return self
