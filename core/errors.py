"""Errors a user can act on: what happened, where, and what to do about it.

The command line prints those three lines and exits with ``exit_code``; ``--debug`` adds the trace.
Exit codes: 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

from typing import Any

from core.secrets import redact


class AstromillError(Exception):
    """A failure explained in three lines.

    Args:
        what: what went wrong, one sentence.
        where: the file, key path, stage or shard it went wrong in.
        remedy: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str, remedy: str) -> None:
        # What others said may repeat a key; an error is shown, written and sent around.
        what, where = redact(what), redact(where)
        super().__init__(f"{what} [{where}]")
        self.what = what
        self.where = where
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray pickles errors between processes; keyword-only arguments need spelling out.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(cls: type[AstromillError], what: str, where: str, remedy: str) -> AstromillError:
    return cls(what, where=where, remedy=remedy)


def first_line(error: BaseException) -> str:
    """Returns an exception's first line, or what kind it is where it says nothing by itself."""
    said = f"{error} ".strip().partition("\n")[0].strip()
    if isinstance(error, KeyError):
        return f"{type(error).__name__}: {said}"
    return said or type(error).__name__


class RecipeError(AstromillError):
    """The recipe file or an override is wrong; nothing has been run."""

    exit_code = 2


class UsageError(AstromillError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class InputError(AstromillError):
    """A file that a stage needs is missing, unreadable or not what it claims to be."""


class StageError(AstromillError):
    """A stage ended without a complete output."""


class Paused(AstromillError):
    """Not a failure: a stage was asked to stop and saved what it had; the same command goes on."""

    exit_code = 0


class EngineError(AstromillError):
    """A language-model engine cannot start or answer."""
