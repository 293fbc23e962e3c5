"""Staleness: exactly the stages that a change touches, and a sentence that says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from core.graph import Pipeline
from core.hashing import sha256_file
from core.manifest import FileEntry, Manifest
from core.stage import JobResult, JobStage, StageContext


class _Stage(JobStage):
    description = "A stage for tests."

    def __init__(
        self, name: str, *inputs: str, config: dict[str, Any] | None = None, sources: str = ""
    ) -> None:
        self.name = name
        self.inputs = inputs
        self._config = config or {}
        self._sources = sources

    def config(self) -> dict[str, Any]:
        return self._config

    def source_files(self, ctx: StageContext) -> list[Path]:
        return [ctx.path(self._sources)] if self._sources else []

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        raise NotImplementedError


class _NewerStage(_Stage):
    code_version = 2


def _pipeline(root: Path, *stages: JobStage, seed: int = 1) -> Pipeline:
    return Pipeline(stages, StageContext(root / "run", root, seed))


def _finish(pipeline: Pipeline, content: str = "") -> None:
    """Makes every stage look finished, as the runner would."""
    for name, stage in pipeline.stages.items():
        state = pipeline.states([name])[name]
        folder = pipeline.ctx.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "out.txt").write_text(name + content)
        size, sha256 = (folder / "out.txt").stat().st_size, sha256_file(folder / "out.txt")
        read = {i: Manifest.require(pipeline.ctx.folder(i), i) for i in stage.inputs}
        Manifest(
            stage=name,
            code_version=stage.code_version,
            config=stage.config(),
            seed=pipeline.ctx.seed,
            inputs={i: m.fingerprint for i, m in read.items()},
            input_digests={i: m.digest for i, m in read.items()},
            sources_digest=pipeline.sources_digest(stage),
            fingerprint=state.fingerprint,
            key="",
            files=[FileEntry("out.txt", size, sha256)],
            row_unit="document",
            rows_in=0,
            rows_out=0,
            rows_rejected=0,
        ).save(folder)


def _chain(**config: Any) -> list[_Stage]:
    """``a -> b -> c`` and ``a -> d``; the configuration is b's."""
    return [
        _Stage("corpus.a", sources="source.txt"),
        _Stage("corpus.b", "corpus.a", config=config or {"limit": 1}),
        _Stage("corpus.c", "corpus.b"),
        _Stage("corpus.d", "corpus.a"),
    ]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (tmp_path / "source.txt").write_text("source")
    _finish(_pipeline(tmp_path, *_chain()))
    return tmp_path


def _reasons(pipeline: Pipeline) -> dict[str, list[str]]:
    return {n: s.reasons for n, s in pipeline.states().items() if not s.fresh}


def test_nothing_has_run_yet(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("source")
    states = _pipeline(tmp_path, *_chain()).states()
    assert [s.reasons for s in states.values()] == [["not run yet"]] * 4
    assert states["corpus.a"].manifest is None


def test_a_finished_run_is_fresh(finished: Path) -> None:
    assert _reasons(_pipeline(finished, *_chain())) == {}


def test_a_changed_value_touches_its_stage_and_what_follows(finished: Path) -> None:
    assert _reasons(_pipeline(finished, *_chain(limit=2))) == {
        "corpus.b": ["limit 1 -> 2"],
        "corpus.c": ["input corpus.b changed"],
    }


def test_nested_added_and_removed_values_are_named(finished: Path) -> None:
    pipeline = _pipeline(finished, *_chain(limit={"deep": [1, "x" * 90]}, extra=True))
    (limit, extra) = sorted(_reasons(pipeline)["corpus.b"], reverse=True)
    assert extra == "extra None -> True"
    assert limit.startswith("limit 1 -> {'deep': [1, 'xxx")
    assert len(limit) < 80


@pytest.mark.parametrize("config", [{"limit": 1, "extra": None}, {"limit": 1.0}, {"limit": True}])
def test_a_change_that_python_calls_equal_is_still_a_change(
    finished: Path, config: dict[str, Any]
) -> None:
    assert _reasons(_pipeline(finished, *_chain(**config)))["corpus.b"] == ["recipe changed"]


def test_a_changed_source_touches_all_that_follows(finished: Path) -> None:
    (finished / "source.txt").write_text("another source")
    assert _reasons(_pipeline(finished, *_chain())) == {
        "corpus.a": ["source files changed"],
        "corpus.b": ["input corpus.a changed"],
        "corpus.c": ["input corpus.b changed"],
        "corpus.d": ["input corpus.a changed"],
    }


def test_a_changed_seed_touches_every_stage(finished: Path) -> None:
    reasons = _reasons(_pipeline(finished, *_chain(), seed=2))
    assert len(reasons) == 4
    assert reasons["corpus.a"] == ["seed 1 -> 2"]
    assert reasons["corpus.c"] == ["seed 1 -> 2", "input corpus.b changed"]


def test_a_changed_code_version_is_named(finished: Path) -> None:
    stages = _chain()
    stages[3] = _NewerStage("corpus.d", "corpus.a")
    assert _reasons(_pipeline(finished, *stages)) == {"corpus.d": ["code version 1 -> 2"]}


def test_an_input_added_or_taken_away_is_seen(finished: Path) -> None:
    stages = _chain()
    stages[2] = _Stage("corpus.c", "corpus.b", "corpus.a")
    assert _reasons(_pipeline(finished, *stages)) == {"corpus.c": ["input corpus.a changed"]}
    stages[2] = _Stage("corpus.c")
    assert _reasons(_pipeline(finished, *stages)) == {"corpus.c": ["recipe changed"]}


def test_lost_output_touches_only_its_stage(finished: Path) -> None:
    (finished / "run" / "corpus" / "b" / "out.txt").unlink()
    assert _reasons(_pipeline(finished, *_chain())) == {
        "corpus.b": ["output files are missing or damaged"]
    }


def test_a_stage_made_again_with_other_bytes_makes_its_readers_stale(finished: Path) -> None:
    _finish(_pipeline(finished, _chain()[0]), content=" otherwise")
    assert _reasons(_pipeline(finished, *_chain())) == {
        "corpus.b": ["input corpus.a has new content"],
        "corpus.d": ["input corpus.a has new content"],
    }


def test_states_of_some_stages_need_only_their_ancestors(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("source")
    pipeline = _pipeline(tmp_path, *_chain())
    assert list(pipeline.states(["corpus.c"])) == ["corpus.a", "corpus.b", "corpus.c"]


def test_select(tmp_path: Path) -> None:
    pipeline = _pipeline(tmp_path, *_chain())

    def names(**choice: str) -> list[str]:
        return [s.name for s in pipeline.select(**choice)]

    assert names() == ["corpus.a", "corpus.b", "corpus.c", "corpus.d"]
    assert names(until="corpus.c") == ["corpus.a", "corpus.b", "corpus.c"]
    assert names(until="corpus.d") == ["corpus.a", "corpus.d"]
    assert names(only="corpus.c") == ["corpus.c"]
    for choice in ({"until": "corpus.x"}, {"only": "corpus.x"}):
        with pytest.raises(UsageError, match=r"no stage 'corpus\.x'") as error:
            pipeline.select(**choice)
        assert error.value.remedy == "one of: corpus.a, corpus.b, corpus.c, corpus.d"


def test_a_stage_that_reads_one_that_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'corpus\.b' reads 'corpus\.a'"):
        _pipeline(tmp_path, _Stage("corpus.b", "corpus.a"), _Stage("corpus.a"))
