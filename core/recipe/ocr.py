"""Recipe section ``corpus.ocr``: how PDFs become text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.recipe.base import Section


class Nougat(Section):
    """Nougat (Blecher et al. 2023), which AstroMLab 3, section II.1, read its papers with."""

    model: str | None = None
    """Folder of a transformers Nougat model, or a hub name such as ``facebook/nougat-base``. Its
    weights are CC-BY-NC."""
    workers: int = Field(1, ge=1)
    """Actors, each with the model; results do not depend on it."""
    gpus: float = Field(1.0, ge=0.0)
    """GPUs per actor, taken where the cluster has any; without one it runs on the CPU."""
    batch_pages: int = Field(8, ge=1)
    """Pages read at once, across documents."""
    dpi: int = Field(96, ge=36, le=300)
    """Resolution of rendered pages."""
    render_processes: int = Field(1, ge=1)
    """Processes per actor that render pages ahead of the model."""
    max_new_tokens: int = Field(3584, ge=16)
    """Longest page; the model's own limit also holds."""
    retry_temperatures: list[float] = Field(default_factory=lambda: [0.2, 0.5])
    """A page that loops is read again by sampling, warmer each time; empty: no retry."""
    fallback: Literal["textlayer", "none"] = "textlayer"
    """What a page gives that Nougat could not read: its text layer, or nothing."""
    max_failed_share: float = Field(0.25, ge=0.0, le=1.0)
    """A document with more pages than this that no method could read is rejected."""


class NougatCommand(Section):
    """The original package ``nougat-ocr`` as a program of its own environment."""

    command: str = "nougat"
    """The program: a name on PATH or a path; see ``requirements/nougat-ocr.txt``."""
    checkpoint: str | None = None
    """Folder of its model; absent: the program's own default."""
    timeout_seconds: float = Field(3600.0, gt=0.0)
    """Longest time for one PDF."""


class Ocr(Section):
    """How PDFs become text."""

    backend: Literal["textlayer", "nougat", "nougat-ocr"] = "textlayer"
    """``textlayer``: the text that the PDF carries, through PDFium. ``nougat``: transformers' port
    of Nougat on Ray actors. ``nougat-ocr``: the original package, run as a program."""
    max_pages: int = Field(2000, ge=1)
    """Longer PDFs are rejected."""
    max_file_bytes: int = Field(500_000_000, ge=1)
    """Larger PDFs are rejected."""
    min_chars_per_page: int = Field(20, ge=0)
    """A PDF with fewer characters per page on average is a scan or blank: rejected."""
    timeout_seconds: float = Field(300.0, gt=0.0)
    """A PDF whose text layer takes longer, or one page that takes longer to render, is given up."""
    nougat: Nougat = Nougat()
    nougat_ocr: NougatCommand = NougatCommand()
