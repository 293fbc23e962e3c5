"""Requests as token ids, the same for every engine that holds the tokenizer itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from core.chat import DEFAULT_DATE_STRING, BadTurnsError, render_text
from core.errors import EngineError
from core.llm.engine import ChoiceRequest, GenerateRequest, ScoreRequest


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
    if control_id(tokenizer, "<|eot_id|>") is not None:
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


def control_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int | None:
    """Returns the id of a control token, or None where the tokenizer lacks it.

    Without ``get_vocab``, which builds a dictionary of the whole vocabulary at each call: 0.36 ms
    for 1,024 tokens, and Llama 3 has 128,256.
    """
    found = tokenizer.convert_tokens_to_ids(token)
    return found if isinstance(found, int) and found != tokenizer.unk_token_id else None


def generate_ids(tokenizer: PreTrainedTokenizerBase, request: GenerateRequest) -> list[int]:
    """Returns the tokens that an answer is to continue.

    Control tokens written out in a plain prompt are read as plain characters.

    Args:
        tokenizer: the model's.
        request: chat turns, and what the answer begins with; or a plain prompt, which gets the
            beginning-of-text token in front.

    Raises:
        BadTurnsError: the conversation cannot be rendered, or there is nothing to continue.
        EngineError: as for :func:`chat_ids`.
    """
    if request.messages:
        ids = chat_ids(tokenizer, request.messages)
        return [*ids, *_plain_ids(tokenizer, request.prefill)] if request.prefill else ids
    ids = _text_ids(tokenizer, request.prompt)
    if not ids:
        raise BadTurnsError("an empty prompt, and the tokenizer has no beginning-of-text token")
    return ids


def choice_ids(
    tokenizer: PreTrainedTokenizerBase, request: ChoiceRequest
) -> tuple[list[int], list[int], list[int] | None]:
    """Returns a prompt's tokens and those of the alternatives, where they differ in the last alone.

    Args:
        tokenizer: the model's.
        request: what to weigh.

    Returns:
        ``(ids, head, tokens)``: the prompt, what all alternatives begin with (nothing where each is
        one token; a small vocabulary may cut ``" A"`` in two), and the last token of each.
        ``tokens`` is None where the alternatives must be scored instead: they differ in more, or
        one changes the prompt's own tokens when it follows.

    Raises:
        BadTurnsError: the conversation cannot be rendered, or there is nothing to continue.
        EngineError: as for :func:`chat_ids`.
    """
    if request.messages:
        ids = chat_ids(tokenizer, request.messages)
        end: list[int] = []
        longer = [_plain_ids(tokenizer, choice) for choice in request.choices]
    else:
        ids = generate_ids(tokenizer, GenerateRequest(prompt=request.prompt))
        # The last line stands for a long prompt where its tokens are the prompt's last ones: what
        # follows changes tokens near the end or none, and the first of them are looked at too.
        line = request.prompt[request.prompt.rfind("\n") + 1 :]
        end = _plain_ids(tokenizer, line)
        if not end or ids[-len(end) :] != end:
            line, end = request.prompt, ids
            longer = [_text_ids(tokenizer, line + choice) for choice in request.choices]
        else:
            longer = [_plain_ids(tokenizer, line + choice) for choice in request.choices]
    before = longer[0][:-1]
    if before[: len(end)] != end or any(other[:-1] != before for other in longer):
        return ids, [], None
    return ids, before[len(end) :], [other[-1] for other in longer]


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return ids


def _text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    bos = tokenizer.bos_token_id
    return [*([] if bos is None else [bos]), *_plain_ids(tokenizer, text)]


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
        return [*context, *_plain_ids(tokenizer, request.text)], len(context)
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
