from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError, UsageError
from core.plan import Interval, Machine, StageEstimate, load_machine
from core.plan.machine import MACHINES
from core.plan.project import project
from core.stage import Resources, ShardResult, ShardStage, StageContext, Unit


class Reading(ShardStage):
    name = "corpus.ocr"
    description = "a stage"

    def config(self) -> dict[str, object]:
        return {}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        raise NotImplementedError


def estimate(seconds: float, **metrics: float) -> StageEstimate:
    rows = Interval(1000, 900, 1100)
    return StageEstimate(
        "corpus.ocr",
        "sample",
        "document",
        rows,
        rows,
        Interval.exact(0),
        Interval(seconds, seconds / 2, seconds * 2),
        Interval.exact(1e6),
        {name: Interval.exact(value) for name, value in metrics.items()},
        10,
    )


NODE = Machine(
    name="node",
    cpus_per_node=16,
    memory_gib_per_node=64,
    accelerators_per_node=4,
    price_per_node_hour=8.0,
)


def test_hours_and_money_by_hand() -> None:
    """36,000 s in 100 shards on 2 nodes of 16 cores: 32 workers, 4 rounds: 1,440 s."""
    plan = project(estimate(36_000), Reading(), NODE, 2, 100, 8.0)
    assert plan.workers == 32
    assert plan.cpu_hours.value == pytest.approx(10)
    assert plan.wall_hours.value == pytest.approx(1440 / 3600)
    assert plan.wall_hours.high == pytest.approx(2880 / 3600)
    assert plan.money is not None
    assert plan.money.value == pytest.approx(0.4 * 2 * 8)
    assert plan.gpu_hours.value == 0


def test_more_workers_than_shards_do_not_help() -> None:
    plan = project(estimate(3600), Reading(), NODE, 2, 3, None)
    assert plan.workers == 3
    assert plan.wall_hours.value == pytest.approx(1 / 3)
    assert plan.money is None


def test_workers_by_gpus_memory_and_what_the_recipe_says() -> None:
    stage = Reading()
    stage.resources = Resources(cpus=1, gpus_if_any=0.5)
    plan = project(estimate(3600), stage, NODE, 1, 100, None)
    assert plan.workers == 8
    assert plan.gpu_hours.value == pytest.approx(0.5)
    stage.resources = Resources(cpus=1, memory_bytes=32 * 2**30)
    assert project(estimate(3600), stage, NODE, 1, 100, None).workers == 2
    stage.actors = 1
    assert project(estimate(3600), stage, NODE, 1, 100, None).workers == 1


def test_a_worker_that_fits_nowhere_is_said() -> None:
    stage = Reading()
    stage.resources = Resources(gpus=8)
    assert project(estimate(3600), stage, NODE, 1, 100, None).workers == 0


def test_a_faster_core_takes_less() -> None:
    fast = NODE.model_copy(update={"cpu_speed": 2.0})
    assert project(estimate(7200), Reading(), fast, 1, 1, None).wall_hours.value == 1.0


def test_what_a_language_model_costs() -> None:
    plan = project(estimate(1, cost_usd=12.5, prompt_tokens=10), Reading(), NODE, 1, 1, None)
    assert plan.model_cost == {"USD": Interval.exact(12.5)}


@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_machine_that_comes_with_us_says_where_its_numbers_are_from(path: Path) -> None:
    machine = load_machine(path.stem)
    assert machine.name == path.stem
    assert machine.sources


def test_a_wrong_machine_is_an_error_with_the_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no machine 'summit'"):
        load_machine("summit")
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ncpus_per_node: none\nmemory_gib_per_node: 4\n")
    with pytest.raises(InputError, match="cpus_per_node"):
        load_machine(str(path))
    path.write_text("name: [")
    with pytest.raises(InputError, match="not a machine"):
        load_machine(str(path))
