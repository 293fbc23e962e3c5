"""The template functions: importing this module registers them all."""

from __future__ import annotations

from corpus.wikitext import (
    astronomy,
    chemistry,
    constants,
    convert,
    dates,
    identifiers,
    list_templates,
    numbers,
    text_templates,
    typography,
)

__all__ = [
    "astronomy",
    "chemistry",
    "constants",
    "convert",
    "dates",
    "identifiers",
    "list_templates",
    "numbers",
    "text_templates",
    "typography",
]
