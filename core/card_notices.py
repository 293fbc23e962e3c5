"""What a card must say: licence notices, and what the data or model is not good for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.card_facts import Facts
from core.licences import obligations

_NOUGAT = (
    "PDF pages were read by Nougat. The weights that Meta publishes for it are CC-BY-NC 4.0: they "
    "may not be used commercially."
)
_RULES = (
    "The questions and answers were written by rules, not by a language model: they are good for "
    "trying the pipeline, not for training a model that anyone uses."
)


def notices(facts: Facts, *, model: bool) -> list[str]:
    """Returns what licences ask for, of the text and of the tools that read it.

    Args:
        facts: about the data, or a model's training data.
        model: whether it is a model.
    """
    found = obligations(facts.stated_licences) if facts.licences else []
    if model and found:
        found = ["Of the text that the model was trained on:", *found]
    if any(config.get("backend") in ("nougat", "nougat-ocr") for config in _configs(facts)):
        found.append(_NOUGAT)
    return found


def limits(facts: Facts, *, model: bool) -> list[str]:
    """Returns what a reader should not expect.

    Args:
        facts: about the data, or a model's training data.
        model: whether it is a model.
    """
    found: list[str] = []
    stages = {link.stage for link in facts.steps}
    found += _how_read(facts)
    for link in facts.steps:
        engine = link.manifest.config.get("engine")
        if not link.stage.startswith("synth.") or not isinstance(engine, dict):
            continue
        name = engine.get("model") or engine.get("kind")
        found.append(
            _RULES
            if engine.get("kind") == "rules"
            else f"Text of the step `{link.stage}` was written by a language model ({name}) and "
            "may state what is not so."
        )
    if not any("decontaminate" in stage for stage in stages):
        found.append(
            "It was not compared with benchmark questions (no decontamination step): a model "
            "trained on it may have seen some."
        )
    if not any("dedup" in stage for stage in stages):
        found.append("Repeated documents were not looked for (no deduplication step).")
    if model:
        found.append(
            "Scores are not on this card. The model was not tested for safety; what it says may "
            "be wrong."
        )
    else:
        found.append(
            "Personal data in the sources, such as authors' names and addresses, is still there."
        )
    return found


def _how_read(facts: Facts) -> Iterator[str]:
    pages: dict[str, int] = {}
    for link in facts.steps:
        for name, value in link.manifest.metrics.items():
            if name.startswith("pages_") and isinstance(value, int):
                method = name.removeprefix("pages_")
                pages[method] = pages.get(method, 0) + value
    if pages:
        listed = ", ".join(f"{method} {count:,}" for method, count in sorted(pages.items()))
        yield (
            f"Pages of PDFs were read automatically ({listed}): formulas and tables on them may "
            "be wrong or missing."
        )


def _configs(facts: Facts) -> list[dict[str, Any]]:
    return [link.manifest.config for link in facts.steps]
