"""The request log: nothing is asked twice, and a kill loses at most the last line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from core.llm import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.llm import cache as cache_module
from core.llm.cache import RequestLog, cached_generate, request_key
from core.recipe.engine import Sampling

SAMPLING = Sampling(max_tokens=8)


class Counting(Engine):
    """Answers with the question in capitals; refuses what says so."""

    label = "counting"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        self.calls.append(len(requests))
        texts = [r.messages[0]["content"] for r in requests]
        return [
            Generation("", "error", error="no") if t == "refuse" else Generation(t.upper(), "stop")
            for t in texts
        ]

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        raise NotImplementedError


def ask(*texts: str) -> list[GenerateRequest]:
    return [GenerateRequest(({"role": "user", "content": text},)) for text in texts]


def run(path: Path, engine: Counting, *texts: str, digest: str = "") -> list[str]:
    with RequestLog(path) as log:
        return [a.text for a in cached_generate(engine, SAMPLING, ask(*texts), log, digest)]


def test_a_second_call_asks_nothing(tmp_path: Path) -> None:
    path, engine = tmp_path / "deep" / "log.jsonl", Counting()
    assert run(path, engine, "a", "ü\ud800", "a") == ["A", "Ü\ud800", "A"]
    assert engine.calls == [2]
    assert run(path, engine, "ü\ud800", "a") == ["Ü\ud800", "A"]
    assert engine.calls == [2]
    assert run(path, engine, "a", "b") == ["A", "B"]
    assert engine.calls == [2, 1]


def test_a_broken_last_line_is_cut_off_and_asked_again(tmp_path: Path) -> None:
    path, engine = tmp_path / "log.jsonl", Counting()
    run(path, engine, "a", "b")
    whole = path.read_bytes()
    for lost in (1, 2, 30):
        path.write_bytes(whole[:-lost])
        assert run(path, engine, "a", "b") == ["A", "B"]
        assert path.read_bytes() == whole
    assert engine.calls == [2, 1, 1, 1]


def test_errors_are_returned_and_not_kept(tmp_path: Path) -> None:
    path, engine = tmp_path / "log.jsonl", Counting()
    with RequestLog(path) as log:
        answers = cached_generate(engine, SAMPLING, ask("refuse", "a", "refuse"), log)
        assert [a.error for a in answers] == ["no", None, "no"]
        assert len(log) == 1
    run(path, engine, "refuse", "a")
    assert engine.calls == [2, 1]


def test_answers_are_kept_slice_by_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "SLICE_REQUESTS", 2)

    class Dies(Counting):
        def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().generate(requests)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "log.jsonl", Dies(), "a", "b", "c", "d", "e")
    engine = Counting()
    assert run(tmp_path / "log.jsonl", engine, "a", "b", "c", "d", "e") == [*"ABCDE"]
    assert engine.calls == [1]


def test_everything_that_matters_is_in_the_key() -> None:
    request = GenerateRequest(({"role": "user", "content": "a"},))
    keys = {
        request_key("x", SAMPLING, request),
        request_key("y", SAMPLING, request),
        request_key("x", SAMPLING, request, "model 2"),
        request_key("x", Sampling(max_tokens=9), request),
        request_key("x", SAMPLING, GenerateRequest(request.messages, seed=1)),
        request_key("x", SAMPLING, GenerateRequest(request.messages, schema={})),
        request_key("x", SAMPLING, GenerateRequest(request.messages, inputs={"pairs": "1"})),
        request_key("x", SAMPLING, GenerateRequest(())),
    }
    assert len(keys) == 8
