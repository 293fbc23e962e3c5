"""Names of models: the same model is written in several ways."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NoReturn

from core.errors import InputError

_BETWEEN = re.compile(r"[\s_\-]+")


def name_key(name: str) -> str:
    """Returns what two spellings of a name share: ``GPT 4o`` and ``gpt-4o`` give ``gpt4o``."""
    return _BETWEEN.sub("", name).casefold()


def unknown_name(name: str, known: Iterable[str], where: str) -> NoReturn:
    """Refuses a name that no table has, and says which one is near.

    Raises:
        InputError: always.
    """
    listed = list(known)
    by_key = {name_key(found): found for found in listed}
    keys = difflib.get_close_matches(name_key(name), list(by_key), n=3, cutoff=0.5)
    near = [by_key[key] for key in keys]
    remedy = f"did you mean '{near[0]}'?" if near else "take a name of the table of scores"
    if len(near) > 1:
        remedy += " Or " + " or ".join(f"'{other}'" for other in near[1:]) + "?"
    raise InputError(f"no scored model is called '{name}'", where=where, remedy=remedy)
