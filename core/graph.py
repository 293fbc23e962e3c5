"""The stages of a run in order, their fingerprints, and which of them are stale and why.

A stage's fingerprint hashes its part of the recipe, its code version, the content of the source
files it reads and the fingerprints of its inputs. So it is known before anything runs, and a
change shows in exactly the stages it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from core.errors import UsageError
from core.hashing import sha256_value
from core.manifest import Manifest
from core.sources import SourceIndex
from core.stage import JobStage, ShardStage, Stage, StageContext

AnyStage = ShardStage | JobStage


@dataclass(frozen=True)
class StageState:
    """Whether a stage's output can be used as it is.

    ``reasons`` is empty when it can; otherwise it says why not, one short sentence each.
    """

    stage: str
    fingerprint: str
    manifest: Manifest | None
    reasons: list[str] = field(default_factory=list)

    @property
    def fresh(self) -> bool:
        """True when nothing needs to run."""
        return not self.reasons


class Pipeline:
    """Stages in running order; every stage comes after its inputs."""

    def __init__(self, stages: Iterable[AnyStage], ctx: StageContext) -> None:
        """Checks that inputs come first.

        Raises:
            UsageError: a stage reads one that is not in the pipeline.
        """
        self.ctx = ctx
        self.stages: dict[str, AnyStage] = {}
        self._sources_digests: dict[str, str] = {}
        for stage in stages:
            for name in stage.inputs:
                if name not in self.stages:
                    raise UsageError(
                        f"stage '{stage.name}' reads '{name}', which the recipe does not make",
                        where="recipe",
                        remedy="add the section that makes it, or name another stage or a folder",
                    )
            self.stages[stage.name] = stage

    @cached_property
    def sources(self) -> SourceIndex:
        """Content hashes of the files outside the run."""
        return SourceIndex(self.ctx.root, self.ctx.run_dir / "cache" / "sources.json")

    def select(self, until: str | None = None, only: str | None = None) -> list[AnyStage]:
        """Returns the stages to run.

        Args:
            until: run this stage and all it depends on, directly or not.
            only: run this stage alone.

        Raises:
            UsageError: there is no such stage.
        """
        if only:
            return [self.get(only)]
        if until:
            wanted = self._ancestors(self.get(until))
            return [s for s in self.stages.values() if s.name in wanted]
        return list(self.stages.values())

    def get(self, name: str) -> AnyStage:
        """Returns a stage by name.

        Raises:
            UsageError: there is none.
        """
        if name not in self.stages:
            raise UsageError(
                f"there is no stage '{name}' in this recipe",
                where="command line",
                remedy=f"one of: {', '.join(self.stages)}",
            )
        return self.stages[name]

    def _ancestors(self, stage: Stage) -> set[str]:
        found = {stage.name}
        for name in stage.inputs:
            found |= self._ancestors(self.stages[name])
        return found

    def states(self, names: Sequence[str] | None = None) -> dict[str, StageState]:
        """Returns the state of each stage (of the named ones and what they depend on)."""
        wanted = set(self.stages)
        if names is not None:
            wanted = set().union(*(self._ancestors(self.get(n)) for n in names))
        states: dict[str, StageState] = {}
        for name, stage in self.stages.items():
            if name in wanted:
                states[name] = self._state(stage, states)
        return states

    def _state(self, stage: Stage, known: dict[str, StageState]) -> StageState:
        ctx = self.ctx
        sources_digest = self.sources_digest(stage)
        inputs = {name: known[name].fingerprint for name in stage.inputs}
        fingerprint = sha256_value([stage.config_digest(ctx), sources_digest, inputs])
        manifest = ctx.manifest(stage.name)
        if manifest is None:
            return StageState(stage.name, fingerprint, None, ["not run yet"])
        reasons = []
        if manifest.fingerprint != fingerprint:
            if manifest.code_version != stage.code_version:
                reasons.append(f"code version {manifest.code_version} -> {stage.code_version}")
            if manifest.seed != ctx.seed:
                reasons.append(f"seed {manifest.seed} -> {ctx.seed}")
            reasons += _config_changes(manifest.config, stage.config())
            if manifest.sources_digest != sources_digest:
                reasons.append("source files changed")
            reasons += [
                f"input {name} changed"
                for name in inputs
                if manifest.inputs.get(name) != inputs[name]
            ]
            # A difference too small for the sentences above, such as an input no longer read.
            reasons = reasons or ["recipe changed"]
        elif not intact(manifest, ctx):
            reasons.append("output files are missing or damaged")
        else:
            # A model trained again need not be the same bytes: what was made from it is stale.
            reasons += [
                f"input {name} has new content"
                for name in inputs
                if (read := known[name].manifest) and read.digest != manifest.input_digests[name]
            ]
        return StageState(stage.name, fingerprint, manifest, reasons)

    def forget_sources(self) -> None:
        """Looks at source files anew: which ones a stage reads may depend on a stage before it."""
        self._sources_digests.clear()

    def sources_digest(self, stage: Stage) -> str:
        """Returns the hash over the files outside the run that a stage reads; looked at once."""
        if stage.name not in self._sources_digests:
            digest = self.sources.digest(stage.source_files(self.ctx))
            names = stage.source_names(self.ctx)
            self._sources_digests[stage.name] = sha256_value([digest, names]) if names else digest
        return self._sources_digests[stage.name]


def intact(manifest: Manifest, ctx: StageContext) -> bool:
    """Returns whether every output file of a stage is there, at the URL of a run that has one."""
    found = ctx.mirror
    return found.intact(manifest.stage) if found else manifest.intact(ctx.place(manifest.stage))


def _config_changes(old: Any, new: Any, key: str = "") -> list[str]:
    """Returns ``key old -> new`` for every value that differs between two JSON values."""
    if isinstance(old, dict) and isinstance(new, dict):
        changes: list[str] = []
        for name in sorted(old.keys() | new.keys()):
            below = f"{key}.{name}" if key else name
            changes += _config_changes(old.get(name), new.get(name), below)
        return changes
    return [] if old == new else [f"{key} {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
