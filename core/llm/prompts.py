"""Requests as token ids, the same for every engine that holds the tokenizer itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from core.chat import DEFAULT_DATE_STRING, BadTurnsError, render_text
from core.errors import EngineError
from core.llm.engine import ScoreRequest


def chat_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]
) -> list[int]:
    """Returns the tokens of a conversation up to the assistant turn to be written.

    A Llama-3 tokenizer gets our template with the pinned date; any other model is asked in the
    format its own template gives.

    Args:
        tokenizer: the model's.
        messages: turns, the last one the user's.

    Raises:
        BadTurnsError: the conversation cannot be rendered.
        EngineError: the model is no Llama 3 and carries no chat template.
    """
    if "<|eot_id|>" in tokenizer.get_vocab():
        text = render_text(messages, add_generation_prompt=True)
    elif tokenizer.chat_template:
        turns = [dict(message) for message in messages]
        try:
            text = str(
                tokenizer.apply_chat_template(
                    turns,
                    tokenize=False,
                    add_generation_prompt=True,
                    date_string=DEFAULT_DATE_STRING,
                )
            )
        except Exception as error:  # templates raise whatever they like
            raise BadTurnsError(f"the model's chat template refuses this: {error}") from error
    else:
        raise EngineError(
            "the model's tokenizer has no chat template",
            where=str(tokenizer.name_or_path),
            remedy="use an instruct model, or add chat_template.jinja to the model folder",
        )
    # The rendered text holds its control tokens, the first one too.
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def score_ids(tokenizer: PreTrainedTokenizerBase, request: ScoreRequest) -> tuple[list[int], int]:
    """Returns a scoring request's tokens and the position of the first scored one.

    Prefix and text are tokenized in one piece, as a model meets them; a token is scored if it
    ends inside the text, so one that straddles the boundary counts. After chat turns the boundary
    is a header, where no token reaches across. Control tokens written out in a text are read as
    plain characters.

    Args:
        tokenizer: the model's, a fast one.
        request: what to score.

    Returns:
        ``(ids, first)``; ``first`` is at least 1 (the first token of all has no condition) and is
        ``len(ids)`` where nothing can be scored.

    Raises:
        BadTurnsError: ``request.messages`` cannot be rendered.
    """
    if request.messages:
        context = chat_ids(tokenizer, request.messages)
        encoded = tokenizer(request.text, add_special_tokens=False, split_special_tokens=True)
        return [*context, *encoded["input_ids"]], len(context)
    encoded = tokenizer(
        request.prefix + request.text,
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
    )
    ids: list[int] = encoded["input_ids"]
    boundary = len(request.prefix)
    before = sum(1 for _, end in encoded["offset_mapping"] if end <= boundary)
    if tokenizer.bos_token_id is None:
        return ids, max(before, min(1, len(ids)))
    return [tokenizer.bos_token_id, *ids], before + 1
