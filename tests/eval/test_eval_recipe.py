"""The recipe section ``eval`` refuses names that could not be file names or would collide."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.recipe.eval import Eval

GOOD: dict[str, Any] = {
    "models": {"base": "train.base"},
    "mcq": {"benchmarks": [{"name": "astro", "path": "a.jsonl"}]},
    "heldout": [{"name": "astro", "paths": ["held"]}],
}


def test_defaults() -> None:
    section = Eval.model_validate(GOOD)
    assert (section.mcq.mode, section.mcq.benchmarks[0].group) == ("choice", "domain")
    assert section.mcq.chat_models == ["sft", "instruct", "merged"]


def test_modes_and_engines_by_model() -> None:
    mcq = GOOD["mcq"] | {
        "mode": "letter",
        "modes": {"merged": ["letter", "reasoning"], "base": "choice"},
        "engines": {"far": {"kind": "openai", "base_url": "http://127.0.0.1:8000/v1"}},
    }
    models = {"base": "train.base", "sft": "train.sft", "merged": "merge.merged", "far": "astro"}
    section = Eval.model_validate(GOOD | {"models": models, "mcq": mcq})
    assert [section.mcq.modes_of(model) for model in models] == [
        ["choice"], ["letter"], ["letter", "reasoning"], ["letter"],
    ]  # fmt: skip
    assert section.mcq.engine_of("far").kind == "openai"
    assert section.mcq.engine_of("base").kind == "transformers"
    assert list(section.local_models()) == ["base", "sft", "merged"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {}}, "at least 1"),
        ({"models": {"a/b": "x"}}, "match pattern"),
        ({"mcq": {"benchmarks": [{"name": "../a", "path": "a.jsonl"}]}}, "match pattern"),
        ({"mcq": {"benchmarks": GOOD["mcq"]["benchmarks"] * 2}}, "two entries of benchmarks"),
        ({"heldout": GOOD["heldout"] * 2}, "two entries of heldout"),
        ({"mcq": GOOD["mcq"] | {"modes": {"bsae": "letter"}}}, "there is no model 'bsae'"),
        ({"mcq": GOOD["mcq"] | {"modes": {"base": []}}}, "'base' has no mode"),
        ({"mcq": GOOD["mcq"] | {"modes": {"base": ["json", "json"]}}}, r"entries of modes\.base"),
        ({"mcq": GOOD["mcq"] | {"modes": {"base": "letters"}}}, "'choice', 'letter', 'json'"),
        ({"mcq": GOOD["mcq"] | {"engines": {"x": {}}}}, "mcq.engines: there is no model 'x'"),
        ({"mcq": GOOD["mcq"] | {"engine": {"kind": "openai"}}}, "needs the key 'base_url'"),
        ({"mcq": GOOD["mcq"] | {"engine": {"model": "x"}}}, "named in eval.models"),
        ({"mcq": GOOD["mcq"] | {"permutations": 120}}, "less than or equal to 119"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Eval.model_validate(GOOD | changes)
