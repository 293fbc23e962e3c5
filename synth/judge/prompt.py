"""What a judge is asked: templates, examples, and prompt files of one's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InputError
from core.llm import GenerateRequest
from core.prompt_template import PromptTemplate
from core.recipe.judge import SCORE_SCALE, JudgePrompt, Judging
from core.stage import StageContext
from synth.judge.examples import EXAMPLES_FILE, Example, choose_examples, read_examples
from synth.judge.verdict import CRITERIA

PROMPTS_FOLDER = Path(__file__).parents[1] / "prompts"

MAX_EXPLANATION_CHARS = 600

COMPLETION_TOKENS = 16
"""Of a completion: ``5, 5, 5, 5]`` is 11 tokens with spaces."""

_FIELD = re.compile(r"\{([a-z0-9_]+)\}")
_REMEDY = (
    "name a Jinja template that knows question, answer, title, passage, examples, explain, "
    "scale and domain (see synth/prompts/judge_schema.md), or a .jsonl file in FastChat's format"
)
_FASTCHAT_FIELDS = ("question", "answer", "title", "passage")


@dataclass(frozen=True)
class Asked:
    """A pair to judge, with what it was written from where the judge sees that."""

    question: str
    answer: str
    title: str = ""
    passage: str = ""


class Prompter:
    """Makes the requests of one judge.

    Args:
        judging: the recipe section.
        ctx: where its files are; the seed chooses the examples.

    Raises:
        InputError: a prompt or example file of one's own cannot be used.
    """

    def __init__(self, judging: Judging, ctx: StageContext) -> None:
        self._judging = judging
        self._seed = ctx.seed
        self._examples = [] if judging.mode == "rating" else _chosen(judging, ctx)
        self._system = ""
        self._template: PromptTemplate | None = None
        self._fastchat = ""
        path = template_file(judging, ctx)
        if path.suffix == ".jsonl":
            assert judging.prompt is not None
            self._system, self._fastchat = _read_fastchat(path, judging.prompt)
        else:
            # A template may ask whether there is a passage.
            seen = Asked("", "", *(("Stars", "Text.") if judging.passage else ()))
            self._template = PromptTemplate(
                _read_template(path),
                self._values(seen),
                ("question", "answer"),
                where=str(path),
                remedy=_REMEDY,
            )

    def request(self, asked: Asked) -> GenerateRequest:
        """Returns what the judge is asked about one pair."""
        judging = self._judging
        if not judging.passage:
            asked = Asked(asked.question, asked.answer)
        if judging.mode == "completion":
            # A line break in a pair could end its turn and pretend a verdict.
            asked = Asked(*(" ".join(t.split()) for t in _texts(asked)))
        prompt = self._render(asked)
        inputs = {
            "question": asked.question,
            "answer": asked.answer,
            "passage": asked.passage,
        }
        if judging.mode == "completion":
            explain = judging.explain
            return GenerateRequest(
                prompt=prompt,
                stop=("\n\n", "\nQuestion:") if explain else ("\n",),
                max_tokens=None if explain else COMPLETION_TOKENS,
                task="judge",
                inputs=inputs,
                seed=self._seed,
            )
        system = ({"role": "system", "content": self._system},) if self._system else ()
        return GenerateRequest(
            messages=(*system, {"role": "user", "content": prompt}),
            schema=scores_schema(judging.explain) if judging.mode == "schema" else None,
            task="judge",
            inputs=inputs,
            seed=self._seed,
        )

    def _render(self, asked: Asked) -> str:
        if self._template is None:
            values = vars(asked)
            return _FIELD.sub(lambda found: values[found[1]], self._fastchat)
        return self._template.fill(self._values(asked))

    def _values(self, asked: Asked) -> dict[str, Any]:
        judging = self._judging
        return {
            **vars(asked),
            "examples": [_shown(example, judging.explain) for example in self._examples],
            "explain": judging.explain,
            "scale": judging.scale,
            "domain": judging.domain,
        }


def scores_schema(explain: bool) -> dict[str, Any]:
    """Returns the JSON Schema of a verdict: four integers, after an explanation if asked for."""
    score = {"type": "integer", "enum": list(range(1, SCORE_SCALE + 1))}
    text = {"type": "string", "minLength": 1, "maxLength": MAX_EXPLANATION_CHARS}
    # Constrained engines write keys in this order: reasons first, then scores that follow them.
    properties = {**({"explanation": text} if explain else {}), **dict.fromkeys(CRITERIA, score)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def template_file(judging: Judging, ctx: StageContext) -> Path:
    """Returns the file of the judge's prompt."""
    if judging.prompt is not None:
        return ctx.path(judging.prompt.path)
    return PROMPTS_FOLDER / f"judge_{judging.mode}.md"


def own_files(judging: Judging, ctx: StageContext) -> list[Path]:
    """Returns the files of one's own that the recipe names: a prompt, examples.

    Raises:
        InputError: one is missing.
    """
    named = [judging.prompt.path if judging.prompt else None, judging.examples_path]
    files = [ctx.path(name) for name in named if name is not None]
    for path in files:
        if not path.is_file():
            raise InputError(
                "there is no such file",
                where=str(path),
                remedy="correct synth.judge.prompt.path or synth.judge.examples_path",
            )
    return files


def shipped_files(judging: Judging) -> list[Path]:
    """Returns the files of ours that a prompt is made from."""
    files = [] if judging.prompt else [PROMPTS_FOLDER / f"judge_{judging.mode}.md"]
    if judging.mode != "rating" and judging.examples_path is None:
        files.append(EXAMPLES_FILE)
    return files


def _texts(asked: Asked) -> Sequence[str]:
    return asked.question, asked.answer, asked.title, asked.passage


def _chosen(judging: Judging, ctx: StageContext) -> list[Example]:
    path = ctx.path(judging.examples_path) if judging.examples_path else EXAMPLES_FILE
    try:
        return choose_examples(read_examples(path), judging.examples, ctx.seed)
    except ValueError as error:
        raise InputError(
            str(error), where=str(path), remedy="add examples, or lower synth.judge.examples"
        ) from error


def _shown(example: Example, explain: bool) -> dict[str, Any]:
    """Returns an example as templates see it; ``verdict`` is the JSON that it should get."""
    reason = {"explanation": example.explanation} if explain else {}
    verdict = {**reason, **dict(zip(CRITERIA, example.scores, strict=True))}
    return {
        **vars(example),
        "scores": list(example.scores),
        # With spaces, as constrained engines write it.
        "verdict": json.dumps(verdict, ensure_ascii=False),
    }


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"this is no template: {error}", where=str(path), remedy=_REMEDY
        ) from error


def _read_fastchat(path: Path, prompt: JudgePrompt) -> tuple[str, str]:
    """Returns the system prompt and the template of a file in FastChat's format."""
    rows: dict[str, Mapping[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        for row in (json.loads(line) for line in lines if line.strip()):
            rows[str(row["name"])] = row
        if prompt.name not in rows:
            raise ValueError(f"no prompt is named '{prompt.name}', there are: {', '.join(rows)}")
        system, template = rows[prompt.name]["system_prompt"], rows[prompt.name]["prompt_template"]
        if not isinstance(system, str) or not isinstance(template, str):
            raise TypeError("system_prompt and prompt_template are texts")
        unknown = set(_FIELD.findall(template)) - set(_FASTCHAT_FIELDS)
        if unknown:
            raise ValueError(f"a judge of pairs has no {', '.join(sorted(unknown))} to fill in")
        if lacking := {"question", "answer"} - set(_FIELD.findall(template)):
            raise ValueError(f"it never shows the {min(lacking)}")
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(
            f"this prompt cannot be used: {type(error).__name__}: {error}",
            where=str(path),
            remedy="set synth.judge.prompt.name to one for single answers, such as 'single-v1'",
        ) from error
    return system, template
