"""Recipe section ``eval.general``: general benchmarks through lm-eval, from files on this machine.

AstroMLab 3, section V and Figure 4, measures six: what a specialised model has kept. They are those
of the second Open LLM Leaderboard, whose frozen versions lm-eval has as ``leaderboard_*``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from core.recipe.base import Section

BenchmarkName = Literal[
    "leaderboard_ifeval",
    "leaderboard_bbh",
    "leaderboard_math_hard",
    "leaderboard_gpqa",
    "leaderboard_musr",
    "leaderboard_mmlu_pro",
]


class GeneralTask(Section):
    """One benchmark and where its questions lie."""

    name: BenchmarkName
    """lm-eval's name."""
    path: str
    """Folder with the data set as the Hub has it (``hf download --repo-type dataset``), or a file
    where it is one: Parquet, JSON, JSON lines or CSV. docs/general.md names the data sets."""


class GeneralServer(Section):
    """A server that answers for a model instead of the model's files.

    vLLM's, or another that gives the log-probabilities of a prompt (``echo`` with ``logprobs`` in
    ``/v1/completions``).
    """

    base_url: str = Field(pattern="^https?://")
    """Of the API, such as ``http://127.0.0.1:8000/v1``."""
    model: str = Field(min_length=1)
    """The model's name there."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    max_concurrency: int = Field(16, ge=1)
    """Requests in flight at once."""


class Published(Section):
    """Scores of other models, to draw beside."""

    path: str
    """CSV with the columns ``model`` and, as percentages, any of ``ifeval, bbh, math, gpqa, musr,
    mmlu_pro``; further columns (a ``source``) are left alone. As raw scores, not normalised."""


class General(Section):
    """General benchmarks: which, how asked, and how drawn."""

    tasks: list[GeneralTask] = Field(min_length=1)
    """lm-eval's tasks, each with the folder of its data."""
    backend: Literal["hf", "vllm"] = "hf"
    """What runs the models: transformers, or vLLM in process (a GPU machine with plain vLLM)."""
    servers: dict[str, GeneralServer] = Field(default_factory=dict)
    """Model (a name of ``eval.models``) to the server that answers for it; its tokenizer is read
    from its files all the same."""
    chat_models: list[str] = Field(["sft", "instruct", "merged", "control"])
    """Models asked under the chat template, few-shot examples as turns; the others get the plain
    prompt. As the leaderboard did with instruct models and base models."""
    system_prompt: str | None = None
    """In front of every prompt: ``detailed thinking on``, say. Absent, as on the leaderboard."""
    think_end: str | None = None
    """Written answers are read after this, ``</think>`` for models that reason first. Only where
    the model runs here, not at a server."""
    limit: int | None = Field(None, ge=1)
    """Questions of each task, the first ones; absent: all. Scores of a part are no scores of the
    benchmark, and tables and figures then say so."""
    max_answer_tokens: int | None = Field(None, ge=1)
    """Tokens of a written answer at most; absent: lm-eval's own 1,280 (IFEval) and 1,024 (MATH),
    which with the prompt must fit the model's context."""
    batch_size: int = Field(8, ge=1)
    """Prompts of a forward pass (``hf``)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: what the model's files say."""
    max_model_len: int | None = Field(None, ge=16)
    """Context in tokens; the model's own when absent. Longer prompts lose their beginning."""
    tensor_parallel_size: int = Field(1, ge=1)
    """``vllm``: GPUs that share a model."""
    gpus: float = Field(1.0, ge=0)
    """GPUs of a worker, taken where the cluster has any."""
    workers: int = Field(1, ge=1)
    """Models under test at once."""
    samples: int = Field(3, ge=0, le=100)
    """Questions of each task kept with the model's answer, for the report."""
    nltk_data: str | None = None
    """Folder with ``tokenizers/punkt_tab``, which IFEval splits sentences with; absent: where nltk
    looks by itself. docs/general.md says how to get it to a machine without network."""
    published: Published | None = None
    figure_scores: Literal["raw", "normalized"] = "raw"
    """What is drawn: shares as in AstroMLab 3, or the leaderboard's, where guessing is 0."""
    effect_of_cpt: list[str] = Field(["base", "cpt"])
    """Models of the first radar: before and after continued pretraining (Figure 4, centre)."""
    effect_of_sft: list[str] = Field(default_factory=list)
    """Models of the second radar (Figure 4, right), published ones too. Absent: all others."""

    @field_validator("servers")
    @classmethod
    def _no_slash(cls, value: dict[str, GeneralServer]) -> dict[str, GeneralServer]:
        return {
            name: one.model_copy(update={"base_url": one.base_url.rstrip("/")})
            for name, one in value.items()
        }

    @model_validator(mode="after")
    def _unique(self) -> General:
        names = [task.name for task in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the task '{name}' is listed twice")
        return self
