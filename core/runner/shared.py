"""A job that starts workers on other nodes: they must see the driver's copies."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from core.errors import StageError
from core.stage import JobStage, StageContext
from core.storage.cache import CACHE_VARIABLE, cache_folder
from core.storage.inputs import any_copied

_ANSWER_SECONDS = 120.0


@ray.remote(num_cpus=0, max_retries=0)
def _sees(path: str) -> bool:
    return Path(path).exists()


def require_shared_copies(stage: JobStage, ctx: StageContext) -> None:
    """Checks that every node sees the cache, where a job in the driver works on copies.

    Raises:
        StageError: a node does not.
    """
    if ctx.remote is None and not any_copied():
        return
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node for node in listed if node["Alive"]]
    if len(nodes) < 2:
        return
    names = [node["NodeName"] for node in nodes]
    probe = cache_folder() / f"probe-{uuid.uuid4().hex}"
    probe.parent.mkdir(parents=True, exist_ok=True)
    probe.touch()
    try:
        asked = [
            _sees.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(probe))
            for node in nodes
        ]
        answered, _ = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_SECONDS)
        silent = [name for name, ref in zip(names, asked, strict=True) if ref not in answered]
        if silent:
            raise StageError(
                f"{silent[0]} did not say within {_ANSWER_SECONDS:.0f} s whether it sees the "
                "copies of what is at URLs",
                where=f"{stage.name}, cache {cache_folder()}",
                remedy="look at that node (`ray status`), or leave it out; then run again",
            )
        seen = ray.get(asked)
    finally:
        probe.unlink(missing_ok=True)
    blind = [name for name, sees in zip(names, seen, strict=True) if not sees]
    if blind:
        raise StageError(
            f"its workers may run on {blind[0]}, which does not see the copies of what is at URLs",
            where=f"{stage.name}, cache {cache_folder()}",
            remedy=f"set {CACHE_VARIABLE} to a folder on a file system that all nodes share, or "
            "train on one node",
        )
