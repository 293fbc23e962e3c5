"""Finding the prompt of a row: what its model was asked, from the request logs of a stage."""

from __future__ import annotations

import json
from pathlib import Path

from core.llm.cache import prompt_digest
from core.llm.engine import GenerateRequest


def find_request(folder: Path, prompt_sha256: str) -> GenerateRequest | None:
    """Returns the request that a row's ``prompt_sha256`` stands for, or None.

    Args:
        folder: a stage's request logs, ``<run>/cache/llm/<stage>``.
        prompt_sha256: the row's; see :func:`core.llm.cache.prompt_digest`.

    Returns:
        A request with ``messages`` or ``prompt`` set and nothing else.
    """
    wanted = prompt_sha256.encode()
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                # Most lines are answers: only one that holds the digest is worth parsing.
                if wanted in line and (found := _read(line, prompt_sha256)):
                    return found
    return None


def _read(line: bytes, prompt_sha256: str) -> GenerateRequest | None:
    try:
        entry = json.loads(line.decode("utf-8", "surrogatepass"))
        request = GenerateRequest(
            messages=tuple(entry.get("messages", ())), prompt=entry.get("prompt", "")
        )
    except (ValueError, TypeError, AttributeError):
        return None
    # An answer may quote a digest, and a file may be edited: the content has the last word.
    return request if prompt_digest(request) == prompt_sha256 else None


__all__ = ["find_request"]
