"""vLLM offline, for real: one start on the CPU, a tiny random Llama."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core.errors import EngineError
from core.llm import Engine, GenerateRequest, ScoreRequest, open_engine
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling
from tests.core.llm.engine_checks import check_begun_answers, check_choices, check_plain_prompts

USER = ({"role": "user", "content": "Which planet is the largest?"},)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "maxLength": 8},
        "answer": {"type": "string", "maxLength": 4},
    },
    "required": ["question", "answer"],
    "additionalProperties": False,
}


def config(kind: str, **sampling: Any) -> EngineConfig:
    return EngineConfig.model_validate(
        {
            "kind": kind,
            "model": "train.tiny",
            "dtype": "float32",
            "sampling": Sampling(**({"max_tokens": 80} | sampling)),
        }
    )


@pytest.fixture(scope="module")
def engine(tiny_folder: Path) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        # More threads only wait for each other on so small a model.
        patch.setenv("OMP_NUM_THREADS", "1")
        engine = open_engine(config("vllm", temperature=1.0), str(tiny_folder))
    yield engine
    engine.close()


def test_answers_fit_the_schema_and_a_bad_request_stands_alone(engine: Engine) -> None:
    bad = ({"role": "user", "content": "<|eot_id|>"},)
    long = ({"role": "user", "content": "planet " * 500},)
    requests = [GenerateRequest(USER, schema=SCHEMA, seed=n) for n in (1, 2, 1)]
    requests += [GenerateRequest(bad), GenerateRequest(long), GenerateRequest(USER)]
    requests += [GenerateRequest(USER, schema={"type": "no such type"})]
    answers = engine.generate(requests)
    for answer in answers[:3]:
        assert (answer.finish_reason, answer.error) == ("stop", None)
        # Under maxLength, xgrammar lets control characters into strings unescaped.
        jsonschema.validate(json.loads(answer.text, strict=False), SCHEMA)
        assert answer.prompt_tokens > 0
        assert answer.completion_tokens > 0
    assert answers[0].text == answers[2].text != answers[1].text
    assert "control token" in str(answers[3].error)
    assert "the context holds 256" in str(answers[4].error)
    assert answers[5].error is None
    assert answers[6].error


def test_scores_equal_the_transformers_engine(engine: Engine, tiny_folder: Path) -> None:
    other = open_engine(config("transformers"), str(tiny_folder))
    requests = [
        ScoreRequest("Jupiter is the largest planet"),
        ScoreRequest(" has rings", prefix="Saturn"),
        ScoreRequest("Titan", messages=USER),
        ScoreRequest(""),
    ]
    for ours, theirs in zip(engine.score(requests), other.score(requests), strict=True):
        assert ours.error is None
        assert ours.logprobs == pytest.approx(theirs.logprobs, rel=1e-3)
    (long,) = engine.score([ScoreRequest("planet " * 500)])
    assert "the context holds 256" in str(long.error)


def test_plain_prompts(engine: Engine, tiny_folder: Path) -> None:
    check_plain_prompts(engine, tiny_folder)


def test_begun_answers(engine: Engine, tiny_folder: Path) -> None:
    check_begun_answers(engine, tiny_folder)


def test_choices(engine: Engine, tiny_folder: Path) -> None:
    check_choices(engine, tiny_folder)


def test_answers_come_as_they_are_ready(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_most_waiting", 4)
    requests = [GenerateRequest(USER, max_tokens=1 if n else 100, seed=n) for n in range(12)]
    order = [number for number, _ in engine.stream(requests)]
    assert sorted(order) == list(range(12))
    assert order[-1] == 0  # the long one holds up nobody


def test_a_stream_given_up_leaves_nothing_behind(engine: Engine) -> None:
    stream = engine.stream([GenerateRequest(USER, seed=n) for n in range(8)])
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    (answer,) = engine.generate([GenerateRequest(USER, max_tokens=2)])
    assert answer.completion_tokens == 2


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="vLLM cannot load the model") as caught:
        open_engine(config("vllm"), str(tmp_path))
    assert caught.value.where == str(tmp_path)
