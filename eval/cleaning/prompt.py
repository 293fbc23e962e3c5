"""What the model is asked about one question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import InputError
from core.llm import GenerateRequest
from core.prompt_template import PromptTemplate
from core.recipe.cleaning import Cleaning
from core.stage import StageContext
from eval.items import Item, letter

TASK = "clean_question"
PROMPT_FILE = Path(__file__).parent / "prompts" / "clean.md"

MAX_REASON_CHARS = 400
MAX_QUESTION_CHARS = 4000

_EXAMPLE = {"choices": [("A", "So"), ("B", "No")], "topic": "Stars", "domain": "stars"}


def verdict_schema() -> dict[str, Any]:
    """Returns the JSON Schema of an answer: the reason first, so that the verdict follows it."""
    text = {"type": "string", "minLength": 1}
    properties = {
        "reason": {**text, "maxLength": MAX_REASON_CHARS},
        "verdict": {"type": "string", "enum": ["keep", "remove", "rewrite"]},
        "question": {**text, "maxLength": MAX_QUESTION_CHARS},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class Prompter:
    """Makes the requests.

    Args:
        section: the recipe section.
        ctx: where its files are, and the seed.

    Raises:
        InputError: a prompt of the user's cannot be used.
    """

    def __init__(self, section: Cleaning, ctx: StageContext) -> None:
        self._show_choices = section.show_choices
        self._domain = section.domain
        self._seed = ctx.seed
        self._template = _read(ctx.path(section.prompt) if section.prompt else PROMPT_FILE)

    def request(self, item: Item) -> GenerateRequest:
        """Returns what is asked about one question; the key is never shown."""
        listed = [(letter(n), choice) for n, choice in enumerate(item.choices)]
        prompt = self._template.fill(
            {
                "question": item.question,
                "choices": listed if self._show_choices else [],
                "topic": item.topic or "",
                "domain": self._domain,
            }
        )
        return GenerateRequest(
            messages=({"role": "user", "content": prompt},),
            schema=verdict_schema(),
            task=TASK,
            inputs={"question": item.question},
            seed=self._seed,
        )


def _read(path: Path) -> PromptTemplate:
    remedy = (
        "write a Jinja2 template that knows question, choices, topic and domain; "
        "eval/cleaning/prompts/clean.md is one"
    )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot use this prompt: {error}", where=str(path), remedy=remedy
        ) from error
    return PromptTemplate(text, _EXAMPLE, ("question",), where=str(path), remedy=remedy)
