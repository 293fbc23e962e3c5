"""Prompts for summaries: of a whole document, of one part, and of the parts' summaries together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.errors import InputError
from core.hashing import sha256_text
from core.llm import GenerateRequest
from core.prompt_template import PromptTemplate
from core.recipe.summaries import Summaries as SummariesSection
from core.recipe.summaries import SummaryPrompts
from core.stage import StageContext
from synth.summary_checks import schema

TASK = "summary"

_FOLDER = Path(__file__).parent / "prompts"
_FILES = {"whole": "summary.md", "part": "summary_part.md", "combine": "summary_combine.md"}
_EXAMPLE = {"title": "Stars", "short": "yes"}
_PLACE = {"number": "1", "parts": "2"}
"""What only the prompt of a part knows besides."""


def built_in_hashes(prompts: SummaryPrompts) -> dict[str, str]:
    """Returns the hashes of the prompts that come along and are used."""
    return {
        name: sha256_text((_FOLDER / file).read_text(encoding="utf-8"))
        for name, file in _FILES.items()
        if getattr(prompts, name) is None
    }


def own_files(prompts: SummaryPrompts, ctx: StageContext) -> list[Path]:
    """Returns the user's own prompts."""
    given = [getattr(prompts, name) for name in _FILES]
    return [ctx.path(name) for name in given if name is not None]


class SummaryRequests:
    """Makes the requests of a shard.

    Args:
        section: the recipe's.
        ctx: the run.

    Raises:
        InputError: a prompt of the user's cannot be used.
    """

    def __init__(self, section: SummariesSection, ctx: StageContext) -> None:
        self._section = section
        self._seed = ctx.seed
        self._templates: dict[str, PromptTemplate] = {}
        for name, file in _FILES.items():
            own = getattr(section.prompts, name)
            path = _FOLDER / file if own is None else ctx.path(own)
            example = {**_EXAMPLE, **(_PLACE if name == "part" else {})}
            remedy = (
                f"write a Jinja2 template that knows {', '.join(sorted([*example, 'text']))}; "
                f"synth/prompts/{file} is one"
            )
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(
                    f"cannot use this prompt: {error}", where=str(path), remedy=remedy
                ) from error
            self._templates[name] = PromptTemplate(
                text, example, ("text",), where=str(path), remedy=remedy
            )

    def whole(self, title: str, text: str) -> GenerateRequest:
        """Asks for summary and short version of a document in one piece."""
        return self._request("whole", {"title": title, "text": text, "short": "yes"})

    def part(self, title: str, text: str, number: int, parts: int) -> GenerateRequest:
        """Asks for the summary of one part; ``number`` counts from 1."""
        place = {"number": str(number), "parts": str(parts)}
        return self._request("part", {"title": title, "text": text, "short": "", **place})

    def combine(self, title: str, texts: list[str], last: bool) -> GenerateRequest:
        """Asks for one summary from several, and in the last step for the short version."""
        text = "\n\n".join(texts)
        return self._request("combine", {"title": title, "text": text, "short": "yes" * last})

    def _request(self, name: str, inputs: Mapping[str, str]) -> GenerateRequest:
        prompt = self._templates[name].fill(inputs)
        return GenerateRequest(
            messages=({"role": "user", "content": prompt},),
            schema=schema(self._section, bool(inputs["short"])),
            task=TASK,
            inputs={"kind": name, **inputs},
            seed=self._seed,
        )
