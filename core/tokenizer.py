"""The tokenizer of a model folder, loaded once a process."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from core.errors import InputError

if TYPE_CHECKING:
    # Importing transformers takes seconds, which a command that packs nothing need not wait for.
    from transformers import PreTrainedTokenizerBase


@lru_cache(maxsize=2)
def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Returns the fast tokenizer of a model folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot load a tokenizer: {str(error).splitlines()[0]}",
            where=path,
            remedy="point at a model folder with tokenizer.json and tokenizer_config.json",
        ) from error
    return tokenizer


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the id that fills sequences up; the end-of-text one where there is no other."""
    pad = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if pad is None else pad)
