"""Refuses to go on with another run's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import StageError


def require_same(saved: dict[str, Any], now: dict[str, Any], stage: str, folder: Path) -> None:
    """Checks that a checkpoint is of the run that wants to go on from it.

    Args:
        saved: identity in the checkpoint; see :class:`train.spec.LoopSpec`.
        now: of this run.
        stage: name of the stage, for the error.
        folder: of the run's checkpoints.

    Raises:
        StageError: data, starting weights, seed or settings differ; it names both.
    """
    if saved == now:
        return
    raise StageError(
        f"the checkpoints there are of another run: {_difference(saved, now)}",
        where=f"{stage}, {folder}",
        remedy="put that back to go on, or delete the folder to train from the beginning",
    )


def _difference(saved: dict[str, Any], now: dict[str, Any]) -> str:
    before, after = saved.get("data", {}), now.get("data", {})
    for kind in sorted({*before, *after}):
        if before.get(kind) != after.get(kind):
            return (
                f"the dataset '{kind}' had the fingerprint {_short(before.get(kind))}, now it has "
                f"{_short(after.get(kind))}"
            )
    if saved.get("init") != now.get("init"):
        return (
            f"the starting weights had the fingerprint {_short(saved.get('init'))}, now they have "
            f"{_short(now.get('init'))}"
        )
    if saved.get("seed") != now.get("seed"):
        return f"the seed was {saved.get('seed')}, now it is {now.get('seed')}"
    before, after = saved.get("section", {}), now.get("section", {})
    changes = [
        f"{key} was {before.get(key)!r}, now it is {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    return "; ".join(changes) or "its settings cannot be compared"


def _short(digest: Any) -> str:
    return str(digest)[:16] if digest else "(none)"
