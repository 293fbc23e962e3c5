"""Recipe section ``corpus``: sources, OCR, cleaning, perplexity, packing."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from core.recipe.base import Section
from core.recipe.engine import Engine

ASTRO_CATEGORIES = ["astro-ph", "gr-qc"]
"""Primary or cross-listed categories of the AstroSage corpus (AstroMLab 3, section II.1)."""

ARAA_DOI = r"(?i)10\.1146/annurev[-.](astro|aa)"
"""DOIs of Annual Review of Astronomy and Astrophysics papers, the benchmark's source."""

ARAA_JOURNAL_REF = (
    r"(?i)(?<![a-z])ARA\s*(&amp;|\\?&|\+|and\s)?\s*A(?![a-z])"
    r"|(?<![a-z])ann(u(al)?)?[\s.,]*rev(iews?)?[\s.,]*((of|in)\s+)?(the\s+)?"
    r"(astr|a[\s.]*&\s*a(?![a-z])|a[\s.]*ap)"
)
"""Spellings of the same journal in ``journal-ref``."""


class ArxivSource(Section):
    """arXiv papers: the Kaggle metadata snapshot and a folder of PDFs."""

    kind: Literal["arxiv"]
    name: str = "arxiv"
    metadata: str
    """The snapshot: JSON lines, one paper each."""
    pdfs: str
    """Folder of PDFs in the usual layouts: ``0704/0704.0001v2.pdf``, flat, ``astro-ph/9901001``."""
    categories: list[str] = ASTRO_CATEGORIES
    """Kept when any of a paper's categories is one of these or a subcategory (``astro-ph.GA``)."""
    created_from: date | None = None
    created_until: date | None = None
    """Window on the first version's date, both ends included."""
    exclude_doi: str | None = ARAA_DOI
    """Regular expression; a matching paper is rejected as a review."""
    exclude_journal_ref: str | None = ARAA_JOURNAL_REF
    """Regular expression; a matching paper is rejected as a review."""


class FilesSource(Section):
    """A set of files, one document each."""

    kind: Literal["markdown", "text", "pdf"]
    """``markdown`` may open with YAML front matter (title, license, created, url)."""
    name: str
    """What the documents' ``source`` column says."""
    paths: list[str] = Field(min_length=1)
    """Files, folders (searched in depth for the kind's endings) or glob patterns."""
    license: str | None = None
    """Licence of documents that do not state their own."""


Source = Annotated[ArxivSource | FilesSource, Field(discriminator="kind")]


class Ocr(Section):
    """How PDFs become text."""

    backend: Literal["textlayer"] = "textlayer"
    """``textlayer``: the text that the PDF carries, through PDFium."""
    max_pages: int = Field(2000, ge=1)
    """Longer PDFs are rejected."""
    min_chars_per_page: int = Field(20, ge=0)
    """A PDF with fewer characters per page on average is a scan or blank: rejected."""


class Normalize(Section):
    """Unicode repair with ftfy (AstroMLab 4, section 2.1)."""

    min_chars: int = Field(200, ge=0)
    """Shorter documents are rejected as empty."""


class Perplexity(Section):
    """Cut the paragraphs a language model finds least likely (AstroMLab 3, section II.3)."""

    engine: Engine | None = None
    """The scoring model. Absent: the model of ``train.base.path``; where the base is a tiny random
    one, a small scorer trained on the normalized text (``train.scorer``): no download needed."""
    drop_quantile: float = Field(0.02, ge=0.0, lt=1.0)
    """Share of paragraphs cut, the worst first: 2% in AstroMLab 3."""
    max_perplexity: float | None = Field(None, gt=1.0)
    """A fixed threshold instead of the quantile."""
    min_tokens: int = Field(8, ge=2)
    """Shorter paragraphs (headings, captions' stubs) are kept unscored."""
    workers: int = Field(1, ge=1)
    """Scoring actors; results do not depend on it."""


class Tokens(Section):
    """Tokenize and pack into fixed sequences."""

    sequence_length: int = Field(8192, ge=32)
    """Tokens per sequence: 8,192 in AstroMLab 3, Table 1."""


class Corpus(Section):
    """From sources to token sequences."""

    sources: list[Source] = Field(min_length=1)
    documents_per_shard: int = Field(500, ge=1)
    """Work unit of every corpus step: size it for 5-10 minutes of work."""
    ocr: Ocr = Ocr()
    normalize: Normalize = Normalize()
    perplexity: Perplexity | None = Perplexity()
    """``null`` leaves the step out."""
    tokens: Tokens = Tokens()
