"""Recipe section ``synth.instruct``: instruction sets from files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.recipe.base import Section

InstructFormat = Literal["auto", "sharegpt", "messages", "alpaca", "nemotron"]


class InstructSet(Section):
    """One instruction set, and what of it stays.

    AstroMLab 3, section III.1, trains on Infinity-Instruct-7M without entries of fewer than 70%
    alphanumeric characters and without those that hold certain keywords. AstroMLab 4, section 2.2,
    trains on Llama-Nemotron's post-training set and on OpenHermes 2.5.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)
    """Stands in the column ``dataset``, in front of the ids and in the counts."""
    paths: list[str] = Field(min_length=1)
    """Files, folders or patterns: ``.json``, ``.jsonl``, ``.ndjson``, ``.parquet``."""
    format: InstructFormat = "auto"
    """``auto`` looks at the keys of each record: sets on the hub mix formats within one file."""
    license: str | None = None
    """The set's licence, for the card."""
    min_alphanumeric_share: float | None = Field(None, ge=0, le=1)
    """Least share of letters and digits among the characters of questions and answers, white space
    included: 0.7 in AstroMLab 3 for Infinity-Instruct. Absent by default, since sets of mathematics
    and code lie below by nature."""
    drop_keywords: list[str] = Field(default_factory=list)
    """Words and phrases, in any case, whole words, in any turn: the paper's "certain keywords",
    which it does not list."""
    language: str | None = Field(None, pattern="^[a-z]{2,3}$")
    """ISO 639 code, such as ``en``. A conversation that is surely in another language goes; one of
    no language (a formula, code) stays."""
    max_chars: int | None = Field(None, ge=1)
    """Most characters of a conversation. ``synth.chat`` counts tokens, exactly: this spares it
    what is hopeless."""
    drop_identity: bool = True
    """Drop conversations in which an answer says which model gives it ("I am ChatGPT", "As an AI
    language model, I"): a model says of itself what it was shown."""
    drop_refusals: bool = True
    """Drop conversations in which an answer begins by declining ("I'm sorry, but I can't"): what
    another model would not or could not do."""
    keep_tools: bool = False
    """Keep a record that lists tools and calls none; the list is left out. Its answers may speak of
    tools that the question does not show. A record that calls one always goes."""


class Instruct(Section):
    """General instruction conversations from files."""

    sets: list[InstructSet] = Field(min_length=1)
    """The sets, each with filters of its own."""

    @model_validator(mode="after")
    def _names_differ(self) -> Instruct:
        names = [one.name for one in self.sets]
        if len(names) != len(set(names)):
            raise ValueError("two sets have the same name")
        return self
