"""Recipe sections ``synth.summaries`` and ``synth.metadata``: AstroMLab 3, section III.1."""

from __future__ import annotations

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.engine import Engine
from core.recipe.qa import SKIP_SECTIONS


class SummaryPrompts(Section):
    """The user's own prompts instead of those in ``synth/prompts``: Jinja2 files."""

    whole: str | None = None
    """For a document in one piece, instead of ``summary.md``; knows ``title`` and ``text``."""
    part: str | None = None
    """For one part of a long document, instead of ``summary_part.md``; knows ``title``, ``text``,
    ``number`` and ``parts``."""
    combine: str | None = None
    """For the parts' summaries, instead of ``summary_combine.md``; knows ``title``, ``text`` and
    ``short`` (whether the short version is asked for: not before the last step)."""


class SummaryQuestions(Section):
    """Conversations that ask for a summary.

    AstroMLab 3: "a series of random choices about the way the question is asked, a small preamble,
    and the way in which the paper is referenced".
    """

    per_document: int = Field(1, ge=1)
    """Conversations per summary; AstroMLab 3 made one."""
    short_share: float = Field(0.2, ge=0, le=1)
    """Share that asks for one or two sentences. AstroMLab 3 asks for the summary only; a user may
    want either, and the short one is there anyway."""
    wording: str | None = None
    """A file of templates instead of ``synth/prompts/summary_questions.yaml``."""
    domain: str = "astronomy"
    """What preambles say for ``{domain}``; absent: the recipe's ``domain``."""


class Summaries(Section):
    """A summary of every document, written by a language model."""

    engine: Engine
    """``sampling.max_tokens`` must hold a whole answer: a token is about four characters."""
    sources: list[str] | None = None
    """Names of the sources whose documents are summarised; all where absent. AstroMLab 3: the
    papers, not Wikipedia or textbooks."""
    min_tokens: int = Field(200, ge=0)
    """Shorter documents are not summarised: little is left to leave out."""
    part_tokens: int = Field(6000, ge=64)
    """Longest text put into one prompt. A longer document is summarised in parts, cut between
    paragraphs, and the summaries are combined. 6,000 with prompt and answer fit a context of 8,192
    tokens; give more where the model reads more, as fewer cuts lose less."""
    skip_sections: list[str] = Field(list(SKIP_SECTIONS))
    """Headings, lower case and without number, of sections left out, like those that are not asked
    about: nothing of them belongs into a summary, and a list of references takes a tenth of a
    paper."""
    min_parts_share: float = Field(0.8, gt=0, le=1)
    """A document of which fewer parts could be summarised is rejected; one part in five may fail
    before a summary misleads by what it leaves out."""
    min_summary_words: int = Field(30, ge=1)
    """Shorter summaries are rejected. An abstract has 100 to 250 words."""
    max_summary_chars: int = Field(4000, ge=100)
    """Longer summaries are rejected, and the schema stops a model there: about 600 words."""
    max_short_chars: int = Field(600, ge=50)
    """The same for the one or two sentences."""
    max_copied_words: int = Field(60, ge=5)
    """A summary that shares a longer run of words with its document is a copy: two long sentences
    in a row. Not asked of the engine ``rules``, which does nothing but copy sentences."""
    prompts: SummaryPrompts = SummaryPrompts()
    questions: SummaryQuestions = SummaryQuestions()
    workers: int = Field(1, ge=1)
    """Summarizing actors; results do not depend on it."""


class Metadata(Section):
    """Questions about titles, dates, identifiers and first authors of arXiv papers, by rules.

    AstroMLab 3 found that "the final model can not reliably answer metadata-based questions": the
    answers "I do not know" are there so that it learns to say so.
    """

    questions_per_document: int = Field(2, ge=1)
    """Questions about each paper, of different kinds while kinds are left. AstroMLab 3 does not say
    how many; each fact a model shall keep must be seen more than once."""
    unknown_share: float = Field(0.1, ge=0, lt=1)
    """Share of all questions that are about papers outside the corpus and answered "I do not
    know". Enough to learn the answer, too few to make it the usual one."""
    unknown_papers: list[str] = Field([])
    """Files of arXiv metadata (JSON lines) with real papers for such questions; those that the
    corpus holds are passed over. Without, all of them are made up from the corpus's own words."""
    real_share: float = Field(0.5, ge=0, le=1)
    """Share of them that is real where ``unknown_papers`` are given. Made-up papers teach that a
    title may sound right and be wrong, real ones that the corpus is not all there is."""
    wording: str | None = None
    """A file of templates instead of ``synth/prompts/metadata.yaml``."""
    domain: str = "astronomy"
    """What preambles say for ``{domain}``; absent: the recipe's ``domain``."""
    workers: int = Field(1, ge=1)
    """Working actors, each with an index of the corpus's titles; results do not depend on it."""

    @model_validator(mode="after")
    def _asks(self) -> Metadata:
        if self.unknown_papers and not self.unknown_share:
            raise ValueError("'unknown_papers' are given, but 'unknown_share' is 0")
        return self
