"""The tokenizer of a model folder, loaded once a process."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError, first_line

if TYPE_CHECKING:
    # Importing transformers takes seconds, which a command that packs nothing need not wait for.
    from transformers import PreTrainedTokenizerBase

_PLAIN_CLASSES = {"PreTrainedTokenizerFast", "TokenizersBackend"}
"""A tokenizer of these is all in its ``tokenizer.json``; the second is transformers 5's name."""


@lru_cache(maxsize=2)
def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Returns the fast tokenizer of a model folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = _loader(Path(path)).from_pretrained(path)
        longest: object = tokenizer.model_max_length
        if not isinstance(longest, int | float):
            raise TypeError(f"model_max_length is no number: {longest!r}")
    except Exception as error:  # of a damaged file the libraries raise whatever they like
        raise InputError(
            f"cannot load a tokenizer: {first_line(error)}",
            where=path,
            remedy="point at a model folder with tokenizer.json and tokenizer_config.json",
        ) from error
    return tokenizer


def _loader(folder: Path) -> Any:
    """Returns the class to load the tokenizer with.

    ``AutoTokenizer`` imports PyTorch and the model code, 5 s of CPU in every worker; for a Llama
    whose tokenizer is a plain one it then takes the class that is returned here at once.
    """
    if _plain_llama(folder):
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def _plain_llama(folder: Path) -> bool:
    try:
        model = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return (
            model["model_type"] == "llama"
            and tokenizer["tokenizer_class"] in _PLAIN_CLASSES
            and "auto_map" not in tokenizer
            and (folder / "tokenizer.json").is_file()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the id that fills sequences up; the end-of-text one where there is no other."""
    pad = tokenizer.pad_token_id
    return int(tokenizer.eos_token_id if pad is None else pad)
