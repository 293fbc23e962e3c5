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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {}}, "at least 1"),
        ({"models": {"a/b": "x"}}, "match pattern"),
        ({"mcq": {"benchmarks": [{"name": "../a", "path": "a.jsonl"}]}}, "match pattern"),
        ({"mcq": {"benchmarks": GOOD["mcq"]["benchmarks"] * 2}}, "two entries of benchmarks"),
        ({"heldout": GOOD["heldout"] * 2}, "two entries of heldout"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Eval.model_validate(GOOD | changes)
