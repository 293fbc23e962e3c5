"""A log of answered requests: a rerun never pays for the same request twice.

Append-only JSON lines, two kinds::

    {"prompt_sha256": ..., "messages": [...]}     what was asked ("prompt" for a completion), once
    {"key": ..., "text": ..., "prompt_tokens": ...}    an answer, by what it depends on

Answers are written as they arrive, each line in one write, so a killed process loses none that it
wrote: at most the requests in flight and what just arrived. The disk is told to keep them every
half second: a power cut loses what came after. A broken last line is cut off at the next start.
One writer per file.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from core.hashing import canonical_json, sha256_value
from core.llm.engine import Engine, GenerateRequest, Generation
from core.llm.usage import Usage
from core.recipe.engine import Sampling

log = logging.getLogger(__name__)

SYNC_SECONDS = 0.5
"""Time between syncs to disk: a sync per answer would be slower than many servers."""


def request_key(
    label: str, sampling: Sampling, request: GenerateRequest, model_digest: str = ""
) -> str:
    """Returns the SHA-256 of all that an answer depends on, as 64 hex digits.

    Args:
        label: the engine's.
        sampling: how text is drawn.
        request: what is asked; ``inputs`` count, since the ``rules`` engine reads them.
        model_digest: content hash of the model, where one label can mean several (``train.cpt``).
    """
    parts = [
        label,
        model_digest,
        sampling.model_dump(),
        list(request.messages),
        request.schema,
        request.task,
        request.inputs,
        request.seed,
    ]
    # Fields that came later count where they are set: keys of older logs stay what they were.
    later = {
        "prompt": request.prompt,
        "stop": list(request.stop),
        "max_tokens": request.max_tokens,
        "prefill": request.prefill,
    }
    given = {name: value for name, value in later.items() if value not in ("", [], None)}
    return sha256_value([*parts, given] if given else parts)


def prompt_digest(request: GenerateRequest) -> str:
    """Returns the SHA-256 of what a model is asked, for the column ``prompt_sha256``.

    Of the list of chat turns, a begun answer being the last one, or of the text to be completed.
    """
    return sha256_value(_turns(request) if request.messages else request.prompt)


def _turns(request: GenerateRequest) -> list[dict[str, str]]:
    begun = [{"role": "assistant", "content": request.prefill}] if request.prefill else []
    return [*request.messages, *begun]


class RequestLog:
    """Answers by key, and the prompts they answer, on disk.

    Args:
        path: the JSON-lines file; made on the first append.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, Generation] = {}
        self._prompts: set[bytes] = set()
        if path.exists():
            self._load()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def __enter__(self) -> RequestLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Generation | None:
        """Returns the answer logged under a key."""
        return self._answers.get(key)

    def append(self, key: str, request: GenerateRequest, answer: Generation) -> None:
        """Writes an answer, and its prompt if that is new.

        A failed one is left out, to be asked again.
        """
        if answer.error is not None:
            return
        self._write(self._prompt_line(request) + _line({"key": key, **asdict(answer)}))
        self._answers[key] = answer
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self._sync()

    def remember(self, request: GenerateRequest) -> None:
        """Writes the prompt of an answer that is in the log, if a log of old lacks it."""
        self._write(self._prompt_line(request))

    def close(self) -> None:
        """Syncs and closes the file."""
        self._sync()
        self._file.close()

    def _prompt_line(self, request: GenerateRequest) -> bytes:
        digest = prompt_digest(request)
        if bytes.fromhex(digest) in self._prompts:
            return b""
        self._prompts.add(bytes.fromhex(digest))
        if request.messages:
            return _line({"prompt_sha256": digest, "messages": _turns(request)})
        return _line({"prompt_sha256": digest, "prompt": request.prompt})

    def _write(self, lines: bytes) -> None:
        # A full disk may take a part; the rest then raises.
        while lines:
            lines = lines[self._file.write(lines) :]

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _load(self) -> None:
        end_bytes = broken = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end_bytes += len(line)
                broken += not self._take(line)
        if broken:
            log.warning("%s: %d lines that are no answers are left out", self._path, broken)
        lost_bytes = self._path.stat().st_size - end_bytes
        if lost_bytes:
            # New lines must not join it.
            log.warning("%s: cutting off %d bytes of a broken line", self._path, lost_bytes)
            os.truncate(self._path, end_bytes)

    def _take(self, line: bytes) -> bool:
        """Reads a line; False where it is neither an answer nor a prompt."""
        try:
            entry = json.loads(line.decode("utf-8", "surrogatepass"))
            if "prompt_sha256" in entry:
                self._prompts.add(bytes.fromhex(entry["prompt_sha256"]))
            else:
                key = entry.pop("key")
                self._answers[key] = Generation(**entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        return True


def cached_generate(
    engine: Engine,
    sampling: Sampling,
    requests: Sequence[GenerateRequest],
    request_log: RequestLog,
    model_digest: str = "",
    usage: Usage | None = None,
) -> list[Generation]:
    """Answers requests, asking the engine only for what the log does not hold.

    Args:
        engine: who is asked.
        sampling: how the engine draws text; part of the key.
        requests: what is asked. Equal requests are asked once.
        request_log: read first, and appended to as answers arrive.
        model_digest: content hash of the model; part of the key.
        usage: counts the answers.

    Returns:
        One answer per request, in order.
    """
    keys = [request_key(engine.label, sampling, r, model_digest) for r in requests]
    missing: dict[str, GenerateRequest] = {}
    for key, request in zip(keys, requests, strict=True):
        if request_log.get(key) is None:
            missing[key] = request
        else:
            request_log.remember(request)
    failed: dict[str, Generation] = {}
    waiting = list(missing.items())
    log.info("%d requests: %d to be asked, the rest logged", len(requests), len(waiting))
    for number, answer in engine.stream([request for _, request in waiting]):
        key, request = waiting[number]
        request_log.append(key, request, answer)
        if answer.error is not None:
            failed[key] = answer
    answers = [request_log.get(key) or failed[key] for key in keys]
    if usage is not None:
        for key, answer in zip(keys, answers, strict=True):
            usage.add(key, answer)
    return answers


def _line(entry: dict[str, object]) -> bytes:
    return (canonical_json(entry) + "\n").encode("utf-8", "surrogatepass")
