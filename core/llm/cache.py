"""A log of answered requests: a rerun never pays for the same request twice.

Append-only JSON lines, one per answer, keyed by what the answer depends on. A process killed while
appending leaves a broken last line, which the next start cuts off. One writer per file.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from core.hashing import canonical_json, sha256_value
from core.llm.engine import Engine, GenerateRequest, Generation
from core.recipe.engine import Sampling

log = logging.getLogger(__name__)

SLICE_REQUESTS = 256
"""Requests asked at once: what a kill can lose at most."""


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
    return sha256_value(
        [
            label,
            model_digest,
            sampling.model_dump(),
            list(request.messages),
            request.schema,
            request.task,
            request.inputs,
            request.seed,
        ]
    )


class RequestLog:
    """Answers by key, on disk.

    Args:
        path: the JSON-lines file; made on the first append.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, Generation] = {}
        if path.exists():
            self._load()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

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

    def append(self, entries: Sequence[tuple[str, Generation]]) -> None:
        """Writes answers and syncs them to disk. Failed ones are left out, to be asked again."""
        good = [(key, answer) for key, answer in entries if answer.error is None]
        lines = [canonical_json({"key": key, **asdict(answer)}) + "\n" for key, answer in good]
        self._file.write("".join(lines).encode("utf-8", "surrogatepass"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._answers.update(good)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _load(self) -> None:
        kept_bytes = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line.decode("utf-8", "surrogatepass"))
                    key = entry.pop("key")
                    self._answers[key] = Generation(**entry)
                except (ValueError, KeyError, TypeError, AttributeError):
                    break
                kept_bytes += len(line)
        lost_bytes = self._path.stat().st_size - kept_bytes
        if lost_bytes:
            # What follows a broken line was never acknowledged; new lines must not join it.
            log.warning("%s: cutting off %d bytes of a broken line", self._path, lost_bytes)
            os.truncate(self._path, kept_bytes)


def cached_generate(
    engine: Engine,
    sampling: Sampling,
    requests: Sequence[GenerateRequest],
    request_log: RequestLog,
    model_digest: str = "",
) -> list[Generation]:
    """Answers requests, asking the engine only for what the log does not hold.

    Args:
        engine: who is asked.
        sampling: how the engine draws text; part of the key.
        requests: what is asked. Equal requests are asked once.
        request_log: read first, and appended to after every slice.
        model_digest: content hash of the model; part of the key.

    Returns:
        One answer per request, in order.
    """
    keys = [request_key(engine.label, sampling, r, model_digest) for r in requests]
    missing = {
        key: request
        for key, request in zip(keys, requests, strict=True)
        if request_log.get(key) is None
    }
    failed: dict[str, Generation] = {}
    waiting = list(missing.items())
    for start in range(0, len(waiting), SLICE_REQUESTS):
        part = waiting[start : start + SLICE_REQUESTS]
        answers = engine.generate([request for _, request in part])
        entries = [(key, a) for (key, _), a in zip(part, answers, strict=True)]
        request_log.append(entries)
        failed.update((key, a) for key, a in entries if a.error is not None)
    return [request_log.get(key) or failed[key] for key in keys]
