"""What makes weights a model that talks: config, tokenizer, chat template, where it stops.

All are one model's, the voice. Llama-3.1-Instruct ends its turns with ``<|eot_id|>`` or
``<|eom_id|>`` and its texts with ``<|end_of_text|>``; its ``generation_config.json`` and
``config.json`` list all three, and a base model's only the last, which then talks on for ever.
Both files list here whichever of the three the tokenizer has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.atomic import write_json, write_text
from core.chat import BOS
from core.errors import InputError
from core.model_folder import CONFIG_NAME, GENERATION_CONFIG_NAME, copy_tokenizer
from core.recipe.chat import Chat
from merge.thinking import chat_template
from merge.vocabulary import read_vocabulary

TEMPLATE_NAME = "chat_template.jinja"
_TOKENIZER_CONFIG = "tokenizer_config.json"

END_TOKENS = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
"""In the order of Llama-3.1-8B-Instruct's files."""
PAD_TOKEN = "<|finetune_right_pad_id|>"
"""Llama 3.1's token for filling batches up; its own tokenizer does not say so."""
_CHAT_TOKENS = (BOS, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

_OF_ONE_FOLDER = ("torch_dtype", "dtype", "_name_or_path", "transformers_version")


@dataclass(frozen=True)
class Voice:
    """What was written.

    Args:
        template: ``recipe``, ``voice``, or ``none`` where the voice has none.
        thinking: the template has a switch for reasoning.
        stops: tokens that end an answer; empty where the voice's own settings were kept.
    """

    template: str
    thinking: bool
    stops: tuple[str, ...]


def check_voice(source: Path, chat: Chat | None, where: str) -> dict[str, int]:
    """Checks what :func:`write_voice` reads, before hours go into the weights.

    Args:
        source: folder of the voice.
        chat: as for :func:`write_voice`.
        where: stage name, for errors.

    Returns:
        Its vocabulary, token to number.

    Raises:
        InputError: a file of the voice cannot be read, or its tokenizer lacks the tokens of the
            recipe's chat text.
    """
    vocabulary = read_vocabulary(source)
    _read(source / _TOKENIZER_CONFIG)
    for name in (CONFIG_NAME, GENERATION_CONFIG_NAME):
        try:
            _as_list(_read(source / name).get("eos_token_id"))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"eos_token_id is no number of a token: {error}",
                where=str(source / name),
                remedy="copy or download the file again",
            ) from error
    missing = [token for token in _CHAT_TOKENS if token not in vocabulary]
    if chat is not None and missing:
        raise InputError(
            f"the voice's tokenizer has no {', '.join(missing)}, which the recipe's chat text "
            "is made of",
            where=f"{where}: {source}",
            remedy="name a Llama-3.1 model as merge.voice, or set merge.chat_template: voice",
        )
    return vocabulary


def write_voice(source: Path, out_dtype: str, chat: Chat | None, out: Path, where: str) -> Voice:
    """Writes config, tokenizer, chat template and generation config.

    Args:
        source: folder of the voice.
        out_dtype: of the merged weights.
        chat: the chat text that the models are trained on; None keeps the voice's own template.
        out: the merged model's folder.
        where: stage name, for errors.

    Raises:
        InputError: see :func:`check_voice`.
    """
    vocabulary = check_voice(source, chat, where)
    copy_tokenizer(source, out)
    # mergekit leaves whatever generation settings the base has.
    if not (source / GENERATION_CONFIG_NAME).is_file():
        (out / GENERATION_CONFIG_NAME).unlink(missing_ok=True)
    settings = _read(out / _TOKENIZER_CONFIG)
    if chat is not None:
        settings.pop("chat_template", None)
        write_text(out / TEMPLATE_NAME, chat_template(chat))
    if not settings.get("pad_token") and PAD_TOKEN in vocabulary:
        settings["pad_token"] = PAD_TOKEN
    if settings != _read(out / _TOKENIZER_CONFIG):
        write_json(out / _TOKENIZER_CONFIG, settings)
    stops = _write_settings(source, out_dtype, vocabulary, settings, out)
    own = (out / TEMPLATE_NAME).is_file() or "chat_template" in settings
    template = "recipe" if chat is not None else "voice" if own else "none"
    return Voice(template, chat is not None and chat.reasoning is not None, stops)


def _write_settings(
    source: Path,
    out_dtype: str,
    vocabulary: dict[str, int],
    tokenizer: dict[str, Any],
    out: Path,
) -> tuple[str, ...]:
    """Writes ``config.json`` and ``generation_config.json``; returns the tokens that end."""
    config = _read(source / CONFIG_NAME)
    generation = _read(source / GENERATION_CONFIG_NAME)
    stops = tuple(token for token in END_TOKENS if token in vocabulary)
    ids = {"eos_token_id": generation.get("eos_token_id", config.get("eos_token_id"))}
    if END_TOKENS[-1] in stops:
        own = _as_list(ids["eos_token_id"])
        ids["eos_token_id"] = list(dict.fromkeys([*(vocabulary[t] for t in stops), *own]))
    else:
        stops = ()
    for name in ("bos", "pad"):
        token = _content(tokenizer.get(f"{name}_token"))
        found = vocabulary.get(token, config.get(f"{name}_token_id"))
        ids[f"{name}_token_id"] = found
    known = {key: value for key, value in ids.items() if value is not None}
    for values, path in ((config, CONFIG_NAME), (generation, GENERATION_CONFIG_NAME)):
        for key in _OF_ONE_FOLDER:
            values.pop(key, None)
        values.update(known)
        write_json(out / path, {**values, "dtype": out_dtype} if path == CONFIG_NAME else values)
    return stops


def _as_list(ids: Any) -> list[int]:
    return [] if ids is None else [int(i) for i in (ids if isinstance(ids, list) else [ids])]


def _content(token: Any) -> str:
    """Returns a token that is written as text or as an object with its content."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read as JSON: {error}", where=str(path), remedy="copy or download it again"
        ) from error
    return values if isinstance(values, dict) else {}
