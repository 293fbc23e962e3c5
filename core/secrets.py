"""Secrets: what one looks like, and keeping them out of everything that is written.

Keys and tokens come from environment variables alone. Texts that others had a part in (a server's
error, a library's warning, a trace) may repeat one, so every log line, error and trace passes
:func:`redact` before it is shown, written or sent to another process.

What counts as a secret: the values of variables whose name says so, keys that were
:func:`protect`-ed because a recipe names their variable, passwords in addresses,
``Authorization`` headers, and tokens whose form gives them away.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from urllib.parse import quote

HIDDEN = "***"

TOKEN_FORMS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an OpenAI or Anthropic key": r"\bsk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,}",
    "a GitHub token": r"\b(?:gh[opsur]_[A-Za-z0-9]{36,}|github_pat_\w{40,})",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
    "a password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/:@]+@[\w.-]+",
}
"""Regular expressions of what is a secret by its form, with what to call it."""

SECRET_VARIABLE = re.compile(
    r"TOKEN(?!S|IZ)|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY", re.IGNORECASE
)
"""Names of variables that hold secrets; not ``MAX_TOKENS`` or ``TOKENIZERS_PARALLELISM``."""
_NO_SECRET = re.compile(r"_(?:PATH|FILE|DIR|URL|ENV)$", re.IGNORECASE)
"""Variables that say where a secret is, such as ``HF_TOKEN_PATH``."""
_SHORTEST = 8
"""Characters; shorter values of such variables are words like ``false``."""

# An address may hold a name alone (a token of GitHub's), or a password with marks in it.
_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@'\"]*:[^\s/@'\"]*(?=@)|(?<=://)[^\s/@:'\"]{20,}(?=@)")
_HEADER = re.compile(
    r"(authorization[\"'\]:=(,\s]{1,5}(?:b?[\"'])?(?:bearer|basic|token)\s+|\bbearer\s+)"
    r"[^\s\"',}<>]{6,}",
    re.IGNORECASE,
)
_FORMS = [re.compile(form) for name, form in TOKEN_FORMS.items() if "address" not in name]

_protected: set[str] = set()


def protect(secret: str | None) -> None:
    """Hides a secret in whatever this process says from here on; None and short words are left."""
    if secret and len(secret) >= _SHORTEST:
        _protected.add(secret)


def secret_variables(shortest: int = _SHORTEST) -> dict[str, str]:
    """Returns the environment variables that hold secrets, by their names.

    Args:
        shortest: characters that a value must have.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if len(value) >= shortest and SECRET_VARIABLE.search(name) and not _NO_SECRET.search(name)
    }


def plain_environment() -> dict[str, str]:
    """Returns the environment without secrets: for programs that read other people's files."""
    secret = secret_variables()
    return {name: value for name, value in os.environ.items() if name not in secret}


def redact(text: str) -> str:
    """Returns a text without secrets, each replaced by ``***``."""
    known = {*_protected, *secret_variables().values()}
    # The longest first: one may be part of another.
    for secret in sorted(known, key=len, reverse=True):
        for form in _written(secret):
            text = text.replace(form, HIDDEN)
    if "://" in text:
        text = _IN_ADDRESS.sub(HIDDEN, text)
    text = _HEADER.sub(rf"\1{HIDDEN}", text)
    for pattern in _FORMS:
        text = pattern.sub(HIDDEN, text)
    return text


def kind_of_secret(text: str) -> str | None:
    """Returns what kind of secret a text holds by its form, or None; never the secret."""
    if "://" in text and _IN_ADDRESS.search(text):
        return "a password in an address"
    found = (name for name, form in TOKEN_FORMS.items() if re.search(form, text))
    return next(found, None)


def redact_traces() -> None:
    """Lets the trace of an error that ends this process be printed without secrets."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))

    sys.excepthook = show


def _written(secret: str) -> Iterator[str]:
    """Yields the ways a secret may stand in a text: as it is, in JSON, in an address."""
    yield from dict.fromkeys(
        (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""))
    )


__all__ = [
    "HIDDEN",
    "SECRET_VARIABLE",
    "TOKEN_FORMS",
    "kind_of_secret",
    "plain_environment",
    "protect",
    "redact",
    "redact_traces",
    "secret_variables",
]
