"""Recipe section ``corpus.sources``: arXiv, Wikipedia, books and plain files on disk."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from core.recipe.base import Section

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
    """arXiv papers: the Kaggle metadata snapshot, and folders of PDFs or LaTeX sources."""

    kind: Literal["arxiv"]
    name: str = "arxiv"
    """What the documents' ``source`` column says."""
    metadata: str
    """The snapshot: JSON lines, or one JSON array, either also as ``.gz``; or a CSV file."""
    pdfs: str | None = None
    """Folder of PDFs in the usual layouts: ``0704/0704.0001v2.pdf``, flat, ``astro-ph/9901001``."""
    latex: str | None = None
    """Folder of LaTeX sources in the same layouts: ``<id>.tar.gz``, ``<id>.gz``, ``<id>.tex`` or a
    folder ``<id>/``. A paper with both is read from LaTeX; its PDF is used where that fails."""
    categories: list[str] = ASTRO_CATEGORIES
    """Kept when one of a paper's categories is one of these or below it (``astro-ph.GA``)."""
    cross_listed: bool = True
    """False: only the primary category, the first one, counts."""
    created_from: date | None = None
    """The first day that counts; see ``created_until``."""
    created_until: date | None = None
    """Window on the first version's date, both ends included."""
    exclude_ids: list[str] = Field(default_factory=list)
    """Files of arXiv ids to leave out, one on a line (``#`` starts a comment)."""
    exclude_doi: str | None = ARAA_DOI
    """Regular expression; a matching paper is rejected as a review."""
    exclude_journal_ref: str | None = ARAA_JOURNAL_REF
    """Regular expression; a matching paper is rejected as a review."""
    licenses: list[str] | None = None
    """Licences to keep, as patterns on the licence's URL such as ``*creativecommons.org/*``; the
    word ``none`` keeps papers that state no licence. Absent: any."""

    @field_validator("exclude_doi", "exclude_journal_ref")
    @classmethod
    def _is_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"this is no regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _has_text(self) -> ArxivSource:
        if self.pdfs is None and self.latex is None:
            raise ValueError("name a folder of PDFs as 'pdfs', or of LaTeX sources as 'latex'")
        if self.created_from and self.created_until and self.created_from > self.created_until:
            raise ValueError("'created_from' is after 'created_until': no paper is in that window")
        return self


class WikipediaSource(Section):
    """Wikipedia articles from the dumps of dumps.wikimedia.org, searched by category."""

    kind: Literal["wikipedia"]
    name: str = "wikipedia"
    """What the documents' ``source`` column says."""
    language: str = "en"
    """Code of the wiki, for ids and addresses: ``wikipedia:en:736``."""
    dump: str
    """``...-pages-articles-multistream.xml.bz2``, or a pattern for its parts; also one-stream
    ``.bz2``, ``.gz`` and plain ``.xml``. The index (``...-index.txt.bz2``) is found beside it."""
    roots: list[str] = Field(default_factory=list)
    """Root categories of the search, such as ``Astronomy``. None: every article of the dump."""
    depth: int = Field(2, ge=0)
    """Steps down from the roots; 0: the members of the roots alone. AstroMLab 3 used 2."""
    stop_categories: list[str] = Field(default_factory=list)
    """Categories that the search does not enter: names or patterns (``*stubs``)."""
    hidden_category: str = "Hidden_categories"
    """Maintenance categories are members of this one; they are not entered."""
    page: str | None = None
    """SQL table ``...-page.sql.gz``; needed with ``roots``."""
    categorylinks: str | None = None
    """SQL table ``...-categorylinks.sql.gz``; needed with ``roots``."""
    linktarget: str | None = None
    """The SQL tables ``...-page.sql.gz`` and so on; needed with ``roots`` (``linktarget`` only
    where ``categorylinks`` has no ``cl_to``)."""
    redirect: str | None = None
    """``...-redirect.sql.gz``: targets of redirects, faster than from the dump."""
    license: str = "CC-BY-SA-4.0"
    """Of the dump's text; documents carry it."""

    @model_validator(mode="after")
    def _has_tables(self) -> WikipediaSource:
        if self.roots and not (self.page and self.categorylinks):
            raise ValueError("a search from 'roots' needs the tables 'page' and 'categorylinks'")
        return self


class FilesSource(Section):
    """A set of files, one document each."""

    kind: Literal["markdown", "text", "pdf", "html", "latex", "wikitext", "nougat", "images"]
    """``markdown`` may open with YAML front matter (title, license, created, url); ``nougat`` is
    ``.mmd`` output of Nougat; ``images``: every folder of page images is one document."""
    name: str
    """What the documents' ``source`` column says."""
    paths: list[str] = Field(min_length=1)
    """Files, folders (searched in depth for the kind's endings) or glob patterns."""
    license: str | None = None
    """Licence of documents that do not state their own."""


class RowsSource(Section):
    """Tables of documents, one a row: Parquet or JSON lines."""

    kind: Literal["rows"]
    name: str
    """What the documents' ``source`` column says."""
    paths: list[str] = Field(min_length=1)
    """Files, folders or patterns: Parquet, ``.jsonl``, ``.jsonl.gz``, ``.json.gz`` and
    ``.jsonl.zst`` with one JSON object on a line."""
    text_column: str = "text"
    """Column or JSON key of the text. What stands under ``title``, ``license``, ``created`` (a day)
    and ``url`` becomes the document's."""
    meta_columns: list[str] = Field(default_factory=lambda: ["id", "language"])
    """Further ones that are kept in the document's ``meta``, where a row has them."""
    license: str | None = None
    """Licence of documents that do not state their own."""


class BooksSource(Section):
    """Books, one document per chapter."""

    kind: Literal["books"]
    name: str
    """What the documents' ``source`` column says."""
    paths: list[str] = Field(min_length=1)
    """Files, folders or patterns: EPUB, PDF, HTML, Markdown, text, LaTeX, ``.mmd``, and OpenStax
    books by their ``collection.xml`` (the modules beside or below it)."""
    title: str | None = None
    """Of books that do not state their own."""
    authors: list[str] = Field(default_factory=list)
    """Of books that do not state their own."""
    license: str | None = None
    """Of books that do not state their own."""
    url: str | None = None
    """Of books that do not state their own."""


Source = Annotated[
    ArxivSource | WikipediaSource | FilesSource | RowsSource | BooksSource,
    Field(discriminator="kind"),
]
