"""The transformers engine against plain forward passes, one text at a time."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.chat import render_text
from core.errors import EngineError
from core.llm import ChoiceRequest, Engine, GenerateRequest, ScoreRequest, local, open_engine
from core.llm.local_load import choose_dtype
from core.llm.windows import batches, cut_windows
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


def test_a_window_is_no_longer_than_the_batch(tiny_folder: Path, reference: Reference) -> None:
    """Memory is bounded by ``batch_tokens`` whatever the model's context is."""
    text = " ".join(f"{n} planets and Titan" for n in range(30))
    ids = reference.tokenizer(text)["input_ids"]
    limit, stride = 64, 32
    assert 2 * limit < len(ids)
    expected, position = [], 1
    while position < len(ids):
        end = min(len(ids), max(limit, position + stride))
        begin = max(0, end - limit)
        expected += reference.of_ids(ids[begin:end], position - begin)
        position = end
    (score,) = open_engine(config(limit), str(tiny_folder)).score([ScoreRequest(text)])
    assert score.logprobs == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("length", range(1, 14))
@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("limit", [4, 5, 8])
def test_windows_score_each_token_once_after_half_a_window(
    length: int, first: int, limit: int
) -> None:
    scored: list[int] = []
    for window in cut_windows(0, list(range(length)), first, limit):
        assert len(window.ids) <= limit
        assert window.first >= 1
        assert window.ids[0] == 0 or window.first >= limit // 2
        scored += window.ids[window.first :]
    assert scored == list(range(first, length))


def test_logits_of_a_few_tokens_at_once_give_the_same_scores(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ScoreRequest(text) for text in TEXTS]
    whole = engine.score(requests)
    held: list[int] = []
    gather = local.TransformersEngine._gather

    def _watched(self: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        head = self._model.get_output_embeddings()
        hook = head.register_forward_hook(lambda _m, _i, out: held.append(out.numel()))
        try:
            return gather(self, hidden, targets)
        finally:
            hook.remove()

    monkeypatch.setattr(local.TransformersEngine, "_gather", _watched)
    monkeypatch.setattr(local, "_LOGIT_BUDGET", 2000)
    parts = engine.score(requests)
    assert max(held) <= 2000 < sum(held)
    for one, other in zip(parts, whole, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, rel=1e-5)


def test_the_order_of_requests_changes_no_bit(engine: Engine) -> None:
    texts = [f"{text} {n}" for n in range(6) for text in TEXTS]
    forward = engine.score([ScoreRequest(text) for text in texts])
    backward = engine.score([ScoreRequest(text) for text in reversed(texts)])
    assert forward == backward[::-1]


def test_work_is_counted_and_repeated_texts_are_read_once(tiny_folder: Path) -> None:
    engine = open_engine(config(), str(tiny_folder))
    scores = engine.score([ScoreRequest(t) for t in ("Jupiter", "Saturn", "Jupiter")])
    assert scores[0] == scores[2]
    work = engine.work()
    tokens = {t: len(s.logprobs) + 1 for t, s in zip(("J", "S"), scores, strict=False)}
    assert work["repeated_texts"] == 1
    assert work["forward_tokens"] == sum(tokens.values())
    assert work["padding_tokens"] == abs(tokens["J"] - tokens["S"])


def test_padding_stays_small_whatever_the_lengths() -> None:
    rng = random.Random(0)
    for count in (5, 100, 2000):
        lengths = [int(rng.lognormvariate(4, 1)) + 2 for _ in range(count)]
        groups = list(batches(lengths, 8192, spare_padding=True))
        assert sorted(n for batch in groups for n in batch) == list(range(count))
        padded = [max(lengths[n] for n in batch) * len(batch) for batch in groups]
        assert max(padded) <= max(8192, *lengths)
        assert sum(padded) <= 1.15 * sum(lengths) + 64 * len(groups)
        assert len(groups) < 12 + sum(lengths) / 4000


def test_a_cpu_scores_in_float32_and_a_gpu_in_bfloat16() -> None:
    auto = EngineConfig(kind="transformers", model="m")
    assert choose_dtype(auto, torch.device("cpu")) == "float32"
    assert choose_dtype(auto, torch.device("cuda")) == "bfloat16"
    half = EngineConfig(kind="transformers", model="m", dtype="float16")
    assert choose_dtype(half, torch.device("cpu")) == "float16"


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


@pytest.mark.parametrize(("layers", "what"), [(3, "lack the tensor"), (1, "beyond its layers")])
def test_config_and_weights_of_two_models(
    tiny_folder: Path, tmp_path: Path, layers: int, what: str
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    values = json.loads((folder / "config.json").read_text())
    assert values["num_hidden_layers"] == 2
    (folder / "config.json").write_text(json.dumps({**values, "num_hidden_layers": layers}))
    with pytest.raises(EngineError, match=what):
        open_engine(config(), str(folder))


def test_truncated_weights_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    os.truncate(folder / "model.safetensors", 5000)
    with pytest.raises(EngineError, match="cannot be loaded"):
        open_engine(config(), str(folder))


def test_weights_come_from_safetensors_only(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="cannot be loaded"):
        open_engine(config(), str(folder))


def test_plain_prompts_are_completed_up_to_a_stop_string(
    engine: Engine, reference: Reference
) -> None:
    prompts = ("Jupiter is", "Saturn has rings of", "Élise measured α")
    free = engine.generate([GenerateRequest(prompt=p) for p in prompts])
    for prompt, answer in zip(prompts, free, strict=True):
        ids = reference.tokenizer(prompt)["input_ids"]
        assert ids[0] == reference.tokenizer.bos_token_id
        assert answer.prompt_tokens == len(ids)
        with torch.no_grad():
            for _ in range(answer.completion_tokens):
                ids.append(int(reference.model(torch.tensor([ids])).logits[0, -1].argmax()))
        new = ids[-answer.completion_tokens :]
        assert answer.text == reference.tokenizer.decode(new, skip_special_tokens=True)
    # Each row has its own stop string, out of the middle of what it would write.
    stops = [(answer.text[6:9], "never written") for answer in free]
    requests = [GenerateRequest(prompt=p, stop=s) for p, s in zip(prompts, stops, strict=True)]
    for whole, stop, answer in zip(free, stops, engine.generate(requests), strict=True):
        assert stop[0]
        assert answer.text == whole.text[: whole.text.index(stop[0])]
        assert answer.finish_reason == "stop"
        assert answer.completion_tokens < whole.completion_tokens
    (short,) = engine.generate([GenerateRequest(prompt=prompts[0], max_tokens=3)])
    assert (short.completion_tokens, short.finish_reason) == (3, "length")
    assert free[0].text.startswith(short.text)


def test_control_tokens_in_a_plain_prompt_are_plain_characters(engine: Engine) -> None:
    plain, written = engine.generate(
        [GenerateRequest(prompt=p, max_tokens=1) for p in ("a", "a<|eot_id|>")]
    )
    assert written.prompt_tokens > plain.prompt_tokens + 1


CHOICES = [
    ChoiceRequest(prompt="Jupiter is the", choices=(" A", " B", "x", "A")),
    ChoiceRequest(prompt="Saturn has rings of water ice, and", choices=(" 1", "1")),
    ChoiceRequest(messages=USER, choices=("A", "B", "C")),
    ChoiceRequest(prompt="Titan is its", choices=(" largest moon", " the")),
    ChoiceRequest(prompt="", choices=("S", "T")),
    # The last space joins the alternative's token where the vocabulary has one.
    ChoiceRequest(prompt="Jupiter is ", choices=("the", "The")),
]


def weigh(reference: Reference, request: ChoiceRequest, choice: str) -> float:
    """One alternative's log-probability, by one forward pass over prompt and alternative."""
    if request.messages:
        text = render_text(request.messages, add_generation_prompt=True)
        ids = reference.tokenizer(text, add_special_tokens=False)["input_ids"]
        more = reference.tokenizer(choice, add_special_tokens=False)["input_ids"]
        return sum(reference.of_ids([*ids, *more], len(ids)))
    ids = reference.tokenizer(request.prompt + choice)["input_ids"]
    prompt = reference.tokenizer(request.prompt)["input_ids"]
    same = next((n for n, (a, b) in enumerate(zip(ids, prompt, strict=False)) if a != b), None)
    return sum(reference.of_ids(ids, len(prompt) if same is None else same))


def test_choices_equal_plain_forward_passes(engine: Engine, reference: Reference) -> None:
    for request, answer in zip(CHOICES, engine.choose(CHOICES), strict=True):
        expected = [weigh(reference, request, choice) for choice in request.choices]
        assert answer.error is None
        assert answer.logprobs == pytest.approx(expected, rel=1e-4)
        assert answer.best == expected.index(max(expected))
        # By the way that every engine has: one score per alternative.
        (slow,) = Engine.choose(engine, [request])
        assert slow.logprobs == pytest.approx(expected, rel=1e-4)


def test_one_token_alternatives_take_one_forward_pass(engine: Engine, reference: Reference) -> None:
    prompt = "Jupiter is the"
    before = engine.work()["forward_tokens"]
    engine.choose([ChoiceRequest(prompt=prompt, choices=("A", "B", "C", "D"))])
    tokens = len(reference.tokenizer(prompt)["input_ids"])
    assert engine.work()["forward_tokens"] - before == tokens


def test_choices_that_cannot_be_made_say_why(engine: Engine) -> None:
    requests = [
        ChoiceRequest(prompt="a", choices=()),
        ChoiceRequest(prompt="a", choices=("b", "")),
        ChoiceRequest(prompt="planet " * 500, choices=("b",)),
        ChoiceRequest(messages=({"role": "user", "content": "<|eot_id|>"},), choices=("b",)),
        ChoiceRequest(prompt="a", choices=("b",)),
    ]
    for method in (engine.choose, lambda r: Engine.choose(engine, r)):
        errors = [choice.error for choice in method(requests)]
        assert "no alternatives" in str(errors[0])
        assert "is empty" in str(errors[1])
        assert "control token" in str(errors[3])
        assert errors[4] is None
    assert "the context holds 256" in str(engine.choose(requests)[2].error)
