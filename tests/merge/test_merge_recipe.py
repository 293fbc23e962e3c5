from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.recipe.merge import Merge
from merge.mergekit_run import merge_document

A = {"model": "train.sft", "weight": 0.75}
B = {"model": "models/instruct", "weight": 0.25}
BARE = [{"model": "train.sft"}, {"model": "models/instruct"}]


def merge(**values: Any) -> Merge:
    return Merge.model_validate({"base": "train.cpt", "models": [A, B], **values})


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"models": [A, A]}, "'train.sft' stands twice under models"),
        ({"base": None}, "dare_ties needs the key 'base'"),
        ({"base": "train.sft"}, "the base 'train.sft' cannot be one of the models"),
        ({"method": "ties", "base": None}, "ties needs the key 'base'"),
        ({"models": BARE}, "'train.sft' needs a weight"),
        ({"t": 0.5}, "t has no meaning with dare_ties"),
        ({"method": "linear", "models": [{**A, "density": 0.5}, B]}, "the density of 'train.sft'"),
        ({"method": "linear", "rescale": "density"}, "rescale has no meaning with linear"),
        ({"method": "slerp"}, "slerp needs the key 't'"),
        ({"method": "slerp", "t": 0.5}, "the weight of 'train.sft' has no meaning with slerp"),
        ({"method": "slerp", "t": 0.5, "models": [A]}, "slerp merges exactly two models, and 1"),
        ({"voice": "train.cp"}, "the voice 'train.cp' is none of the models: train.cpt, train.sft"),
        ({"hub": {"x": "a/b"}}, "hub names 'x', which is none of"),
        ({"models": [A], "sweep": {"weights": [0.5]}}, "a second model, and 1 are named"),
        ({"sweep": {"weights": [0.5, 0.5]}}, "a weight stands twice"),
        ({"sweep": {"weights": [1.5]}}, "less than or equal to 1"),
        ({"models": [{**A, "density": 0.0}, B]}, "greater than 0"),
        ({"models": []}, "at least 1 item"),
    ],
)
def test_what_makes_no_sense_is_said(values: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        merge(**values)


def test_weights_that_do_not_sum_to_one_are_noted() -> None:
    assert merge().notes() == []
    heavy = [A, {**B, "weight": 0.5}]
    assert "sum to 1.25, not 1" in merge(models=heavy).notes()[0]
    assert "linear divides by the sum" in merge(models=heavy, method="linear").notes()[0]
    assert merge(method="slerp", models=BARE, t=0.3).notes() == []


def test_a_point_of_a_sweep() -> None:
    section = merge(models=[{**A, "density": 0.9}, B], sweep={"weights": [0.1]})
    point = section.at(0.1)
    assert point.weights() == [0.9, 0.1]
    assert [m.density for m in point.models] == [0.9, 1.0]
    assert point.sweep is None
    assert merge(method="slerp", models=BARE, t=0.5).at(0.1).weights() == [0.9, 0.1]


def test_what_mergekit_is_told() -> None:
    names = {"train.cpt": "base", "train.sft": "sft", "models/instruct": "instruct"}
    pruned = [{**A, "density": 0.9}, {**B, "density": 0.5}]
    told = merge_document(merge(models=pruned), names)
    assert told["base_model"] == "base"
    assert told["parameters"] == {"normalize": False, "rescale": True}
    assert told["models"][1] == {
        "model": "instruct",
        "parameters": {"weight": 0.25, "density": 0.5},
    }
    told = merge_document(merge(models=pruned, rescale="density"), names)
    assert told["parameters"]["rescale"] is False
    assert told["models"][1]["parameters"] == {"weight": 0.5, "density": 0.5}
    told = merge_document(merge(method="slerp", models=BARE, t=0.3), names)
    assert told["base_model"] == "sft"
    assert told["parameters"] == {"t": 0.3}
    assert told["models"] == [{"model": "sft"}, {"model": "instruct"}]
    assert "base_model" not in merge_document(merge(method="linear"), names)
