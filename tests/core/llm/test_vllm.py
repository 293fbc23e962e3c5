"""vLLM offline, for real: one start on the CPU, a tiny random Llama; alone, and in a stage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest

from core.errors import EngineError
from core.llm import Engine, GenerateRequest, Generation, ScoreRequest, open_engine
from core.llm.rules import RulesEngine
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling
from core.recipe.qa import Qa
from core.rejects import Reason
from core.schema import DOCUMENT
from core.stage import StageContext, Unit
from synth.qa import QaStage
from tests.conftest import PutShard
from tests.core.llm.engine_checks import check_begun_answers, check_choices, check_plain_prompts

LABEL = "models/tiny"
WINDOW = 4096
TOO_LONG = "planet " * WINDOW
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
            "model": LABEL,
            "dtype": "float32",
            "sampling": Sampling(**({"max_tokens": 900} | sampling)),
        }
    )


@pytest.fixture(scope="module")
def model(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared model with room for the prompts of a stage; random weights do not mind."""
    folder = tmp_path_factory.mktemp("vllm") / "tiny"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": WINDOW}))
    return folder


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        # More threads only wait for each other on so small a model.
        patch.setenv("OMP_NUM_THREADS", "1")
        engine = open_engine(config("vllm", temperature=1.0), str(model))
    yield engine
    engine.close()


def test_answers_fit_the_schema_and_a_bad_request_stands_alone(engine: Engine) -> None:
    bad = ({"role": "user", "content": "<|eot_id|>"},)
    long = ({"role": "user", "content": TOO_LONG},)
    requests = [GenerateRequest(USER, schema=SCHEMA, seed=n) for n in (1, 2, 1)]
    requests += [GenerateRequest(bad), GenerateRequest(long), GenerateRequest(USER, max_tokens=80)]
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
    assert f"the context holds {WINDOW}" in str(answers[4].error)
    assert answers[5].error is None
    assert answers[6].error


def test_scores_equal_the_transformers_engine(engine: Engine, model: Path) -> None:
    other = open_engine(config("transformers"), str(model))
    requests = [
        ScoreRequest("Jupiter is the largest planet"),
        ScoreRequest(" has rings", prefix="Saturn"),
        ScoreRequest("Titan", messages=USER),
        ScoreRequest(""),
    ]
    for ours, theirs in zip(engine.score(requests), other.score(requests), strict=True):
        assert ours.error is None
        assert ours.logprobs == pytest.approx(theirs.logprobs, rel=1e-3)
    (long,) = engine.score([ScoreRequest(TOO_LONG)])
    assert f"the context holds {WINDOW}" in str(long.error)


def test_plain_prompts(engine: Engine, model: Path) -> None:
    check_plain_prompts(engine, model)


def test_begun_answers(engine: Engine, model: Path) -> None:
    check_begun_answers(engine, model)


def test_choices(engine: Engine, model: Path) -> None:
    check_choices(engine, model, TOO_LONG)


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


class Unasked(RulesEngine):
    """Goes by the model's name, and must not be asked."""

    label = LABEL

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        assert not requests
        return []


def test_the_qa_stage_gets_pairs_and_asks_once(
    engine: Engine, model: Path, context: StageContext, put_shard: PutShard
) -> None:
    """Every constrained answer parses; a rerun asks nothing."""
    shutil.copytree(model, context.root / LABEL)
    qa = Qa(
        engine=config("vllm", temperature=1.0),
        chunk_tokens=60,
        overlap_tokens=0,
        min_passage_tokens=1,
        pairs_per_chunk=2,
        min_question_chars=1,
        max_question_chars=20,
        max_answer_chars=8,
    )
    stage = QaStage(qa, "corpus.filter", LABEL, None)
    text = "Jupiter is the largest planet.\n\n" + "Saturn has rings of water ice. " * 6
    rows = [{"doc_id": f"a:{n}", "source": "a", "title": "Planets", "text": text} for n in range(3)]
    unit: Unit = put_shard("corpus.filter", pa.Table.from_pylist(rows, schema=DOCUMENT))
    # The engine that it would open itself, and a second start of vLLM with it.
    stage._opened = engine
    result = stage.process(unit, context)
    assert result.metrics["passages"] == 6
    assert result.rows_in == result.kept.num_rows + len(result.rejected) >= 6
    # A random model writes noise, but noise that fits the schema: nothing is malformed.
    reasons = {reject.reason for reject in result.rejected}
    assert Reason.MALFORMED_OUTPUT not in reasons
    for pair in result.kept.to_pylist():
        assert pair["model"] == LABEL
        assert 0 < len(pair["answer"]) <= 8

    # What was answered is in the request log: the second time no engine is needed.
    stage._opened = Unasked()
    again = stage.process(unit, context)
    assert again.kept.equals(result.kept)
