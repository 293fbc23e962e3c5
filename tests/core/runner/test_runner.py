"""The runner on real Ray: skip, redo, retry, quarantine, accounts, equal bytes."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from core.errors import AstromillError, StageError, UsageError
from core.graph import AnyStage, Pipeline
from core.log import run_log
from core.manifest import Manifest
from core.progress import Reporter
from core.runner import run_pipeline, shards
from core.stage import Resources, StageContext

# Ray's workers must be able to import the stages by name: a plain module on their path.
_SPEC = importlib.util.spec_from_file_location("runner_stages", Path(__file__).parent / "stages.py")
assert _SPEC
assert _SPEC.loader
stages = importlib.util.module_from_spec(_SPEC)
sys.modules["runner_stages"] = stages
_SPEC.loader.exec_module(stages)


@pytest.fixture(autouse=True, scope="module")
def _by_value(ray_session: None) -> None:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(stages)


class Run:
    """A run folder and the three stages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = io.StringIO()

    def pipeline(self, *made: AnyStage) -> Pipeline:
        ctx = StageContext(run_dir=self.folder, root=self.folder, seed=1)
        return Pipeline(made or (stages.Numbers(), stages.Halve(), stages.Total()), ctx)

    def go(self, *made: AnyStage, workers: int = 2) -> list[str]:
        pipeline = self.pipeline(*made)
        reporter = Reporter(Console(file=self.output, width=200))
        return run_pipeline(pipeline, pipeline.select(), reporter, workers=workers)

    def states(self, *made: AnyStage) -> dict[str, list[str]]:
        states = self.pipeline(*made).states()
        return {name: state.reasons for name, state in states.items() if not state.fresh}

    def diary(self) -> list[str]:
        path = self.folder / "diary.txt"
        lines = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(lines)

    def bytes(self) -> dict[str, bytes]:
        """Everything that must not differ between equal runs."""
        unhashed = ("timings.json", "when.txt", "diary.txt", ".lock", "sources.json")
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
            and path.name not in unhashed
            and not {"receipts", "logs"} & set(path.parts)
        }

    def order(self, shard: int, what: str) -> None:
        self.folder.mkdir(exist_ok=True, parents=True)
        (self.folder / f"order-{shard}").write_text(what)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def test_runs_all_and_accounts_for_every_row(run: Run) -> None:
    assert run.go() == ["corpus.numbers", "corpus.halve", "eval.total"]
    manifest = Manifest.require(run.folder / "corpus/numbers", "corpus.numbers")
    assert (manifest.rows_in, manifest.rows_out, manifest.rows_rejected) == (30, 15, 15)
    assert manifest.rejects == {"empty_text": 15}
    assert manifest.metrics == {"seen": 30}
    rejects = pq.read_table(run.folder / "corpus/numbers/rejects/part-00001.parquet").to_pylist()
    assert rejects[0] == {
        "doc_id": "11",
        "stage": "corpus.numbers",
        "reason": "empty_text",
        "detail": "odd",
        "text": None,
    }
    # 0/2 + 2/2 + ... + 28/2
    assert (run.folder / "eval/total/sum.txt").read_text() == str(sum(range(15)))
    card = (run.folder / "corpus/numbers/README.md").read_text()
    assert "| 30 | 15 | 15 | yes |" in card
    assert "| empty_text | 15 |" in card


def test_second_run_does_nothing(run: Run) -> None:
    run.go()
    run.diary()
    assert run.go() == []
    assert run.diary() == []


def test_changed_config_reruns_exactly_what_it_touches(run: Run) -> None:
    run.go()
    run.diary()
    changed = (stages.Numbers(), stages.Halve(divisor=3), stages.Total())
    assert run.states(*changed) == {
        "corpus.halve": ["divisor 2 -> 3"],
        "eval.total": ["input corpus.halve changed"],
    }
    assert run.go(*changed) == ["corpus.halve", "eval.total"]
    assert run.diary() == ["halve-0", "halve-1", "halve-2", "total"]


def test_one_more_shard_leaves_finished_ones_alone(run: Run) -> None:
    run.go()
    run.diary()
    (run.folder / "corpus/numbers/manifest.json").unlink()
    run.go(stages.Numbers(shards=4), stages.Halve(), stages.Total())
    assert "halve-3" in run.diary()
    assert len(run.bytes()) > 0


def test_surplus_shards_of_a_longer_run_go(run: Run) -> None:
    run.go()
    (run.folder / "corpus/numbers/manifest.json").unlink()
    run.go(stages.Numbers(shards=2), stages.Halve(), stages.Total())
    assert sorted(p.name for p in (run.folder / "corpus/halve").glob("part-*")) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]


def test_input_recomputed_to_the_same_bytes_costs_nothing_downstream(run: Run) -> None:
    run.go()
    before = run.bytes()
    run.diary()
    # An offset that is added and taken away again: new fingerprints, same content.
    (run.folder / "corpus/halve/manifest.json").unlink()
    run.go()
    assert run.diary() == []
    assert run.bytes() == before


@pytest.mark.parametrize("actors", [None, 1])
def test_worker_killed_once_is_tried_again(run: Run, tmp_path: Path, actors: int | None) -> None:
    run.order(1, "die once")
    made = (stages.Numbers(), stages.Halve(actors=actors), stages.Total())
    run.go(*made)
    undisturbed = Run(tmp_path / "undisturbed")
    undisturbed.go(*made)
    assert run.bytes() == undisturbed.bytes()


@pytest.mark.parametrize("actors", [None, 1])
@pytest.mark.parametrize(
    ("order", "says"),
    [("die", "the worker died"), ("raise", "ValueError: a bug"), ("refuse", "bad input")],
)
def test_shard_that_keeps_failing_is_quarantined(
    run: Run, order: str, says: str, actors: int | None
) -> None:
    run.order(1, order)
    made = (stages.Numbers(), stages.Halve(actors=actors), stages.Total())
    with pytest.raises(StageError, match="could not be done") as caught:
        run.go(*made)
    assert says in caught.value.what
    assert "corpus.halve, shard 1" in caught.value.where
    quarantine = json.loads((run.folder / "corpus/halve/quarantine.json").read_text())
    assert [q["unit"]["index"] for q in quarantine] == [1]
    # The others are done and kept; a rerun does only the one that was given up.
    assert not (run.folder / "corpus/halve/manifest.json").exists()
    run.diary()
    (run.folder / "order-1").unlink()
    run.go(*made)
    assert run.diary() == ["halve-1", "total"]
    assert not (run.folder / "corpus/halve/quarantine.json").exists()


def test_where_most_shards_fail_no_more_are_begun(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST_GIVEN_UP", 1)
    run.order(0, "refuse")
    with pytest.raises(StageError, match="bad input"):
        run.go(workers=1)
    assert run.diary() == ["halve-0"]


def test_job_whose_worker_is_killed_once_is_tried_again(run: Run) -> None:
    run.order(0, "die once")
    run.go(stages.Fragile())
    assert run.diary() == ["fragile", "fragile"]
    assert (run.folder / "eval/fragile/whole.txt").exists()


@pytest.mark.parametrize(
    ("order", "says", "tries"), [("raise", "a bug", 1), ("refuse", "bad input", 1), ("die", "", 3)]
)
def test_job_that_fails_leaves_nothing_that_looks_finished(
    run: Run, order: str, says: str, tries: int
) -> None:
    run.order(0, order)
    with pytest.raises(AstromillError) as caught:
        run.go(stages.Fragile())
    assert says in caught.value.what
    assert run.diary() == ["fragile"] * tries
    assert not (run.folder / "eval/fragile").exists()


def test_lost_row_fails_the_stage(run: Run) -> None:
    with pytest.raises(StageError, match="do not add up"):
        run.go(stages.Loser())


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        (Resources(cpus=1000), "1000 CPU"),
        (Resources(accelerator_type="AMD-Instinct-MI250X"), "1 accelerator_type:AMD-Instinct"),
    ],
)
def test_stage_too_large_for_the_cluster_fails_at_once(
    run: Run, needs: Resources, says: str
) -> None:
    with pytest.raises(StageError, match=says):
        run.go(stages.Greedy(needs))


@pytest.mark.parametrize("actors", [None, 1])
def test_without_its_model_a_stage_ends_at_once(run: Run, actors: int | None) -> None:
    run.order(0, "no model")
    made = (stages.Numbers(), stages.Halve(actors=actors), stages.Total())
    with pytest.raises(StageError, match="the server does not answer") as caught:
        run.go(*made, workers=1)
    assert "finished shards are kept" in caught.value.remedy
    assert run.diary() == ["halve-0"]
    (run.folder / "order-0").unlink()
    run.go(*made)
    assert run.diary() == ["halve-0", "halve-1", "halve-2", "total"]


@pytest.mark.parametrize("actors", [None, 1])
def test_what_workers_log_is_in_the_log_of_the_run(run: Run, actors: int | None) -> None:
    run.order(1, "log")
    terminal = Console(record=True, width=200, file=io.StringIO())
    with run_log("test", run.folder, terminal):
        run.go(stages.Numbers(), stages.Halve(actors=actors))
    lines = (run.folder / "logs" / "run.jsonl").read_text().splitlines()
    found = [e for e in map(json.loads, lines) if e.get("shard") == 1]
    assert [e["message"] for e in found[:2]] == ["line 0", "line 1"]
    assert found[-1]["message"] == "and 102 more records"
    assert len(found) == 200
    assert {(e["stage"], e["logger"]) for e in found[:-1]} == {("corpus.halve", "corpus.test")}
    assert "more records" in terminal.export_text()


def test_truncated_shard_is_made_again(run: Run) -> None:
    run.go()
    before = run.bytes()
    shard = run.folder / "corpus/numbers/part-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    assert run.states() == {
        "corpus.numbers": ["output files are missing or damaged"],
    }
    assert run.go() == ["corpus.numbers"]
    assert run.bytes() == before


def test_damaged_shard_of_full_size_is_a_clear_error(run: Run) -> None:
    run.go(stages.Numbers())
    shard = run.folder / "corpus/numbers/part-00001.parquet"
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(StageError, match=r"is not what corpus\.numbers wrote") as caught:
        run.go()
    assert "part-00001.parquet" in caught.value.where
    # What the error says to do is all there is to do.
    shard.unlink()
    assert run.go()[0] == "corpus.numbers"


def test_missing_volatile_file_makes_the_stage_stale(run: Run) -> None:
    run.go()
    (run.folder / "eval/total/when.txt").unlink()
    assert run.go() == ["eval.total"]
    assert (run.folder / "eval/total/when.txt").exists()


def test_orphan_temporaries_are_swept(run: Run) -> None:
    run.go()
    orphan = run.folder / "corpus/halve/part-00000.parquet.tmp-1-dead"
    orphan.write_bytes(b"half")
    (run.folder / "corpus/halve/manifest.json").unlink()
    run.go()
    assert not orphan.exists()


def test_workers_do_not_change_bytes(run: Run, tmp_path: Path) -> None:
    run.go(workers=1)
    other = Run(tmp_path / "other")
    other.go(workers=2)
    assert run.bytes() == other.bytes()


def test_stale_input_is_refused_with_only(run: Run) -> None:
    run.go()
    pipeline = run.pipeline(stages.Numbers(offset=1), stages.Halve(), stages.Total())
    with pytest.raises(StageError, match="not up to date"):
        run_pipeline(
            pipeline, pipeline.select(only="corpus.halve"), Reporter(Console(file=run.output))
        )


def test_second_driver_is_refused(run: Run) -> None:
    from core.runner.run import _lock

    with _lock(run.folder), pytest.raises(StageError, match="another astromill run"):
        run.go()


def test_unknown_stage_names_the_known_ones(run: Run) -> None:
    with pytest.raises(UsageError) as caught:
        run.pipeline().select(until="corpus.nothing")
    assert "corpus.halve" in caught.value.remedy
