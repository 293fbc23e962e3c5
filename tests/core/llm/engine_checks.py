"""Checks that hold for every engine with a model, against the transformers engine.

The transformers engine is itself checked against plain forward passes (``test_local.py``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.llm import ChoiceRequest, Engine, GenerateRequest, open_engine
from core.recipe.engine import Engine as EngineConfig

USER = ({"role": "user", "content": "Which planet is the largest?"},)


def transformers(folder: Path) -> Engine:
    """The same model in process."""
    config = EngineConfig(kind="transformers", model="tiny", dtype="float32")
    return open_engine(config, str(folder))


def check_plain_prompts(engine: Engine, folder: Path) -> None:
    """A plain prompt has the tokens it should, and its answer ends where told."""
    prompts = ("Jupiter is", "Saturn has rings of")
    free = engine.generate([GenerateRequest(prompt=p, max_tokens=24, seed=1) for p in prompts])
    assert [answer.error for answer in free] == [None, None]
    theirs = transformers(folder).generate(
        [GenerateRequest(prompt=p, max_tokens=1) for p in prompts]
    )
    assert [a.prompt_tokens for a in free] == [a.prompt_tokens for a in theirs]
    assert all(answer.completion_tokens <= 24 for answer in free)
    ends = [answer.text[5:8] for answer in free]
    requests = [
        GenerateRequest(prompt=p, max_tokens=24, seed=1, stop=("never written", end))
        for p, end in zip(prompts, ends, strict=True)
    ]
    for whole, end, answer in zip(free, ends, engine.generate(requests), strict=True):
        assert answer.text == whole.text[: whole.text.index(end)]
        assert answer.finish_reason == "stop"
        assert 0 < answer.completion_tokens <= whole.completion_tokens
    (short,) = engine.generate([GenerateRequest(USER, max_tokens=3, seed=1)])
    assert (short.completion_tokens, short.finish_reason) == (3, "length")


def check_begun_answers(engine: Engine, folder: Path) -> None:
    """An answer goes on from what it was begun with, which is not repeated."""
    requests = [
        GenerateRequest(USER, prefill=prefill, max_tokens=4, seed=1)
        for prefill in ("", "<think>", "The planet is Jupiter")
    ]
    answers = engine.generate(requests)
    theirs = transformers(folder).generate(requests)
    assert [answer.error for answer in answers] == [None, None, None]
    # As many tokens as there are in the turns, the header of the answer and its beginning.
    assert [a.prompt_tokens for a in answers] == [t.prompt_tokens for t in theirs]
    assert answers[0].prompt_tokens < answers[1].prompt_tokens < answers[2].prompt_tokens
    assert not any(
        a.text.startswith(r.prefill) for a, r in zip(answers[1:], requests[1:], strict=True)
    )


def check_choices(engine: Engine, folder: Path, too_long: str = "planet " * 500) -> None:
    """Alternatives weigh what one forward pass per alternative says."""
    requests = [
        ChoiceRequest(prompt="Jupiter is the", choices=(" A", " B", "x", "A")),
        ChoiceRequest(prompt="Saturn", choices=("1", "2", "3", "2")),
        ChoiceRequest(messages=USER, choices=("A", "B")),
        ChoiceRequest(prompt="Titan is its", choices=(" largest moon", " the")),
        ChoiceRequest(prompt="a", choices=()),
        ChoiceRequest(prompt=too_long, choices=("b",)),
    ]
    answers = engine.choose(requests)
    other = transformers(folder)
    for ours, theirs in zip(answers[:4], other.choose(requests[:4]), strict=True):
        assert ours.error is None
        assert ours.logprobs == pytest.approx(theirs.logprobs, rel=1e-3)
    assert "no alternatives" in str(answers[4].error)
    assert answers[5].error
