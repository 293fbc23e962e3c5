"""Prompts as Jinja templates, anybody's: they fill in values and reach nothing else.

A prompt is plain text for a model, not HTML, so nothing is escaped. It is filled in once when it is
read, so that a wrong name, or a prompt that never shows what it is about, is told before a model is
asked ten thousand times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from core.errors import AstromillError, InputError, first_line


class PromptTemplate:
    """A template with the values that it may use."""

    def __init__(
        self,
        text: str,
        example: Mapping[str, Any],
        shows: Sequence[str],
        *,
        where: str,
        remedy: str,
        error: type[AstromillError] = InputError,
    ) -> None:
        """Reads a template and fills it in once.

        Args:
            text: Jinja2.
            example: every value that there will be, by name, but for those of ``shows``.
            shows: names of the texts that it must show.
            where: the template's file, for errors.
            remedy: what it may use, for errors.
            error: raised where it cannot be used.

        Raises:
            AstromillError: it is no template, uses a value that there is none of, or does not show
                what it must.
        """
        self._where, self._remedy, self._error = where, remedy, error
        try:
            self._template = _compile(text)
        except Exception as fault:
            raise self._refusal(fault) from fault
        # Digits: filters for case or white space leave them as they are.
        marks = {name: f"3141592{number}" for number, name in enumerate(shows)}
        shown = self.fill({**example, **marks})
        if hidden := next((name for name, mark in marks.items() if mark not in shown), None):
            raise error(
                f"cannot use this prompt: it never shows the {hidden}",
                where=where,
                remedy=f"write {{{{ {hidden} }}}} where it is to stand; {remedy}",
            )

    def fill(self, values: Mapping[str, Any]) -> str:
        """Returns the prompt with these values.

        Raises:
            AstromillError: it cannot be filled in with them.
        """
        try:
            return self._template.render(values)
        except Exception as fault:  # a template may divide by zero, too
            raise self._refusal(fault) from fault

    def _refusal(self, fault: Exception) -> AstromillError:
        line = getattr(fault, "lineno", None)
        said = fault.message if isinstance(fault, TemplateError) else None
        return self._error(
            f"cannot use this prompt: {said or first_line(fault)}",
            where=self._where if line is None else f"{self._where}, line {line}",
            remedy=self._remedy,
        )


@lru_cache(maxsize=16)
def _compile(text: str) -> Template:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    return environment.from_string(text)
