"""Recipe section ``eval.mcq``: multiple-choice benchmarks and how models are asked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.engine import Engine

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Names become parts of file names, so they hold letters, digits, ``.``, ``_`` and ``-``."""

Mode = Literal["choice", "letter", "json", "reasoning"]
"""A way of asking; told at :attr:`Mcq.mode`."""

WRITTEN_MODES: tuple[Mode, ...] = ("json", "reasoning")
"""Modes whose answer is read from text that the model wrote."""


class Shots(Section):
    """Solved questions shown before the one asked: mode ``letter``."""

    count: int = Field(5, ge=1, le=64)
    """Five is MMLU's habit (Hendrycks et al. 2021)."""
    path: str | None = None
    """File of questions with a key, of any kind that ``benchmarks.path`` may be; the first
    ``count`` are shown, in file order. Where its questions have topics, a question gets those of
    its own topic. Absent: the benchmark's own first ones, never the question asked itself, so that
    all questions are still scored."""


class Benchmark(Section):
    """A file of multiple-choice questions."""

    name: Name
    """What tables and files call it."""
    path: str
    """Questions, choices and, where there is a key, answers; docs/questions.md tells which layouts
    of JSON lines, CSV and other files are known."""
    group: Literal["domain", "general"] = "domain"
    """Scores of the two groups are shown apart."""
    subject: str | None = None
    """What ``format: mmlu`` says that the questions are about (``astronomy``); absent: each
    question's topic, where it has one."""
    shots: Shots | None = None
    """Solved questions for mode ``letter``; absent: none."""


class ModelEngine(Engine):
    """What runs a model; which one it is stands in ``eval.models``."""

    kind: Literal["transformers", "vllm", "openai"] = "transformers"
    """``openai``: a served model; its entry in ``eval.models`` is then the server's name for it,
    and held-out text is not measured with it."""

    @model_validator(mode="after")
    def _needs(self) -> ModelEngine:
        if self.model is not None:
            raise ValueError("the model is named in eval.models: leave 'model' out here")
        if self.kind == "openai" and not self.base_url:
            raise ValueError("engine kind 'openai' needs the key 'base_url'")
        if self.kind == "vllm" and 0 < self.gpus < self.tensor_parallel_size:
            raise ValueError("'gpus' is below 'tensor_parallel_size'; leave 'gpus' out")
        return self


class Mcq(Section):
    """Multiple-choice accuracy."""

    benchmarks: list[Benchmark] = Field(min_length=1)
    """Files of questions, each asked of every model."""
    mode: Mode = "choice"
    """``choice``: likelihood of each answer's text; what a tiny model can do.
    ``letter``: probability of the letters after the listed choices, after solved questions where
    the benchmark has ``shots`` (Hendrycks et al. 2021); under the chat template for
    ``chat_models``.
    ``json``: the model writes a JSON object with a letter, as assistants are used (AstroMLab 3,
    section IV: "structured output").
    ``reasoning``: the model thinks first: AstroMLab 4, section 3."""
    modes: dict[str, Mode | list[Mode]] = Field(default_factory=dict)
    """Other modes by model: ``{base: letter, merged: [letter, reasoning]}``. A model asked in
    several has a row in the tables for each."""
    format: Literal["plain", "mmlu"] = "plain"
    """``letter`` only. ``mmlu``: word for word the prompt of Hendrycks et al. and lm-eval.
    ``plain``: ``Question: ... Answer:``, which base models know from quizzes and forums."""
    too_long: Literal["reject", "cut"] = "reject"
    """``letter`` only: a prompt longer than the context is a reject, or loses its beginning as it
    does in lm-eval, be it the middle of a solved question."""
    normalize: Literal["tokens", "unconditional", "none"] = "tokens"
    """``choice`` only; what is compared. ``tokens``: mean log-probability per token, so that long
    answers are not punished. ``unconditional``: log P(answer | question) - log P(answer |
    "Answer:"), so that answers made of common words are not favoured, at twice the cost; on tiny
    models it did not do better. ``none``: the sum, which favours answers of few tokens."""
    chat_models: list[str] = Field(["sft", "instruct", "merged"])
    """Models that ``choice`` and ``letter`` ask under the chat template; the others get a plain
    prompt. ``json`` and ``reasoning`` always use the template."""
    system_prompt: str | None = "You are an expert in astronomy."
    """Under the chat template, in all modes but ``choice``. AstroMLab 4, section 4.1: "minimal
    system prompts indicating they should act as astronomy experts". Absent: an expert in the
    recipe's ``domain``; null: none."""
    structured: bool = True
    """``json`` only: hold the model to the JSON schema while it writes. false: it must manage by
    itself, and what it wrote is read as far as it can be; for servers without structured output."""
    reasoning_switch: str | None = "detailed thinking on"
    """``reasoning`` only: comes first in the system prompt (AstroMLab 4, section 3)."""
    prefill: str = "<think>"
    """``reasoning`` only: what the model's turn begins with (the same section)."""
    json_max_tokens: int = Field(512, ge=16)
    """Tokens that a JSON answer may take."""
    reasoning_max_tokens: int = Field(8192, ge=16)
    """Tokens that thinking and answer may take together. An answer that was not reached counts as
    wrong, and how many there were is told."""
    permutations: int = Field(0, ge=0, le=119)
    """Other orders in which each question's choices are shown too, to measure the pull of a
    letter; scores count the file's own order only. One less than there are choices is enough: every
    choice then stands once in every place. Nothing in mode ``choice``, which lists none."""
    engine: ModelEngine = ModelEngine()
    """What runs the models. ``sampling.max_tokens`` is not used: see the keys above."""
    engines: dict[str, ModelEngine] = Field(default_factory=dict)
    """Others by model, such as a served one."""
    workers: int = Field(1, ge=1)
    """Processes that hold a model; results do not depend on it."""

    def modes_of(self, model: str) -> list[Mode]:
        """Returns the ways a model is asked, in order."""
        named = self.modes.get(model, self.mode)
        return [*named] if isinstance(named, list) else [named]

    def engine_of(self, model: str) -> ModelEngine:
        """Returns what runs a model."""
        return self.engines.get(model, self.engine)

    def benchmark(self, name: str) -> Benchmark:
        """Returns a benchmark by its name."""
        return next(b for b in self.benchmarks if b.name == name)

    def identity(self) -> dict[str, Any]:
        """Returns what predictions depend on: not how tables group them or where models run."""
        engines = {name: engine.identity() for name, engine in self.engines.items()}
        rest = self.model_dump(
            mode="json",
            exclude={"benchmarks": {"__all__": {"group"}}, "engine": True, "engines": True,
                     "workers": True},
        )  # fmt: skip
        return rest | {"engine": self.engine.identity(), "engines": engines}

    @model_validator(mode="after")
    def _check(self) -> Mcq:
        check_unique([b.name for b in self.benchmarks], "benchmarks")
        for model in self.modes:
            modes = self.modes_of(model)
            if not modes:
                raise ValueError(f"modes: '{model}' has no mode: name one, or leave it out")
            check_unique(list(modes), f"modes.{model}")
        return self

    def check_models(self, models: list[str]) -> None:
        """Checks that keys which name models name such as there are.

        Raises:
            ValueError: one does not.
        """
        for key, named in (("modes", self.modes), ("engines", self.engines)):
            for model in named:
                if model not in models:
                    raise ValueError(
                        f"mcq.{key}: there is no model '{model}'; eval.models has "
                        f"{', '.join(models)}"
                    )


def check_unique(names: list[str], key: str) -> None:
    """Refuses a name that stands twice.

    Raises:
        ValueError: it does.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is the name of two entries of {key}")


__all__ = [
    "WRITTEN_MODES",
    "Benchmark",
    "Mcq",
    "Mode",
    "ModelEngine",
    "Name",
    "Shots",
    "check_unique",
]
