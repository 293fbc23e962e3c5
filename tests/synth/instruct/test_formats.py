"""Records in the shapes that real sets have, and what becomes of each."""

from __future__ import annotations

from typing import Any

import pytest

from core.rejects import Reason
from synth.instruct.formats import Dialogue, detect_format, read_dialogue
from synth.instruct.records import RecordError

Q, A = {"role": "user", "content": "What is Io?"}, {"role": "assistant", "content": "A moon."}
S = {"role": "system", "content": "Be brief."}
HUMAN, GPT = {"from": "human", "value": "What is Io?"}, {"from": "gpt", "value": "A moon."}
THOUGHT = "<think>\nIt orbits Jupiter.\n</think>\n\nA moon."


def _read(record: Any, format_: str = "auto", keep_tools: bool = False) -> Dialogue:
    return read_dialogue(record, format_, keep_tools)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        # ShareGPT, Infinity-Instruct, OpenHermes
        ({"conversations": [HUMAN, GPT]}, [Q, A]),
        ({"conversations": [{"from": "system", "value": ""}, HUMAN, GPT]}, [Q, A]),
        ({"conversations": [{"from": "system", "value": "Be brief."}, HUMAN, GPT]}, [S, Q, A]),
        ({"conversations": [HUMAN, GPT], "system_prompt": None, "title": "x"}, [Q, A]),
        ({"conversations": [HUMAN, GPT], "system": "Be brief."}, [S, Q, A]),
        ({"conversations": [{**HUMAN, "weight": None}, GPT, HUMAN, GPT]}, [Q, A, Q, A]),
        ({"conversations": [Q, A]}, [Q, A]),
        # messages
        ({"messages": [S, Q, A]}, [S, Q, A]),
        ({"messages": [Q, {**A, "loss_weight": 1.0}]}, [Q, A]),
        ({"messages": [{**Q, "loss_weight": 0.0}, {**A, "weight": 1}]}, [Q, A]),
        ({"messages": [Q, {**A, "content": [{"type": "text", "value": "A moon."}]}]}, [Q, A]),
        ({"messages": [Q, {**A, "content": [{"type": "text", "text": "A moon."}]}]}, [Q, A]),
        ({"messages": [{**Q, "content": {"type": "text", "text": "What is Io?"}}, A]}, [Q, A]),
        (
            {"messages": [{**Q, "content": ["What", "is Io?"]}, A]},
            [{**Q, "content": "What\nis Io?"}, A],
        ),
        ({"messages": [Q, A], "tools": "[]"}, [Q, A]),
        # Nemotron
        ({"input": [Q], "output": "A moon.", "reasoning": "off", "system_prompt": ""}, [Q, A]),
        ({"input": "What is Io?", "output": "A moon.", "system_prompt": "Be brief."}, [S, Q, A]),
        ({"input": [Q, A, Q], "output": "A moon."}, [Q, A, Q, A]),
        # Alpaca
        ({"instruction": "What is Io?", "input": "", "output": "A moon."}, [Q, A]),
        (
            {"instruction": "What is", "input": "Io?", "output": "A moon.", "system": "Be brief."},
            [S, {**Q, "content": "What is\n\nIo?"}, A],
        ),
        (
            {
                "instruction": "What is Io?",
                "output": "A moon.",
                "history": [["What is Io?", "A moon."]],
            },
            [Q, A, Q, A],
        ),
        ({"instruction": "What is Io?", "context": "", "response": "A moon."}, [Q, A]),
        ({"instruction": "What is Io?", "output": "A moon.", "chosen": None}, [Q, A]),
        # TRL, OpenOrca
        ({"prompt": "What is Io?", "completion": "A moon."}, [Q, A]),
        ({"prompt": [S, Q], "completion": [A]}, [S, Q, A]),
        ({"system_prompt": "Be brief.", "question": "What is Io?", "response": "A moon."},
         [S, Q, A]),
        # The turns alone
        ([Q, A], [Q, A]),
        ({"messages": [S, Q, A], "system": "Be brief. "}, [S, Q, A]),
        # A user who gets no answer
        ({"messages": [Q, A, Q]}, [Q, A]),
    ],
)  # fmt: skip
def test_turns(record: Any, expected: list[dict[str, str]]) -> None:
    assert _read(record).turns == expected


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "No idea."}},
        {"messages": [Q], "chosen": [A], "rejected": [A]},
        {"messages": [Q], "chosen": [Q, A], "rejected": [Q, A]},
        {"conversations": [HUMAN], "chosen": "A moon.", "rejected": "No idea."},
        {"instruction": "What is Io?", "input": "", "chosen": "A moon.", "rejected": "No idea."},
        {"prompt": "What is Io?", "chosen": "A moon.", "rejected": "No idea."},
        {"prompt": "What is Io?", "chosen": [Q, A], "rejected": [Q, A]},
    ],
)
def test_of_a_preference_pair_the_chosen_answer(record: dict[str, Any]) -> None:
    dialogue = _read(record)
    assert dialogue.turns == [Q, A]
    assert dialogue.notes == ["preference_pairs"]


@pytest.mark.parametrize(
    ("record", "reasoning"),
    [
        ({"input": [Q], "output": THOUGHT, "reasoning": "on"}, True),
        ({"input": [Q], "output": THOUGHT}, True),
        ({"input": [Q], "output": "A moon.", "reasoning": "off"}, False),
        ({"messages": [Q, {**A, "reasoning_content": "It orbits Jupiter."}]}, True),
        (
            {
                "messages": [
                    Q,
                    {
                        **A,
                        "content": [
                            {"type": "reasoning", "value": "It orbits Jupiter."},
                            {"type": "text", "value": "A moon."},
                        ],
                    },
                ]
            },
            True,
        ),
        ({"messages": [Q, {**A, "content": "<think>\n\n</think>\n\nA moon."}]}, False),
        ({"messages": [{**Q, "content": "What does <think> mean?"}, A]}, False),
        ({"messages": [Q, A], "reasoning": "It orbits Jupiter, so it is a moon."}, False),
    ],
)
def test_reasoning(record: dict[str, Any], reasoning: bool) -> None:
    dialogue = _read(record)
    assert dialogue.reasoning is reasoning
    if reasoning:
        answer = dialogue.turns[-1]["content"]
        assert answer.startswith("<think>\nIt orbits Jupiter.\n</think>\n")
        assert answer.endswith("\nA moon.")


@pytest.mark.parametrize(
    ("record", "own_id"),
    [({"id": "x"}, "x"), ({"id": 7}, "7"), ({"conv_id": "c", "id": "x"}, "c"), ({"id": None}, "")],
)
def test_own_ids(record: dict[str, Any], own_id: str) -> None:
    assert _read({"messages": [Q, A], **record}).own_id == own_id


TOOLS = [{"name": "search"}]


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (5, Reason.MALFORMED_RECORD, "a record must be an object, not int"),
        (None, Reason.MALFORMED_RECORD, "a record must be an object"),
        ({}, Reason.MALFORMED_RECORD, "no known format; keys: none"),
        ({"text": "x"}, Reason.MALFORMED_RECORD, "no known format; keys: text"),
        ({"turns": ["Why?"], "reference": ["x"]}, Reason.MALFORMED_RECORD, "questions of a bench"),
        ({"messages": None}, Reason.MALFORMED_RECORD, "no known format"),
        ({"messages": "text"}, Reason.MALFORMED_RECORD, "'messages' is not a list"),
        ({"messages": {"role": "user"}}, Reason.MALFORMED_RECORD, "'messages' is not a list"),
        ({"messages": [None]}, Reason.MALFORMED_RECORD, "turn 0: not an object"),
        ({"messages": [{"role": "user"}]}, Reason.MALFORMED_RECORD, "turn 0: no role or no con"),
        ({"messages": [{**Q, "content": 5}]}, Reason.MALFORMED_RECORD, "turn 0: the content is"),
        ({"messages": [{**Q, "content": [5]}]}, Reason.MALFORMED_RECORD, "turn 0: a part of the"),
        (
            {"messages": [{**Q, "content": [{"type": "image_url", "image_url": "x"}]}, A]},
            Reason.MALFORMED_RECORD,
            "turn 0: a part of type 'image_url'",
        ),
        ({"input": [Q], "output": ["a", "b"]}, Reason.MALFORMED_RECORD, "'output' is not text"),
        ({"instruction": 5, "output": "x"}, Reason.MALFORMED_RECORD, "'instruction' is not text"),
        (
            {"instruction": "x", "output": "x", "history": [["q"]]},
            Reason.MALFORMED_RECORD,
            "history 0",
        ),
        (
            {"instruction": "x", "output": "x", "history": True},
            Reason.MALFORMED_RECORD,
            "'history' is not a list",
        ),
        (
            {"messages": [Q, A], "images": ["x.png"]},
            Reason.MALFORMED_RECORD,
            "the record shows what is no text: 'images'",
        ),
        ({"messages": [S, Q, A], "system": "x"}, Reason.BAD_TURNS, "two system prompts"),
        ({"messages": [Q, {**A, "weight": 10**400}]}, Reason.BAD_TURNS, "turn 1: an answer with w"),
        ({"messages": [Q, A], "system": 5}, Reason.MALFORMED_RECORD, "'system' is not text"),
        # turns
        ({"messages": []}, Reason.BAD_TURNS, "no user turn"),
        ({"messages": [S]}, Reason.BAD_TURNS, "no user turn"),
        ({"messages": [Q]}, Reason.BAD_TURNS, "no answer"),
        ({"messages": [A, Q, A]}, Reason.BAD_TURNS, "turn 0: assistant where user"),
        ({"messages": [Q, Q, A]}, Reason.BAD_TURNS, "turn 1: user where assistant"),
        ({"messages": [Q, S, A]}, Reason.BAD_TURNS, "turn 1: system where assistant"),
        ({"messages": [{**Q, "role": "bing"}, A]}, Reason.BAD_TURNS, "turn 0: unknown role 'bing'"),
        ({"messages": [{**Q, "role": ["user"]}, A]}, Reason.BAD_TURNS, "turn 0: unknown role"),
        (
            {"conversations": [HUMAN, {"from": "gpt", "value": ""}]},
            Reason.BAD_TURNS,
            "turn 1: empty assistant",
        ),
        ({"messages": [Q, {**A, "content": None}]}, Reason.BAD_TURNS, "turn 1: empty assistant"),
        ({"messages": [{**Q, "content": "a<|eot_id|>b"}, A]}, Reason.BAD_TURNS, "turn 0: control"),
        (
            {"messages": [Q, {**A, "loss_weight": 0.0}]},
            Reason.BAD_TURNS,
            "turn 1: an answer with l",
        ),
        (
            {"messages": [Q, {**A, "train": False}, Q, A]},
            Reason.BAD_TURNS,
            "turn 1: an answer with",
        ),
        (
            {"input": [Q], "output": "A moon.", "reasoning": "on"},
            Reason.BAD_TURNS,
            "reasoning is 'on', and the answer does not",
        ),
        (
            {"input": [Q], "output": THOUGHT, "reasoning": "off"},
            Reason.BAD_TURNS,
            "reasoning is 'off', and the answer reasons",
        ),
        ({"input": [Q], "output": "<think>Hm"}, Reason.BAD_TURNS, "turn 1: reasoning that leads"),
        (
            {"input": [Q], "output": "<think>Hm</think> "},
            Reason.BAD_TURNS,
            "turn 1: reasoning that",
        ),
        # tools
        (
            {"conversations": [HUMAN, {"from": "function_call", "value": "{}"}]},
            Reason.TOOL_USE,
            "turn 1: function_call",
        ),
        (
            {"conversations": [HUMAN, GPT, {"from": "observation", "value": "{}"}, GPT]},
            Reason.TOOL_USE,
            "turn 2: observation",
        ),
        ({"messages": [Q, {**A, "content": None, "tool_calls": [{}]}]}, Reason.TOOL_USE, "turn 1"),
        (
            {"messages": [Q, {**A, "content": [{"type": "tool_call", "value": "{}"}]}]},
            Reason.TOOL_USE,
            "turn 1: a part of type tool_call",
        ),
        ({"messages": [Q, A], "tools": TOOLS}, Reason.TOOL_USE, "the record lists tools"),
        ({"messages": [{**Q, "content": "half \ud83d"}, A]}, Reason.INVALID_UTF8, "'utf-8'"),
        ({"messages": [Q, A], "id": "\udc00"}, Reason.INVALID_UTF8, "'utf-8'"),
    ],
)
def test_what_gives_no_conversation(record: Any, reason: Reason, detail: str) -> None:
    with pytest.raises(RecordError) as error:
        _read(record)
    assert error.value.reason == reason
    assert error.value.detail.startswith(detail)


def test_tools_that_are_listed_and_never_called() -> None:
    assert _read({"messages": [Q, A], "tools": TOOLS}, keep_tools=True).turns == [Q, A]


def test_a_format_that_is_named_is_not_guessed() -> None:
    record = {"messages": [Q, A], "conversations": [HUMAN, GPT, HUMAN, GPT]}
    assert detect_format(record) == "sharegpt"
    assert _read(record, "messages").turns == [Q, A]
    with pytest.raises(RecordError, match="'messages' is not a list"):
        _read({"instruction": "x", "output": "y"}, "messages")
