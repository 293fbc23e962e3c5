"""Which language model answers or scores, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from core.recipe.base import Section

_OPERATIONAL = {
    "base_url",
    "api_key_env",
    "max_concurrency",
    "timeout_seconds",
    "server_wait_seconds",
    "max_error_share",
    "prices",
    "gpus",
}
"""Keys of an engine that change no answer."""


class Sampling(Section):
    """How text is drawn from the model."""

    temperature: float = Field(0.0, ge=0.0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    """Tokens are drawn from the likeliest ones that make up this share of the probability."""
    max_tokens: int = Field(512, ge=1)
    """Tokens generated at most per request."""


class Prices(Section):
    """What a token costs, to tell what a run did; changes no result."""

    prompt_per_million: float = Field(0.0, ge=0.0)
    """Price of a million tokens read."""
    completion_per_million: float = Field(0.0, ge=0.0)
    """Price of a million tokens written."""
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    """ISO 4217 code: the metric is named after it (``cost_usd``)."""


class Engine(Section):
    """A language-model engine."""

    kind: Literal["rules", "transformers", "vllm", "openai", "kenlm"]
    """``rules``: an offline stand-in without a model. ``transformers``: a local model, in process.
    ``vllm``: vLLM offline. ``openai``: any OpenAI-compatible server, such as ``vllm serve``.
    ``kenlm``: an n-gram model over words; scores only."""
    model: str | None = None
    """Model folder, hub id, name of a train stage (``train.cpt``), the server's model name, or for
    ``kenlm`` the model's file (``.arpa`` or KenLM's binary)."""
    sampling: Sampling = Sampling()
    base_url: str | None = None
    """``openai`` only: address of the server's API, such as ``http://127.0.0.1:8000/v1``."""
    api_key_env: str | None = None
    """``openai`` only: name of the environment variable that holds the key."""
    max_concurrency: int = Field(64, ge=1)
    """``openai`` only: requests in flight at once, per worker. More than the server has slots
    only wait there."""
    timeout_seconds: float = Field(600.0, gt=0)
    """``openai`` only: time one request may take before it is retried."""
    server_wait_seconds: float = Field(600.0, ge=0)
    """``openai`` only: how long a server may be away, or turn a request away as too busy (429),
    before the run gives up. Loading a 70B model takes minutes."""
    max_error_share: float = Field(0.05, ge=0.0, le=1.0)
    """``openai`` only: share of a worker's requests that may fail for good, counted from the
    hundredth on; beyond it the run stops rather than reject a corpus. 1 never stops."""
    prices: Prices | None = None
    """What tokens cost; manifests and cards then tell the cost of each stage."""
    max_model_len: int | None = Field(None, ge=16)
    """Context length in tokens; the model's own when absent."""
    tensor_parallel_size: int = Field(1, ge=1)
    """``vllm`` only: GPUs that share one copy of the model."""
    gpus: float = Field(0.0, ge=0)
    """GPUs that Ray gives each worker with this engine. At 0, ``vllm`` takes
    ``tensor_parallel_size`` of them where the cluster has any."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: what vLLM chooses; for ``transformers`` bfloat16 on a GPU and float32 on a CPU."""
    batch_tokens: int = Field(16384, ge=64)
    """``transformers`` only: padded tokens per forward batch. A longer text is scored in windows
    of at most this length."""

    def identity(self) -> dict[str, Any]:
        """Returns what answers depend on: not where it runs or how many requests fly."""
        return self.model_dump(mode="json", exclude=_OPERATIONAL)

    @model_validator(mode="after")
    def _needs(self) -> Engine:
        if self.kind != "rules" and not self.model:
            raise ValueError(f"engine kind '{self.kind}' needs the key 'model'")
        if self.kind == "openai" and not self.base_url:
            raise ValueError("engine kind 'openai' needs the key 'base_url'")
        if self.kind == "vllm" and 0 < self.gpus < self.tensor_parallel_size:
            raise ValueError("'gpus' is below 'tensor_parallel_size'; leave 'gpus' out")
        return self
