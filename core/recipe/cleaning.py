"""Recipe section ``eval.cleaning``: questions that need the paper they came from."""

from __future__ import annotations

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.engine import Engine


class Cleaning(Section):
    """A language model takes out or rewrites multiple-choice questions about one paper.

    AstroMLab 4, section 4.1: Claude-3.5-Sonnet removed the questions of AstroMLab-1 that need one
    paper's content, "particular numerical results or methodology choices unique to that study", and
    revised those with needless references to it; of 4,425 questions 3,846 were left.
    """

    engine: Engine
    """Who decides. The verdict is a short JSON object; ``sampling.max_tokens`` must hold the
    longest question and a reason, 512 do. Greedy sampling (the default) decides alike when run
    again."""
    path: str
    """File of questions, in any layout that ``eval.mcq.benchmarks`` reads."""
    prompt: str | None = None
    """A Jinja2 template of one's own instead of ``eval/cleaning/prompts/clean.md``; knows
    ``question``, ``choices``, ``topic`` and ``domain``."""
    domain: str = "astronomy"
    """What the prompt says that the questions are about; absent: the recipe's ``domain``."""
    show_choices: bool = True
    """Show the choices: a question may look general and its choices be one paper's numbers."""
    rewrite: bool = True
    """Accept rewritten questions. False: a question that the model would rewrite stays as it is,
    and is counted."""
    min_kept_words: float = Field(0.5, ge=0, le=1)
    """A rewritten question with a smaller share of the original's words is not used before a person
    has looked at it: taking out a reference shortens a question a little, and by half only where
    the question itself went with it."""
    max_new_words: int = Field(3, ge=0)
    """The same for one with more new words: a reference is taken out, nothing is put in. A few are
    needed to mend the sentence ("which was found" for "which the authors found")."""
    workers: int = Field(1, ge=1)
    """Cleaning actors; results do not depend on it."""

    @model_validator(mode="after")
    def _writes(self) -> Cleaning:
        if self.engine.kind == "kenlm":
            raise ValueError("engine kind 'kenlm' only scores; cleaning needs one that writes")
        return self
