"""What a recipe is about reaches the sections whose prompts say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_EXPERT = "You are an expert in {domain}."

_SPOKEN: tuple[tuple[tuple[str, ...], str, str | list[str]], ...] = (
    (("synth", "judge"), "domain", "{domain}"),
    (("synth", "judge", "second"), "domain", "{domain}"),
    (("synth", "summaries", "questions"), "domain", "{domain}"),
    (("synth", "metadata"), "domain", "{domain}"),
    (("synth", "control"), "system_prompt", _EXPERT),
    (("synth", "control"), "drop_topics", ["{domain}"]),
    (("eval", "cleaning"), "domain", "{domain}"),
    (("eval", "mcq"), "system_prompt", _EXPERT),
)
"""Section, key, and its value where the recipe does not give one."""

_THERE_BY_DEFAULT = {("synth", "summaries", "questions")}


def spread_domain(data: Mapping[str, Any], domain: str) -> dict[str, Any]:
    """Returns a recipe's values in which each section that speaks of the domain has its name.

    Args:
        data: values of a recipe, not yet checked; left as they are.
        domain: such as ``geology``.
    """
    spread = dict(data)
    for path, key, value in _SPOKEN:
        filled = (
            value.format(domain=domain)
            if isinstance(value, str)
            else [each.format(domain=domain) for each in value]
        )
        _fill(spread, path, key, filled, created=path in _THERE_BY_DEFAULT)
    return spread


def _fill(
    data: dict[str, Any], path: tuple[str, ...], key: str, value: str | list[str], created: bool
) -> None:
    name, *rest = path
    section = data.get(name, {} if created and not rest else None)
    if not isinstance(section, Mapping):
        return
    data[name] = section = dict(section)
    if rest:
        _fill(section, tuple(rest), key, value, created)
    else:
        section.setdefault(key, value)
