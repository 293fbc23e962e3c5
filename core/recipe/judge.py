"""Recipe section ``synth.judge``: pairs scored by a language model (AstroMLab 3, section III.1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.engine import Engine

SCORE_SCALE = 5
"""Highest score of a criterion, the lowest is 1; the paper gives no scale, its words ("perfect
scores") fit any. Five is few enough for a base model to keep apart."""

MIN_COMPLETION_EXAMPLES = 4
"""Of fewer a base model does not learn the form: two good and two bad ones."""


class JudgePrompt(Section):
    """A prompt of one's own."""

    path: str
    """A Jinja template over ``question``, ``answer``, ``title``, ``passage``, ``examples`` and
    ``domain``, sent as one user turn; or a ``.jsonl`` file in FastChat's format (``name``,
    ``system_prompt``, ``prompt_template`` with ``{question}`` and ``{answer}``), such as MT-bench's
    judge prompts."""
    name: str | None = None
    """Of a ``.jsonl`` file: which prompt, such as ``single-v1``."""


class Judging(Section):
    """How one judge is asked."""

    engine: Engine
    mode: Literal["completion", "schema", "rating"] = "schema"
    """``completion``: a base model goes on after hand-written examples in the form
    Question-Answer-Score-Explanation, as in AstroMLab 3, section III.1; it needs no chat template.
    ``schema``: an instruct model answers with JSON under a schema of four integers.
    ``rating``: an instruct model writes freely and ends with one rating ``[[7]]``, as MT-bench's
    judge does (Zheng et al. 2023, arXiv:2306.05685); it fills the column ``overall`` alone."""
    examples: int = Field(6, ge=0, le=16)
    """Examples shown, half of them without a fault, chosen and ordered by the recipe's seed. All
    pairs of a run see the same ones: one yardstick, and a shared prefix that vLLM computes once.
    The paper has "several"; ``completion`` needs at least 4, ``rating`` shows none."""
    examples_path: str | None = None
    """Examples of one's own, in the form of ``synth/prompts/judge_examples.yaml``."""
    prompt: JudgePrompt | None = None
    """A prompt of one's own instead of ``synth/prompts/judge_<mode>.md``."""
    domain: str = "astronomy"
    """What the prompt says that the pairs are about; absent: the recipe's ``domain``. The examples
    that come with us are from astronomy: they show what faults look like."""
    passage: bool = False
    """Show the passage that the pair was written from. The paper's correctness asks for an answer
    that "accurately reflects the information presented in the source material", which a judge that
    does not see it cannot tell; its form, Question-Answer-Score-Explanation, has no passage, and a
    passage makes a prompt about ten times as long."""
    explain: bool = False
    """Ask for an explanation, kept in ``verdict_text``. After the scores in ``completion``, as in
    the paper; before them in ``schema``, so that a model reasons first and scores by it, which
    MT-bench's judge prompts ask for too. Costs about ten times the tokens of the scores."""
    calibrated: bool = False
    """Also keep each score's mean under the judge's probabilities of the next token (G-Eval, Liu et
    al. 2023, arXiv:2303.16634, section 2): finer than integers, most of which tie at the top. Needs
    an engine that gives probabilities: ``transformers``, ``vllm``, or a vLLM server. In
    ``completion`` one forward pass per score; after chat turns five, one per alternative."""
    rating_scale: int = Field(10, ge=2, le=100)
    """``rating`` only: the highest rating; MT-bench's is 10."""
    workers: int = Field(1, ge=1)
    """Judging actors; results do not depend on it."""

    @property
    def scale(self) -> int:
        """The highest score."""
        return self.rating_scale if self.mode == "rating" else SCORE_SCALE

    @model_validator(mode="after")
    def _fits(self) -> Judging:
        if self.mode == "completion" and self.examples < MIN_COMPLETION_EXAMPLES:
            raise ValueError(
                f"mode 'completion' learns the form from its examples: at least "
                f"{MIN_COMPLETION_EXAMPLES}, not {self.examples}"
            )
        if self.engine.kind == "kenlm":
            raise ValueError("engine kind 'kenlm' only scores; a judge writes")
        if self.engine.kind == "rules" and self.mode != "schema":
            raise ValueError("engine kind 'rules' judges in mode 'schema' only")
        if self.engine.kind == "rules" and self.calibrated:
            raise ValueError("engine kind 'rules' has no probabilities: leave 'calibrated' out")
        return self


class Keep(Section):
    """Which pairs stay: those that reach every minimum."""

    by: Literal["score", "expected"] = "score"
    """``expected``: compare the mean score of a ``calibrated`` judge instead of the integer."""
    correctness: float | None = Field(None, ge=1)
    """Least score, absent: perfect, which is the rule of AstroMLab 3, section III.1 (11 million
    pairs in, 8.8 million out). Perfect is the top of the scale; by expected score it is what rounds
    to it, half a point less. 1 lets every pair through."""
    stand_alone: float | None = Field(None, ge=1)
    """Least score, absent: perfect."""
    pertinence: float | None = Field(None, ge=1)
    """Least score, absent: perfect."""
    overall: float | None = Field(None, ge=1)
    """Least score, absent: perfect. The only one of the mode ``rating``."""


class Judge(Judging):
    """Question-answer pairs scored by a language model; those that score well stay."""

    keep: Keep = Keep()
    """Changing it does not judge again."""
    second: Judging | None = None
    """A second judge of the same pairs, for the agreement of the two; it removes none."""

    @model_validator(mode="after")
    def _keeps(self) -> Judge:
        if self.keep.by == "expected" and not self.calibrated:
            raise ValueError("keep.by 'expected' needs 'calibrated: true'")
        for name in ("correctness", "stand_alone", "pertinence", "overall"):
            least = getattr(self.keep, name)
            if least is not None and least > self.scale:
                raise ValueError(f"keep.{name} is {least:g}, above the scale of {self.scale}")
        return self
