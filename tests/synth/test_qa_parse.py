"""Whatever a model answers: whole pairs are read, the rest is named."""

from __future__ import annotations

import json
import math

import pytest

from synth.qa_parse import parse_answer

ONE = {"question": "Which planet is the largest?", "answer": "Jupiter."}
TWO = {"question": "Which has rings?", "answer": "Saturn."}
WHOLE = json.dumps({"pairs": [ONE, TWO]})


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"```json\n{WHOLE}\n```",
        f"```\n{json.dumps({'pairs': [ONE, TWO]}, indent=2)}\n```\n",
        f"Here are the pairs:\n\n{WHOLE}\n\nDo you want more?",
        json.dumps([ONE, TWO]),
        f"Sure:\n```json\n{json.dumps([ONE, TWO])}\n```",
        f'<think>A list: [{{"question": "x"}}]</think>{WHOLE}',
        WHOLE.replace(", {", ",, {").replace("]}", ",]}"),
        WHOLE[:-1],
        "\ufeff" + WHOLE,
    ],
)
def test_whole_pairs_are_read_whatever_is_around_them(text: str) -> None:
    parsed = parse_answer(text)
    assert (parsed.items, parsed.fault, parsed.rest) == ((ONE, TWO), None, "")


def test_one_pair_without_a_list() -> None:
    assert parse_answer(json.dumps(ONE)).items == (ONE,)


def test_no_pairs_is_no_fault() -> None:
    for text in ('{"pairs": []}', "[]", '```json\n{"pairs": [ ]}\n```'):
        assert parse_answer(text) == parse_answer("[]")
        assert parse_answer(text).fault is None


def test_pairs_before_a_cut_are_salvaged_wherever_it_falls() -> None:
    second = WHOLE.index('{"question": "Which has')
    for end in range(WHOLE.index("}, {") + 1, len(WHOLE) - 2):
        parsed = parse_answer(WHOLE[:end])
        items = (ONE, TWO) if end > WHOLE.rindex("}]") else (ONE,)
        assert parsed.items == items
        assert parsed.fault is not None
        assert parsed.rest == (WHOLE[second:end] if len(items) == 1 else "")
    for end in range(WHOLE.index("}, {")):
        parsed = parse_answer(WHOLE[:end])
        assert parsed.items == ()
        assert (parsed.fault is not None, parsed.rest) == (True, WHOLE[:end])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "JSONDecodeError: "),
        ("Sure! Here are the pairs:", "JSONDecodeError: "),
        ('{"pairs": [{"question": "Wh', "JSONDecodeError: "),
        ('{"pears": []}', "no 'pairs'"),
        ("null", "NoneType instead of an object"),
        ('"pairs"', "str instead of an object"),
        ("7", "int instead of an object"),
        ('{"pairs": {}}', "'pairs' is not a list"),
        ('{"pairs": "none"}', "'pairs' is not a list"),
        ('{"pairs": null}', "'pairs' is not a list"),
        ("[" * 100_000 + "]" * 100_000, "RecursionError: "),
        ('{"pairs": [' + "[" * 100_000, "RecursionError: "),
        ('{"pairs": [' + "1" * 5000 + "]}", "ValueError: "),
    ],
)
def test_what_holds_no_pair_comes_back_whole(text: str, fault: str) -> None:
    parsed = parse_answer(text)
    assert parsed.fault is not None
    assert parsed.fault.startswith(fault)
    assert (parsed.items, parsed.rest) == ((), text)


def test_items_are_not_judged_here() -> None:
    text = '{"pairs": [1, null, "x", {"question": NaN}, {"question": "a\u0001\tb\nc \\ud83d"}]}'
    one, two, three, four, five = parse_answer(text).items
    assert (one, two, three) == (1, None, "x")
    assert math.isnan(four["question"])
    assert five["question"] == "a\x01\tb\nc \ud83d"
