"""One key says what the model is to be an expert in; sections may say otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.recipe import Recipe
from core.recipe.domain import spread_domain
from core.yaml_reader import read_yaml

SECTIONS = {
    "synth.control": {"paths": ["q.jsonl"]},
    "synth.judge.second": {"engine": {"kind": "rules"}},
    "eval.cleaning": {"engine": {"kind": "rules"}, "path": "q.jsonl"},
}


def recipe(checkout: Path, **changes: Any) -> Recipe:
    data = read_yaml((checkout / "recipes/demo.yaml").read_text())
    for path, section in SECTIONS.items():
        *groups, name = path.split(".")
        group = data
        for each in groups:
            group = group[each]
        group[name] = section
    del data["synth"]["metadata"]
    return Recipe.model_validate({**data, **changes})


def test_every_section_that_speaks_of_the_domain_has_it(checkout: Path) -> None:
    found = recipe(checkout, domain="geology")
    assert found.synth is not None
    assert found.synth.judge is not None
    assert found.synth.judge.second is not None
    assert found.synth.control is not None
    assert found.synth.summaries is not None
    assert found.eval is not None
    assert found.eval.cleaning is not None
    assert found.synth.judge.domain == found.synth.judge.second.domain == "geology"
    assert found.synth.summaries.questions.domain == found.eval.cleaning.domain == "geology"
    assert found.eval.mcq.system_prompt == "You are an expert in geology."
    assert found.synth.control.system_prompt == "You are an expert in geology."
    assert found.synth.control.drop_topics == ["geology"]
    assert found.synth.metadata is None


def test_without_it_all_speak_of_astronomy(checkout: Path) -> None:
    assert recipe(checkout) == recipe(checkout, domain="astronomy")


def test_a_section_may_say_otherwise_and_values_stay_as_they_were() -> None:
    given: dict[str, Any] = {
        "synth": {"judge": {"domain": "volcanoes"}, "summaries": {}},
        "eval": {"mcq": {"system_prompt": None}},
    }
    spread = spread_domain(given, "geology")
    assert spread["synth"]["judge"] == {"domain": "volcanoes"}
    assert spread["synth"]["summaries"] == {"questions": {"domain": "geology"}}
    assert spread["eval"]["mcq"] == {"system_prompt": None}
    assert given["synth"]["summaries"] == {}
    assert spread_domain({"synth": None, "eval": [1]}, "geology") == {"synth": None, "eval": [1]}
