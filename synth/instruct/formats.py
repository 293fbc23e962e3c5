"""Records of the common instruction formats as turns.

=========  =====================================================================================
format     record
=========  =====================================================================================
sharegpt   ``conversations: [{from, value}]``: ShareGPT, Infinity-Instruct, OpenHermes 2.5
messages   ``messages: [{role, content}]``
nemotron   ``input`` (messages or a text), ``output``, ``reasoning``, ``system_prompt``
alpaca     ``instruction``, ``input``, ``output``, ``history``, ``system``; ``prompt`` (a text or
           turns) with ``completion``, ``response`` or ``chosen``: TRL; ``question`` with
           ``response``: OpenOrca
=========  =====================================================================================

In any of them: a content may be a list of parts; a ``system`` or ``system_prompt`` beside the
turns comes first; an empty system turn is none; turns of the user after the last answer are cut,
since nothing of them would be trained; ``chosen`` is the last answer and ``rejected`` is never
read, since fine-tuning shows what to say and has no way to show what not to.

What cannot be said in our turns is a reject and never bent into shape: tool calls (their place in
the Llama template is a role of its own), answers with a loss weight other than 1 (all answers of a
conversation are trained), a reasoning switch that the answer does not follow, reasoning that never
ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.chat import BadTurnsError, check_turns
from core.rejects import Reason
from synth.instruct.content import THINK_CLOSE, THINK_OPEN, content_text, thinks, thought
from synth.instruct.records import RecordError

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "chosen": "assistant",
}
_TOOL_ROLES = ("function_call", "tool_call", "observation", "tool", "function", "ipython")
_WEIGHTS = ("loss_weight", "weight", "train", "training", "train_on_turn")
_MEDIA = ("image", "images", "video", "videos", "audio", "audios")
"""Beside the turns, in sets of which an answer speaks of what is seen or heard."""
_ID_KEYS = ("conv_id", "id", "uuid", "conversation_id", "prompt_id")
_ID_CHARS = 80
_ASKED = ("instruction", "prompt", "question")
_ANSWERED = ("output", "response", "completion")
_SWITCH = {"on": True, "true": True, "off": False, "false": False}
"""Llama-Nemotron's ``reasoning`` says ``on`` or ``off``; other sets say nothing."""

Turn = dict[str, str]


@dataclass
class Dialogue:
    """A record's turns.

    Args:
        turns: ``{role, content}``, ``[system] user assistant ...``, the last an answer.
        reasoning: whether it reasons between ``<think>`` tags.
        own_id: the record's own name for itself, empty where it has none.
        notes: what was done to it, for the counts.
    """

    turns: list[Turn]
    reasoning: bool = False
    own_id: str = ""
    notes: list[str] = field(default_factory=list)


def detect_format(record: Mapping[str, Any]) -> str:
    """Returns the format that a record's keys say.

    Raises:
        RecordError: none.
    """
    keys = {key for key, value in record.items() if value is not None}
    if "conversations" in keys:
        return "sharegpt"
    if "messages" in keys:
        return "messages"
    if {"input", "output"} <= keys and "instruction" not in keys:
        return "nemotron"
    if "instruction" in keys and keys & {"output", "response", "chosen"}:
        return "alpaca"
    if ("prompt" in keys and keys & {"completion", "response", "chosen"}) or (
        {"question", "response"} <= keys
    ):
        return "alpaca"
    if "turns" in keys:
        # MT-bench; some questions carry a reference, which is a judge's and no model's answer.
        raise RecordError(
            Reason.MALFORMED_RECORD, "questions of a benchmark: no answers to learn from"
        )
    named = ", ".join(sorted(map(str, keys))) or "none"
    raise RecordError(Reason.MALFORMED_RECORD, f"no known format; keys: {named:.200}")


def read_dialogue(record: Any, format_: str, keep_tools: bool) -> Dialogue:
    """Returns a record's turns, checked.

    Args:
        record: a JSON value.
        format_: one of the table above, or ``auto``.
        keep_tools: keep a record that lists tools and calls none; the list is left out.

    Raises:
        RecordError: it holds no conversation of ours; see the module's text.
    """
    if isinstance(record, list) and record and all(isinstance(turn, Mapping) for turn in record):
        record = {"conversations" if format_ == "sharegpt" else "messages": record}
    if not isinstance(record, Mapping):
        kind = type(record).__name__
        raise RecordError(Reason.MALFORMED_RECORD, f"a record must be an object, not {kind}")
    name = detect_format(record) if format_ == "auto" else format_
    turns = _READERS[name](record)
    if not keep_tools and _tools(record.get("tools")):
        raise RecordError(Reason.TOOL_USE, "the record lists tools")
    for key in _MEDIA:
        if record.get(key):
            raise RecordError(Reason.MALFORMED_RECORD, f"the record shows what is no text: '{key}'")
    dialogue = Dialogue(turns, own_id=_own_id(record))
    if record.get("chosen") is not None:
        dialogue.notes.append("preference_pairs")
    _tidy(dialogue, _text(record.get("system") or record.get("system_prompt") or "", "system"))
    _check(dialogue)
    _set_reasoning(dialogue, record.get("reasoning"))
    return dialogue


def _tools(value: Any) -> bool:
    return bool(value) and str(value).strip() not in ("[]", "{}", "null", "")


def _own_id(record: Mapping[str, Any]) -> str:
    for key in _ID_KEYS:
        value = record.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()[:_ID_CHARS]
    return ""


# --- One reader per format


def _sharegpt(record: Mapping[str, Any]) -> list[Turn]:
    return _with_chosen(_turns(record.get("conversations"), "conversations"), record)


def _messages(record: Mapping[str, Any]) -> list[Turn]:
    return _with_chosen(_turns(record.get("messages"), "messages"), record)


def _nemotron(record: Mapping[str, Any]) -> list[Turn]:
    asked = record.get("input")
    turns = (
        [{"role": "user", "content": asked}] if isinstance(asked, str) else _turns(asked, "input")
    )
    return [*turns, {"role": "assistant", "content": _text(record.get("output"), "output")}]


def _alpaca(record: Mapping[str, Any]) -> list[Turn]:
    turns: list[Turn] = []
    history = record.get("history") or []
    if not isinstance(history, list | tuple):
        raise RecordError(Reason.MALFORMED_RECORD, "'history' is not a list of turns")
    for number, pair in enumerate(history):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            detail = f"history {number}: not a question with its answer"
            raise RecordError(Reason.MALFORMED_RECORD, detail)
        turns += _pair(*(_text(part, f"history {number}") for part in pair))
    named = next((key for key in _ASKED if record.get(key) is not None), _ASKED[0])
    if isinstance(record.get(named), list):
        turns += _turns(record[named], named)
    else:
        asked = _text(record.get(named), named)
        given = _text(record.get("input") or record.get("context") or "", "input")
        # A blank line between the two, as in Alpaca's own prompt.
        question = f"{asked}\n\n{given}" if given.strip() else asked
        turns.append({"role": "user", "content": question})
    if record.get("chosen") is not None:
        return _with_chosen(turns, record)
    named = next((key for key in _ANSWERED if record.get(key) is not None), _ANSWERED[0])
    if isinstance(record.get(named), list):
        return [*turns, *_turns(record[named], named)]
    return [*turns, {"role": "assistant", "content": _text(record.get(named), named)}]


_READERS = {
    "sharegpt": _sharegpt,
    "messages": _messages,
    "nemotron": _nemotron,
    "alpaca": _alpaca,
}


def _pair(question: str, answer: str) -> list[Turn]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise RecordError(Reason.MALFORMED_RECORD, f"'{key}' is not text")
    return value


def _with_chosen(turns: list[Turn], record: Mapping[str, Any]) -> list[Turn]:
    """Returns the turns with the preferred answer of a pair."""
    chosen = record.get("chosen")
    if chosen is None:
        return turns
    if isinstance(chosen, str):
        return [*turns, {"role": "assistant", "content": chosen}]
    more = _turns(chosen if isinstance(chosen, list) else [chosen], "chosen")
    # Some sets repeat the whole conversation in it.
    return more if more and more[0]["role"] != "assistant" else [*turns, *more]


# --- Turns


def _turns(value: Any, key: str) -> list[Turn]:
    if not isinstance(value, list):
        raise RecordError(Reason.MALFORMED_RECORD, f"'{key}' is not a list of turns")
    return [_turn(message, f"turn {number}") for number, message in enumerate(value)]


def _turn(message: Any, place: str) -> Turn:
    if not isinstance(message, Mapping):
        raise RecordError(Reason.MALFORMED_RECORD, f"{place}: not an object")
    said = _first(message, ("role", "from"))
    if said is None or not any(key in message for key in ("content", "value")):
        keys = ", ".join(sorted(map(str, message)))
        raise RecordError(Reason.MALFORMED_RECORD, f"{place}: no role or no content; keys: {keys}")
    if said in _TOOL_ROLES or message.get("tool_calls") or message.get("function_call"):
        raise RecordError(Reason.TOOL_USE, f"{place}: {said!s:.40}")
    role = _ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise RecordError(Reason.BAD_TURNS, f"{place}: unknown role {said!r:.40}")
    content = content_text(_first(message, ("content", "value")), place)
    if role == "assistant":
        _check_weight(message, place)
        before = _first(message, ("reasoning_content", "thinking"))
        if isinstance(before, str):
            content = thought(before) + content
    return {"role": role, "content": content}


def _first(message: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((message[key] for key in keys if message.get(key) is not None), None)


def _check_weight(message: Mapping[str, Any], place: str) -> None:
    for key in _WEIGHTS:
        weight = message.get(key)
        if isinstance(weight, int | float) and weight != 1:
            detail = f"{place}: an answer with {key} {weight!s:.20}; all answers are trained alike"
            raise RecordError(Reason.BAD_TURNS, detail)


def _tidy(dialogue: Dialogue, system: str) -> None:
    turns = dialogue.turns
    if turns and turns[0]["role"] == "system" and not turns[0]["content"].strip():
        del turns[0]
    if system.strip() and not (turns and turns[0]["role"] == "system"):
        turns.insert(0, {"role": "system", "content": system})
    elif system.strip() and turns[0]["content"].strip() != system.strip():
        raise RecordError(Reason.BAD_TURNS, "two system prompts: one beside the turns, one in them")
    answered = next((n for n in range(len(turns), 0, -1) if turns[n - 1]["role"] == "assistant"), 0)
    if answered and answered < len(turns):
        del turns[answered:]
        dialogue.notes.append("unanswered_ends_cut")


def _check(dialogue: Dialogue) -> None:
    turns = dialogue.turns
    try:
        for turn in turns:
            turn["content"].encode()
        dialogue.own_id.encode()
    except UnicodeError as error:
        # JSON may escape half of a surrogate pair, which no UTF-8 text can hold.
        raise RecordError(Reason.INVALID_UTF8, str(error)) from error
    try:
        check_turns(turns)
    except BadTurnsError as error:
        raise RecordError(Reason.BAD_TURNS, str(error)) from error
    if turns[-1]["role"] != "assistant":
        raise RecordError(Reason.BAD_TURNS, "no answer")


def _set_reasoning(dialogue: Dialogue, switch: Any) -> None:
    answers = [turn["content"] for turn in dialogue.turns if turn["role"] == "assistant"]
    dialogue.reasoning = any(map(thinks, answers))
    for number, turn in enumerate(dialogue.turns):
        content = turn["content"]
        if turn["role"] == "assistant" and content.lstrip().startswith(THINK_OPEN):
            rest = content.partition(THINK_CLOSE)
            if not rest[1] or not rest[2].strip():
                detail = f"turn {number}: reasoning that leads to no answer"
                raise RecordError(Reason.BAD_TURNS, detail)
    said = _SWITCH.get(str(switch).strip().lower())
    if said is not None and said != dialogue.reasoning:
        done = "reasons" if dialogue.reasoning else "does not reason"
        raise RecordError(Reason.BAD_TURNS, f"reasoning is '{switch}', and the answer {done}")
