"""Recipe section ``synth.qa``: questions and answers written from the corpus."""

from __future__ import annotations

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.engine import Engine

SKIP_SECTIONS = (
    # what others wrote
    *("references", "references and notes", "references cited", "reference list", "bibliography"),
    *("list of references", "literature cited", "works cited", "cited literature", "citations"),
    *("further reading", "see also", "external links", "related resources", "endnotes"),
    "footnotes",
    # who wrote it and who paid
    *("acknowledgements", "acknowledgments", "acknowledgement", "acknowledgment"),
    *("author list", "list of authors", "authors", "author information", "affiliations"),
    *("author affiliations", "author contributions", "authors' contributions"),
    *("author contribution statement", "credit authorship contribution statement", "contributors"),
    *("funding", "funding information", "financial support", "disclosure statement"),
    *("competing interests", "competing financial interests", "conflict of interest"),
    *("conflicts of interest", "declaration of competing interest", "disclosures", "orcid"),
    # where the files are
    *("data availability", "data availability statement", "code availability"),
    *("availability of data", "availability of data and materials", "software availability"),
    *("data and code availability", "data and software availability", "facilities"),
    *("supplementary material", "supplementary materials", "supplementary information"),
    *("supporting information", "additional information", "electronic supplementary material"),
    # what finds a place in a book
    *("table of contents", "contents", "list of figures", "list of tables", "index"),
    *("subject index", "author index", "copyright"),
)


class Qa(Section):
    """Questions and answers written from the corpus by a language model.

    The paper made 11 million pairs from 250,000 papers, 44 a paper (AstroMLab 3, section III.1). A
    paper has about 9,000 tokens without its references; the defaults ask for up to 8 pairs per
    1,500 of them, about 50 a paper, of which some are rejected.
    """

    engine: Engine
    chunk_tokens: int = Field(1500, ge=32)
    """Passage length at most, overlap included; shorter where a section ends. Counted with the
    tokenizer of ``train.base``. Two to three pages: room for a whole argument and its equations,
    and short enough that questions spread over the paper and a context of 4,096 holds the prompt,
    the passage and the answer."""
    overlap_tokens: int = Field(200, ge=0)
    """A passage that goes on with a section starts with whole paragraphs of the passage before, up
    to this many tokens: one paragraph as a rule, so that "it" and symbols stay explained."""
    min_passage_tokens: int = Field(16, ge=1)
    """Shorter passages are not asked about, but rejected: a title, a lone heading, a page number. A
    glossary's entry has 20."""
    skip_sections: tuple[str, ...] = Field(SKIP_SECTIONS, strict=False)
    """Headings of sections that are not asked about (each is a reject with its text), compared
    without case, number and marks; sections below them too, short of appendices."""
    pairs_per_chunk: int = Field(8, ge=1)
    """Pairs asked for per passage of ``chunk_tokens``; in proportion fewer of a shorter one."""
    styles_per_chunk: int = Field(3, ge=0)
    """Kinds of question that a passage is asked for, drawn by seed, document and place from the
    styles file. One kind alone would force questions that a passage has no answer to."""
    prompt: str | None = None
    """A prompt file of your own (Jinja2), from the recipe's root, in place of
    ``synth/prompts/qa.md``. It may use ``title``, ``summary``, ``section``, ``passage``, ``pairs``,
    ``styles`` (a list of lines) and ``language``."""
    styles: str | None = None
    """A styles file of your own in place of ``synth/prompts/qa_styles.yaml``: a YAML mapping of
    names to lines."""
    language: str | None = Field("en", pattern="^[a-z]{2,3}$")
    """Language (ISO 639 code) of questions and answers; what is surely in another one is rejected.
    ``null`` takes any."""
    min_question_chars: int = Field(10, ge=1)
    """Shorter questions are rejected: a mere term asks nothing."""
    max_question_chars: int = Field(500, ge=1)
    """Longer questions are rejected: they ask more than one thing."""
    min_answer_chars: int = Field(1, ge=1)
    """Shorter answers are rejected. A number or name is a good answer."""
    max_answer_chars: int = Field(2000, ge=1)
    """Longer answers are rejected. Half a page is an explanation; more is a copy or a loop."""
    copy_words: int = Field(8, ge=2)
    """Words in a row that count as copied where the passage has them too. Names and set phrases of
    the field rarely reach eight."""
    copy_min_words: int = Field(45, ge=2)
    """Shorter answers may be copies: a sentence that answers the question is a right answer, two
    or three in a row are the passage again. A long sentence of a paper has 40 words."""
    max_copied_share: float = Field(0.8, gt=0.0, le=1.0)
    """Answers of which more is copied are rejected. A question is rejected where the passage asks
    it in the same words."""
    workers: int = Field(1, ge=1)
    """Generating actors; results do not depend on it."""

    @model_validator(mode="after")
    def _fits(self) -> Qa:
        if self.overlap_tokens > self.chunk_tokens // 2:
            raise ValueError(
                f"overlap_tokens is {self.overlap_tokens}, over half of chunk_tokens "
                f"({self.chunk_tokens}): passages would hardly advance"
            )
        if self.min_passage_tokens > self.chunk_tokens:
            raise ValueError("min_passage_tokens is over chunk_tokens: nothing would be asked")
        return self
