"""Recipe section ``release``: the finished model with its card, as it goes out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from core.recipe.base import Section


class Citation(Section):
    """How to cite, as BibTeX."""

    bibtex: str | None = None
    """Of this model's own paper or repository."""
    papers: list[Literal["astromlab1", "astromlab3", "astromlab4"]] = Field(default_factory=list)
    """Papers whose method was followed or whose benchmark was used: the card adds their BibTeX.
    Nothing is cited that is not named here."""


class Release(Section):
    """What a model card must say that no manifest knows.

    What can be counted - data, training, merge, scores, versions - is read from the run.
    """

    model: str = Field("merge.merged", pattern=r"^(train|merge)\.[a-z0-9_]+$")
    """Stage whose model goes out. Not a folder: of a stage it is known what it was made from."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
    """Name of the model: title of the card, and of the repository unless told otherwise."""
    summary: str | None = None
    """One or two sentences at the top of the card."""
    license: str | None = None
    """The Hub's name of the licence of the weights: ``llama3.1``, ``apache-2.0``, ``other``."""
    license_name: str | None = None
    """Needed where ``license`` is ``other``."""
    license_link: str | None = None
    """Address of the licence's text, or the name of a file beside the weights."""
    files: list[str] = Field(default_factory=list)
    """Further files that go along, such as a licence's text and Meta's ``NOTICE``."""
    languages: list[str] = Field(default_factory=lambda: ["en"])
    """Codes such as ``en``, for the card."""
    authors: list[str] = Field(default_factory=list)
    """Who made the model, for the card."""
    contact: str | None = None
    """Where readers of the card can ask."""
    base_model: list[str] = Field(default_factory=list)
    """Hub ids of the models it was made from: ``meta-llama/Llama-3.1-8B``."""
    datasets: list[str] = Field(default_factory=list)
    """Hub ids of published data that it was trained on."""
    tags: list[str] = Field(default_factory=list)
    """For the Hub's search, such as ``astronomy``."""
    intended_use: list[str] = Field(default_factory=list)
    """What it is for, a line each."""
    limits: list[str] = Field(default_factory=list)
    """What to know besides what the card says by itself, a line each."""
    scored_as: str | None = None
    """Its name under ``eval.models``; absent: the entry that names the same stage."""
    hardware: str | None = None
    """What it was trained on, in words."""
    energy_kwh: float | None = Field(None, gt=0)
    """Measured energy of the training, if known."""
    carbon_kg: float | None = Field(None, gt=0)
    """CO2 equivalent of the training, if known: goes into the card's ``co2_eq_emissions``."""
    carbon_source: str | None = None
    """How ``carbon_kg`` was found; needed with it."""
    citation: Citation = Citation()

    @model_validator(mode="after")
    def _complete(self) -> Release:
        if self.license == "other" and not (self.license_name and self.license_link):
            raise ValueError("license 'other' needs 'license_name' and 'license_link'")
        if self.carbon_kg is not None and not self.carbon_source:
            raise ValueError("'carbon_kg' needs 'carbon_source': how it was found")
        return self
