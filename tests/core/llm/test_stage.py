"""The base of all stages that ask a model: log, usage, resources."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from core.llm import GenerateRequest
from core.llm.cache import prompt_digest
from core.llm.prompt_log import find_request
from core.llm.stage import LlmStage, engine_resources, log_folder
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling
from core.stage import Resources, ShardResult, StageContext, Unit

MODEL = "models/tiny"


class Asking(LlmStage):
    """A stage as small as can be."""

    name = "synth.qa"
    description = "Asks."

    def config(self) -> dict[str, Any]:
        return {}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        raise NotImplementedError


def engine(**values: Any) -> EngineConfig:
    setting = {"kind": "transformers", "model": MODEL, "sampling": Sampling(max_tokens=4)}
    return EngineConfig.model_validate(setting | values)


@pytest.fixture
def stage(tiny_folder: Path, context: StageContext) -> Asking:
    shutil.copytree(tiny_folder, context.root / MODEL)
    prices = {"prompt_per_million": 1.0, "completion_per_million": 10.0}
    asking = Asking(engine(prices=prices), 1, ())
    asking.setup(context)
    return asking


def ask(*texts: str) -> list[GenerateRequest]:
    return [GenerateRequest(({"role": "user", "content": text},)) for text in texts]


def test_usage_counts_a_unit_once_and_starts_anew(stage: Asking, context: StageContext) -> None:
    first, second = Unit(0, {}, "digest"), Unit(1, {}, "digest")
    answers = stage.ask(ask("a", "b"), first, context)
    answers += stage.ask(ask("c", "a"), first, context)[:1]
    used = stage.usage()
    assert used["requests"] == 3
    assert used["prompt_tokens"] == sum(a.prompt_tokens for a in answers)
    assert used["completion_tokens"] == sum(a.completion_tokens for a in answers)
    cost = (used["prompt_tokens"] + 10 * used["completion_tokens"]) / 1e6
    assert used["cost_usd"] == pytest.approx(cost)
    assert stage.usage()["requests"] == 0
    # An attempt that failed halfway leaves no trace in the next one's counts, log or not.
    stage.ask(ask("a"), first, context)
    stage.ask(ask("a"), first, context)
    stage.ask(ask("c", "b"), first, context)
    assert stage.usage() == used
    stage.ask(ask("d"), first, context)
    stage.ask(ask("a"), second, context)
    assert stage.usage()["requests"] == 1


def test_the_prompt_of_a_row_is_found_again(stage: Asking, context: StageContext) -> None:
    (request,) = ask("Where is Titan?")
    stage.ask([request], Unit(7, {}, "digest"), context)
    folder = log_folder(context, stage.name)
    assert [path.name for path in folder.iterdir()] == ["00007.jsonl"]
    assert find_request(folder, prompt_digest(request)) == request


def test_rules_use_nothing(context: StageContext) -> None:
    asking = Asking(EngineConfig(kind="rules"), 1, ())
    asking.setup(context)
    assert asking.usage() == {}


def test_vllm_takes_a_gpu_group_where_there_is_one() -> None:
    assert engine_resources(engine()) == Resources()
    assert engine_resources(engine(gpus=0.5)) == Resources(gpus=0.5)
    four = engine(kind="vllm", tensor_parallel_size=4)
    assert engine_resources(four) == Resources(gpus_if_any=4)
    assert engine_resources(engine(kind="vllm", gpus=2)) == Resources(gpus=2)
    with pytest.raises(ValueError, match="below 'tensor_parallel_size'"):
        engine(kind="vllm", tensor_parallel_size=4, gpus=2)


def test_what_changes_no_answer_is_not_in_the_identity() -> None:
    prices = {"prompt_per_million": 1.0}
    other = engine(max_error_share=0.5, server_wait_seconds=1.0, prices=prices, gpus=1)
    assert other.identity() == engine().identity()
    assert engine(tensor_parallel_size=2).identity() != engine().identity()
    with pytest.raises(ValueError, match="currency"):
        engine(prices={"currency": "dollars"})
