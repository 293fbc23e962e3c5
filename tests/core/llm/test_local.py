"""The transformers engine against plain forward passes, one text at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.chat import render_text
from core.errors import EngineError
from core.llm import Engine, GenerateRequest, ScoreRequest, open_engine
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling

USER = ({"role": "user", "content": "Which planet is the largest?"},)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "pairs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {
                    "question": {"type": "string", "maxLength": 8},
                    "answer": {"type": "string", "maxLength": 4},
                },
                "required": ["question", "answer"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["pairs"],
    "additionalProperties": False,
}


def config(batch_tokens: int = 512, **sampling: Any) -> EngineConfig:
    return EngineConfig(
        kind="transformers",
        model="train.tiny",
        batch_tokens=batch_tokens,
        sampling=Sampling(**({"max_tokens": 24} | sampling)),
    )


@pytest.fixture(scope="module")
def engine(tiny_folder: Path) -> Engine:
    return open_engine(config(), str(tiny_folder))


class Reference:
    """One text, one forward pass, log-softmax."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder)

    def of_ids(self, ids: list[int], first: int) -> list[float]:
        with torch.no_grad():
            logprobs = self.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        return [float(logprobs[n - 1, ids[n]]) for n in range(first, len(ids))]

    def of_text(self, text: str, prefix: str = "") -> list[float]:
        first = len(self.tokenizer(prefix)["input_ids"])
        return self.of_ids(self.tokenizer(prefix + text)["input_ids"], first)


@pytest.fixture(scope="module")
def reference(tiny_folder: Path) -> Reference:
    return Reference(tiny_folder)


TEXTS = ["Jupiter", "Saturn has rings of water ice, and Titan.", "α 🎉 x", "69,911", "is " * 60]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 2, 0, 3, 1)])
@pytest.mark.parametrize("batch_tokens", [64, 4096])
def test_scores_equal_single_forward_passes_in_any_order(
    order: tuple[int, ...], batch_tokens: int, tiny_folder: Path, reference: Reference
) -> None:
    engine = open_engine(config(batch_tokens), str(tiny_folder))
    scores = engine.score([ScoreRequest(TEXTS[n]) for n in order])
    for number, score in zip(order, scores, strict=True):
        assert score.error is None
        assert score.logprobs == pytest.approx(reference.of_text(TEXTS[number]), rel=1e-4)
        assert score.total == pytest.approx(sum(score.logprobs))


def test_a_prefix_is_conditioned_on_and_not_scored(engine: Engine, reference: Reference) -> None:
    prefix, text = "Jupiter is the largest", " planet in the Solar System"
    (score,) = engine.score([ScoreRequest(text, prefix=prefix)])
    expected = reference.of_text(text, prefix)
    assert len(expected) < len(reference.of_text(prefix + text))
    assert score.logprobs == pytest.approx(expected, rel=1e-4)


def test_a_token_across_the_boundary_is_scored(engine: Engine, reference: Reference) -> None:
    # " ring" is one token here: cut inside it, the whole of it belongs to the text.
    whole = reference.tokenizer("Saturn has rings")["input_ids"]
    (score,) = engine.score([ScoreRequest("ings", prefix="Saturn has r")])
    assert score.logprobs == pytest.approx(
        reference.of_ids(whole, len(whole) - len(score.logprobs)), rel=1e-4
    )
    assert sum(score.logprobs) == pytest.approx(reference.of_text(" rings", "Saturn has")[0])


def test_chat_turns_come_rendered_before_the_text(engine: Engine, reference: Reference) -> None:
    tokenizer = reference.tokenizer
    context = tokenizer(render_text(USER, add_generation_prompt=True), add_special_tokens=False)
    text = tokenizer("Jupiter.", add_special_tokens=False)["input_ids"]
    (score,) = engine.score([ScoreRequest("Jupiter.", messages=USER)])
    expected = reference.of_ids(context["input_ids"] + text, len(context["input_ids"]))
    assert score.logprobs == pytest.approx(expected, rel=1e-4)


def test_long_texts_are_scored_in_windows(engine: Engine, reference: Reference) -> None:
    text = " ".join(f"{n} planets and Titan" for n in range(150))
    ids = reference.tokenizer(text)["input_ids"]
    limit, stride = 256, 128
    assert len(ids) > 3 * limit
    expected, position = [], 1
    while position < len(ids):
        end = min(len(ids), max(limit, position + stride))
        begin = max(0, end - limit)
        expected += reference.of_ids(ids[begin:end], position - begin)
        position = end
    (score,) = engine.score([ScoreRequest(text)])
    assert len(score.logprobs) == len(ids) - 1
    assert score.logprobs == pytest.approx(expected, rel=1e-4)


def test_an_empty_text_scores_nothing(engine: Engine) -> None:
    empty, after = engine.score([ScoreRequest(""), ScoreRequest("", prefix="Jupiter")])
    assert (empty.logprobs, empty.error) == ((), None)
    assert (after.logprobs, after.error) == ((), None)


def test_control_tokens_in_a_text_are_plain_characters(engine: Engine) -> None:
    (score,) = engine.score([ScoreRequest("<|eot_id|>")])
    assert len(score.logprobs) > 1


def test_one_bad_request_does_not_stop_the_others(engine: Engine) -> None:
    bad = ({"role": "user", "content": "<|eot_id|>"},)
    scores = engine.score([ScoreRequest("x", messages=bad), ScoreRequest("Jupiter")])
    assert "control token" in str(scores[0].error)
    assert scores[1].logprobs
    long = ({"role": "user", "content": "planet " * 500},)
    answers = engine.generate([GenerateRequest(bad), GenerateRequest(long), GenerateRequest(USER)])
    assert "control token" in str(answers[0].error)
    assert "the context holds 256" in str(answers[1].error)
    assert answers[2].error is None


def test_the_same_call_gives_the_same_bytes(engine: Engine) -> None:
    requests = [ScoreRequest(text) for text in TEXTS]
    assert engine.score(requests) == engine.score(requests)


def test_greedy_answers_equal_a_plain_argmax_loop(engine: Engine, reference: Reference) -> None:
    other = ({"role": "user", "content": "Saturn has rings of water ice, and what else?"},)
    answers = engine.generate([GenerateRequest(USER), GenerateRequest(other)])
    for messages, answer in zip((USER, other), answers, strict=True):
        tokenizer = reference.tokenizer
        text = render_text(messages, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        start = len(ids)
        with torch.no_grad():
            for _ in range(answer.completion_tokens):
                ids.append(int(reference.model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert answer.text == tokenizer.decode(ids[start:], skip_special_tokens=True)
        assert answer.prompt_tokens == start


def test_a_draw_depends_on_its_seed_and_not_on_the_batch(tiny_folder: Path) -> None:
    engine = open_engine(config(temperature=1.0, top_p=0.9), str(tiny_folder))
    together = engine.generate([GenerateRequest(USER, seed=n) for n in (1, 2, 1)])
    (alone,) = engine.generate([GenerateRequest(USER, seed=1)])
    assert together[0].text == together[2].text == alone.text != together[1].text


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_fit_the_schema(tiny_folder: Path, temperature: float) -> None:
    engine = open_engine(config(temperature=temperature, max_tokens=120), str(tiny_folder))
    answers = engine.generate(
        [GenerateRequest(USER, schema=SCHEMA, seed=n) for n in range(3)] + [GenerateRequest(USER)]
    )
    for answer in answers[:3]:
        assert answer.finish_reason == "stop"
        # Under maxLength, xgrammar lets control characters into strings unescaped.
        jsonschema.validate(json.loads(answer.text, strict=False), SCHEMA)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no model here") as caught:
        open_engine(config(), str(tmp_path / "absent"))
    assert caught.value.where == str(tmp_path / "absent")


def test_weights_come_from_safetensors_only(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="cannot be loaded"):
        open_engine(config(), str(folder))
