"""The control experiment of AstroMLab 3, section IV, in two sections.

Merging with Meta's instruct model improved the benchmark's scores. To tell whether that was
knowledge or practice in answering, the paper "fine-tuned a separate version of the CPT+SFT model on
unrelated multiple-choice questions using identical output formatting", which came out near the
merge: practice. ``synth.control`` makes those questions into conversations, ``train.control`` tunes
``train.sft`` on them, and ``eval.control`` compares.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.recipe.base import Section


class Control(Section):
    """Unrelated multiple-choice questions as conversations in the benchmark's output format."""

    paths: list[str] = Field(min_length=1)
    """Files with a key, or folders: JSON lines, JSON, CSV, Parquet, Excel, in the layouts that
    ``eval.mcq.benchmarks`` reads. MMLU's or ARC's training questions, say."""
    license: str | None = None
    """The questions' licence, for the card."""
    format: Literal["json", "letter", "text"] = "json"
    """What is trained to be written, as the mode of ``eval.mcq`` that is compared asks for it:
    ``json`` an object with a reason and a letter, ``letter`` the letter alone, ``text`` the
    choice's text after the question alone (mode ``choice``)."""
    system_prompt: str | None = "You are an expert in astronomy."
    """As ``eval.mcq.system_prompt``, or the format is not the same. null: none, as in mode
    ``choice``."""
    drop_topics: list[str] = Field(["astronomy"])
    """Topics whose questions are left out, whole words in any case; absent: the recipe's
    ``domain``. The questions must be unrelated, so that they can teach the form alone. ``physics``
    drops ``college_physics``."""
    drop_keywords: list[str] = Field(default_factory=list)
    """Words and phrases, whole and in any case, that a question must not have."""
    shuffle: bool = True
    """Show each question's choices in an order of its own, drawn from the recipe's seed. A key that
    prefers a letter would teach that letter."""


class ControlComparison(Section):
    """Which models the control experiment compares."""

    start: str = "sft"
    """Before either: a name of ``eval.models``. Where a model was asked in several modes, the one
    that is compared comes behind a colon (``sft:json``)."""
    merged: str = "merged"
    """With the instruct model merged in."""
    control: str = "control"
    """Tuned on unrelated questions."""
    margin: float = Field(0.02, gt=0, lt=1)
    """Share of the questions by which two models may differ and still count as near-identical: the
    whole interval of their difference must lie within. The paper says "near-identical" and gives
    no number; 2 points are a quarter of the 8 that its model gained in all."""
