"""Files of templates: how questions are asked and answered, preambles, and ways of naming a paper.

A template is plain text with names in braces: ``{paper}``, or a fact of
:class:`synth.metadata.paper.Paper` such as ``{title}``. It is used where all that it names is
known. Which one is drawn depends on seed and document only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from core.errors import InputError
from core.hashing import sha256_text
from core.recipe.base import Section
from core.yaml_reader import read_yaml

FACTS = frozenset(
    {
        *("title", "id", "year", "month", "day", "first_author", "cite", "by", "cite_year", "book"),
        *("paper", "asked"),
    }
)
"""What templates may name."""

T = TypeVar("T")
W = TypeVar("W", bound="Wording")

# Starts of a question that stay capital after "Hello,".
_KEPT_CAPITAL = re.compile(r"I\b|[^A-Z]|[A-Z][A-Z]")


@lru_cache(maxsize=4096)
def fields(template: str) -> frozenset[str]:
    """Returns the names in a template's braces.

    Raises:
        ValueError: the braces do not match.
    """
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def _known(template: str) -> str:
    # Anything but a plain name, such as {title.x}, is refused: a format string can reach far.
    if strange := fields(template) - FACTS:
        raise ValueError(f"'{{{min(strange)}}}' is not one of: {', '.join(sorted(FACTS))}")
    return template


def _asking(template: str) -> str:
    if "paper" not in fields(template):
        raise ValueError(f"names no {{paper}}: '{template}'")
    return template


def _fact(name: str) -> str:
    if name not in FACTS:
        raise ValueError(f"'{name}' is not one of: {', '.join(sorted(FACTS))}")
    return name


Fact = Annotated[str, AfterValidator(_fact)]
Template = Annotated[str, AfterValidator(_known)]
Question = Annotated[str, AfterValidator(_known), AfterValidator(_asking)]


class Chance:
    """Draws that depend on a key only, whatever the Python version.

    Args:
        key: seed, document and purpose.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._drawn = 0

    def below(self, n: int) -> int:
        """Returns a whole number from 0 to n - 1."""
        self._drawn += 1
        return int(sha256_text(f"{self._key}|{self._drawn}")[:15], 16) % n

    def happens(self, share: float) -> bool:
        """Returns True in the given share of cases."""
        return self.below(1 << 32) < share * (1 << 32)

    def one(self, values: Sequence[T]) -> T:
        """Returns one of the values."""
        return values[self.below(len(values))]


def usable(templates: Sequence[str], facts: Mapping[str, str]) -> list[str]:
    """Returns the templates that name only what is known."""
    return [template for template in templates if fields(template) <= facts.keys()]


def fill(template: str, facts: Mapping[str, str]) -> str:
    """Returns a template with its names replaced, and a capital where its sentence starts."""
    text = template.format_map(facts).replace("et al..", "et al.")
    # "arXiv" keeps its small letter; "the paper", drawn at the start, does not.
    return text if text.startswith("arXiv") else text[:1].upper() + text[1:]


def ask(preamble: str, question: str, facts: Mapping[str, str]) -> str:
    """Returns a question after a preamble; an empty one leaves it alone."""
    asked = fill(question, facts)
    if preamble.endswith(",") and not question.startswith("{") and not _KEPT_CAPITAL.match(asked):
        asked = asked[:1].lower() + asked[1:]
    return f"{preamble} {asked}" if preamble else asked


class Ask(Section):
    """One kind of question."""

    asked: str
    """What it asks for, as "do not know" answers say it: ``first author``."""
    hides: list[Fact] = Field([])
    """Facts that the question must not give away, since they are the answer."""
    questions: list[Question] = Field(min_length=1)
    answers: list[Template] = Field(min_length=1)


class Wording(Section):
    """A file of templates."""

    preambles: list[str] = Field(min_length=1)
    """Said before a question; they may name ``{domain}``."""


class MetadataWording(Wording):
    """The file ``synth/prompts/metadata.yaml``, or one like it."""

    names: list[Template] = Field(min_length=1)
    asks: dict[str, Ask] = Field(min_length=1)
    unknown: list[Template] = Field(min_length=1)

    @model_validator(mode="after")
    def _answered(self) -> MetadataWording:
        for kind, asked in self.asks.items():
            if not all(answer.strip() for answer in asked.answers):
                raise ValueError(f"'{kind}' has an empty answer")
        return self


class SummaryWording(Wording):
    """The file ``synth/prompts/summary_questions.yaml``, or one like it."""

    names: dict[str, list[Template]] = Field(min_length=1)
    """By the document's kind."""
    long: Ask
    """For the whole summary."""
    short: Ask
    """For one or two sentences."""


def read_wording(path: Path, kind: type[W], domain: str) -> W:
    """Reads a file of templates.

    Args:
        path: of the file.
        kind: what it holds.
        domain: put for ``{domain}`` in its preambles.

    Raises:
        InputError: it cannot be read, or is not such a file.
    """
    try:
        read = kind.model_validate(read_yaml(path.read_text(encoding="utf-8")))
        preambles = [preamble.replace("{domain}", domain) for preamble in read.preambles]
        return read.model_copy(update={"preambles": preambles})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise _bad(path, f"{place}: {first['msg']}") from error
    except Exception as error:  # PyYAML lets many kinds through
        raise _bad(path, str(error).splitlines()[0] if str(error) else repr(error)) from error


def _bad(path: Path, fault: str) -> InputError:
    return InputError(
        f"cannot use this file of question templates: {fault}",
        where=str(path),
        remedy="write it like the one that comes along, in synth/prompts",
    )
