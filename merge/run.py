"""One merge, from the checks to a model folder that loads and talks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.recipe.chat import Chat
from core.recipe.merge import Merge
from merge.budget import Budget
from merge.card import write_card
from merge.preflight import preflight
from merge.task_vectors import TaskVectors
from merge.voice import Voice, check_voice, write_voice

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Merged:
    """What a merge gave besides its folder; ``vectors`` None where nothing was measured."""

    budget: Budget
    voice: Voice
    vectors: TaskVectors | None


def check_merge(
    section: Merge, folders: Mapping[str, Path], chat: Chat | None, out: Path, where: str
) -> Budget:
    """Returns what a merge takes, after all that can be checked without reading a weight.

    Args:
        section: the recipe section.
        folders: as for :func:`merge_models`.
        chat: the chat text that the models are trained on; None keeps the voice's own template.
        out: where the merged model will be.
        where: stage name, for errors.

    Raises:
        InputError: models are missing or do not fit together, the voice's tokenizer does not fit
            the chat text, or there is too little room.
    """
    budget = preflight(folders, section.out_dtype, out, where)
    check_voice(folders[section.voice_name], chat, where)
    return budget


def merge_models(
    section: Merge,
    folders: Mapping[str, Path],
    seed: int,
    chat: Chat | None,
    out: Path,
    where: str,
) -> Merged:
    """Merges into the folder ``out``: weights, config, tokenizer, chat template, card.

    Args:
        section: the recipe section.
        folders: model folders, absolute, for each of ``section.names``, in that order.
        seed: of the random pruning.
        chat: the chat text that the models are trained on; None keeps the voice's own template.
        out: made here.
        where: stage name, for errors.

    Raises:
        InputError: see :func:`check_merge`.
    """
    budget = check_merge(section, folders, chat, out, where)
    for note in section.notes():
        log.warning("%s: %s", where, note)
    # Imported here: checks fail before PyTorch and mergekit are loaded.
    from merge.mergekit_run import run_mergekit

    run_mergekit(section, folders, seed, out)
    voice = write_voice(folders[section.voice_name], section.out_dtype, chat, out, where)
    vectors = measured(section, folders, where) if section.measure else None
    write_card(section, folders, seed, voice, vectors, out)
    return Merged(budget, voice, vectors)


def measured(section: Merge, folders: Mapping[str, Path], where: str) -> TaskVectors | None:
    """Returns the task vectors' measures; None without a base to take them against."""
    from merge.mergekit_run import fixed_threads
    from merge.task_vectors import measure
    from merge.weights import read_weights

    if section.base is None or section.base in [m.model for m in section.models]:
        return None
    weights = {name: read_weights(folders[name], where) for name in section.names}
    with fixed_threads():
        return measure(weights[section.base], [weights[m.model] for m in section.models])
