"""Which language a text is in: the same question for instruction sets and for question pairs.

Why py3langid (BSD-3-Clause, needs numpy only, its 4.6 MB model lies in the package and is read
without pickle): on 1,020 English texts (Alpaca answers, astronomy questions, web pages, LaTeX) it
was sure of a wrong language in none but a Spanish answer, since it knows when it cannot tell.
fastText's small model is faster, yet is sure that tables of numbers are Chinese (and is share-alike
data); lingua took "The software was installed by him." for German, and a 96 MB wheel.

The answer is three-valued. A short answer ("M31", "0.5"), a formula or a table is in no language:
a filter must not drop it, so it asks for ``is_language(...) is False``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_SURE = 0.5
"""Probability from which a language is taken for granted."""
_UNLIKELY = 0.05
"""Probability below which a language is ruled out, where another one is sure: near relatives
(Portuguese and Galician) share a text's probability, and then neither is ruled out."""

_WINDOW_CHARS = 250
"""A long text is judged by its start, middle and end: three windows of this size are enough."""
_LONG_CHARS = 20_000

# Words of no language, or of another one than the text around them: fenced and inline code,
# formulas, LaTeX commands, addresses, markup.
_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)"
    r"|\\[A-Za-z]+\*?|https?://\S+|<[^<>]{1,200}>",
    re.DOTALL,
)
_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    # Takes 0.9 s and 100 MB: once a process, and only where a recipe asks for a language.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=1)
def known_languages() -> frozenset[str]:
    """Returns the ISO 639 codes that :func:`is_language` can answer for (``en``, ``de``, ...)."""
    return frozenset(_identifier().labels) - {"zxx"}


def is_language(text: str, language: str) -> bool | None:
    """Returns whether a text is in a language; None where that cannot be told.

    A text of several languages counts for the one that most of it is in. Code, formulas and
    addresses are left out.

    Args:
        text: any length; at most 750 characters of it are looked at.
        language: ISO 639 code, one of :func:`known_languages`.

    Raises:
        ValueError: the language is not known.
    """
    if language not in known_languages():
        raise ValueError(f"unknown language {language!r}")
    sample = _sample(text)
    best, probability = _identifier().classify(sample)
    if probability < _SURE or best == "zxx":
        return None
    if best == language:
        return True
    return None if dict(_identifier().rank(sample))[language] > _UNLIKELY else False


def likely_language(text: str) -> tuple[str, float]:
    """Returns the likeliest language (``zxx``: none) and its probability, for a reject's detail."""
    best, probability = _identifier().classify(_sample(text))
    return best, probability


def _sample(text: str) -> str:
    if len(text) > _LONG_CHARS:
        text = _windows(text, _LONG_CHARS // 3)
    prose = _SPACES.sub(" ", _NOT_PROSE.sub(" ", text)).strip()
    return _windows(prose, _WINDOW_CHARS)


def _windows(text: str, chars: int) -> str:
    if len(text) <= 3 * chars:
        return text
    middle = (len(text) - chars) // 2
    return f"{text[:chars]} {text[middle : middle + chars]} {text[-chars:]}"
