"""Prompts of the Q&A stage: a template, kinds of question, and what one passage fills in.

What all requests share comes first in the template and what one document shares next, so that a
server's prefix cache holds both; the passage and the drawn kinds of question come last.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import RecipeError, first_line
from core.hashing import sha256_text
from core.llm import GenerateRequest
from core.prompt_template import PromptTemplate
from core.recipe.qa import Qa
from core.yaml_reader import read_yaml

PROMPT_FILE = Path(__file__).parent / "prompts" / "qa.md"
STYLES_FILE = Path(__file__).parent / "prompts" / "qa_styles.yaml"


@dataclass(frozen=True)
class Passage:
    """A stretch of a document that questions are asked about.

    Args:
        doc_id: the document.
        title: of the document.
        start_char: where it starts in the document's text.
        end_char: where it ends.
        text: what it says.
        section: headings above it, outermost first.
        summary: one or two sentences about the document, if there are any.
        pairs: pairs asked for at most.
    """

    doc_id: str
    title: str
    start_char: int
    end_char: int
    text: str
    section: tuple[str, ...] = ()
    summary: str = ""
    pairs: int = 1


class QaPrompt:
    """A prompt template with its kinds of question."""

    def __init__(self, template: str, styles: Mapping[str, str], where: str) -> None:
        """Makes a prompt.

        Args:
            template: Jinja2.
            styles: names and lines.
            where: the template's file, for errors.

        Raises:
            RecipeError: the template is broken, uses a value that there is none of, or never shows
                the passage.
        """
        self._styles = dict(styles)
        trial = Passage("trial", "Title", 0, 7, "Passage", ("Section",), "Summary", 2)
        self._template = PromptTemplate(
            template,
            _values(trial, "en", list(self._styles.values())),
            ("passage",),
            where=where,
            remedy="it may use title, summary, section, passage, pairs, styles and language",
            error=RecipeError,
        )

    def request(self, passage: Passage, qa: Qa, seed: int) -> GenerateRequest:
        """Returns the request for one passage, with the schema of the answer."""
        styles = draw_styles(self._styles, qa.styles_per_chunk, passage, seed)
        prompt = self._template.fill(_values(passage, qa.language, styles))
        return GenerateRequest(
            messages=({"role": "user", "content": prompt},),
            schema=pairs_schema(passage.pairs, qa.max_question_chars, qa.max_answer_chars),
            task="qa",
            inputs={
                "title": passage.title,
                "passage": passage.text,
                "pairs": str(passage.pairs),
            },
            seed=seed,
        )


def _values(passage: Passage, language: str | None, styles: Sequence[str]) -> dict[str, Any]:
    return {
        "title": passage.title,
        "summary": passage.summary,
        "section": " > ".join(passage.section),
        "passage": passage.text,
        "pairs": passage.pairs,
        "styles": styles,
        "language": language,
    }


def open_prompt(prompt_file: Path, styles_file: Path) -> QaPrompt:
    """Reads a prompt.

    Raises:
        RecipeError: a file is missing or cannot be used.
    """
    return QaPrompt(_read(prompt_file), read_styles(styles_file), str(prompt_file))


def read_styles(path: Path) -> dict[str, str]:
    """Returns the kinds of question in a styles file, by name.

    Raises:
        RecipeError: it is missing, or no YAML mapping of names to lines.
    """
    try:
        styles: Any = read_yaml(_read(path))
    except (yaml.YAMLError, ValueError) as error:
        raise _not_styles(path, first_line(error)) from error
    if not isinstance(styles, dict) or not styles:
        raise _not_styles(path, "not a mapping")
    for name, line in styles.items():
        if not isinstance(name, str) or not isinstance(line, str) or not line.strip():
            raise _not_styles(path, f"{name}: not a line of text")
    return styles


def _not_styles(path: Path, why: str) -> RecipeError:
    return RecipeError(
        f"the styles cannot be used: {why}",
        where=str(path),
        remedy="one kind of question a line, such as 'definition: \"Ask what a term means.\"'",
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot read {path.name}: {error}",
            where=str(path),
            remedy="check synth.qa.prompt and synth.qa.styles: paths from the recipe's root",
        ) from error


def draw_styles(styles: Mapping[str, str], number: int, passage: Passage, seed: int) -> list[str]:
    """Returns some of the styles' lines.

    The draw depends on seed, document and place alone, so neither the order of documents nor the
    number of workers changes it.
    """
    place = sha256_text(f"{seed}\n{passage.doc_id}\n{passage.start_char}")
    names = sorted(styles)
    return [styles[n] for n in random.Random(place).sample(names, min(number, len(names)))]


def pairs_schema(pairs: int, max_question_chars: int, max_answer_chars: int) -> dict[str, Any]:
    """Returns the JSON Schema of an answer with at most ``pairs`` pairs.

    Lengths are bounded, so that a model that will not stop cannot fill the whole budget of tokens
    with one string.
    """

    def text(longest: int) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": longest}

    pair = {
        "type": "object",
        "properties": {"question": text(max_question_chars), "answer": text(max_answer_chars)},
        "required": ["question", "answer"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"pairs": {"type": "array", "items": pair, "maxItems": pairs}},
        "required": ["pairs"],
        "additionalProperties": False,
    }
