from __future__ import annotations

import io
import json
import random
from itertools import pairwise
from typing import Any

import pytest

from synth.instruct import json_array
from synth.instruct.json_array import array_elements


def _elements(data: bytes, most_bytes: int = 1000) -> list[tuple[int, bytes, bool]]:
    return list(array_elements(io.BytesIO(data), 0, len(data), most_bytes))


def _value(draw: random.Random, depth: int = 0) -> Any:
    kind = draw.random() + depth / 4
    if kind < 0.3:
        return {
            f"{draw.choice(['a', '[', chr(92), ','])}{n}": _value(draw, depth + 1) for n in (1, 2)
        }
    if kind < 0.5:
        return [_value(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    if kind < 1.3:
        return "".join(draw.choice('ab"\\[]{},é\n ') for _ in range(draw.randint(0, 8)))
    return draw.choice([1, -2.5e3, None, True])


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 64])
def test_any_array_in_chunks_and_stretches(
    monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr(json_array, "_CHUNK_BYTES", chunk_bytes)
    draw = random.Random(chunk_bytes)
    for _ in range(60):
        values = [_value(draw) for _ in range(draw.randint(0, 7))]
        text = json.dumps(values, ensure_ascii=draw.random() < 0.5, indent=draw.choice([None, 1]))
        data = b"\xef\xbb\xbf" * draw.randint(0, 1) + b" \n" + text.encode() + b"\n"
        found = _elements(data)
        assert [json.loads(raw) for _, raw, _ in found] == values
        assert [number for number, _, _ in found] == list(range(len(values)))
        assert all(whole for _, _, whole in found)
        cuts = [0, *sorted(draw.randint(0, len(data)) for _ in range(3)), len(data)]
        parts = [
            part
            for start, end in pairwise(cuts)
            for part in array_elements(io.BytesIO(data), start, end, 1000)
        ]
        assert parts == found


def test_broken_elements_stand_alone() -> None:
    found = _elements(b'[1, {"a": nonsense}, "caf\xe9", , 5]')
    assert [raw.strip() for _, raw, _ in found] == [
        b"1",
        b'{"a": nonsense}',
        b'"caf\xe9"',
        b"",
        b"5",
    ]


def test_a_file_that_ends_too_early() -> None:
    found = _elements(b'[{"a": 1}, {"b": "tw')
    assert found == [(0, b'{"a": 1}', True), (1, b' {"b": "tw', False)]


def test_an_element_that_is_too_long_is_cut() -> None:
    found = _elements(b'["' + b"x" * 50 + b'", 2]', most_bytes=10)
    assert found == [(0, b'"' + b"x" * 9, False), (1, b" 2", True)]


@pytest.mark.parametrize("data", [b"", b"  ", b"[]", b" [ \n ] "])
def test_nothing(data: bytes) -> None:
    assert _elements(data) == []


def test_what_follows_the_array_is_not_lost() -> None:
    assert _elements(b'[1] {"more": 2}') == [(0, b"1", True), (1, b' {"more": 2}', False)]
