"""The request log: nothing is asked twice, and a kill loses at most the last line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from core.hashing import sha256_value
from core.llm import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.llm import engine as engine_module
from core.llm.cache import RequestLog, cached_generate, prompt_digest, request_key
from core.llm.prompt_log import find_request
from core.llm.usage import Usage
from core.recipe.engine import Prices, Sampling

SAMPLING = Sampling(max_tokens=8)


class Counting(Engine):
    """Answers with the question in capitals; refuses what says so."""

    label = "counting"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        self.calls.append(len(requests))
        texts = [r.messages[0]["content"] if r.messages else r.prompt for r in requests]
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
    monkeypatch.setattr(engine_module, "SLICE_REQUESTS", 2)

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
        request_key("x", SAMPLING, GenerateRequest(prompt="a")),
        request_key("x", SAMPLING, GenerateRequest(prompt="b")),
        request_key("x", SAMPLING, GenerateRequest(request.messages, stop=("b",))),
        request_key("x", SAMPLING, GenerateRequest(request.messages, stop=("c",))),
        request_key("x", SAMPLING, GenerateRequest(request.messages, max_tokens=3)),
        request_key("x", SAMPLING, GenerateRequest(request.messages, max_tokens=4)),
    }
    assert len(keys) == 14


def test_keys_of_older_logs_stay() -> None:
    # What the first released version wrote: a changed key would pay for every answer again.
    request = GenerateRequest(({"role": "user", "content": "a"},), {"type": "object"}, "qa", {}, 7)
    expected = "8229242b7a3e24714da0f5da156380928d9ab46b024e57ad54feb5a3594b0ce7"
    assert request_key("x", SAMPLING, request, "model") == expected


def test_logs_without_prompts_load_and_get_them(tmp_path: Path) -> None:
    path, engine = tmp_path / "log.jsonl", Counting()
    run(path, engine, "a")
    (request,) = ask("a")
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if '"key"' in line))
    assert find_request(tmp_path, prompt_digest(request)) is None
    assert run(path, engine, "a") == ["A"]
    assert engine.calls == [1]
    assert find_request(tmp_path, prompt_digest(request)) == request


def test_a_prompt_is_kept_once_and_found(tmp_path: Path) -> None:
    engine = Counting()
    (chat,) = ask("Where is Titan? ü\ud800")
    plain = GenerateRequest(prompt="Titan orbits")
    twice = [chat, replace(chat, seed=1), plain, replace(plain, max_tokens=2)]
    for number in range(2):  # a rerun adds nothing
        with RequestLog(tmp_path / "00000.jsonl") as log:
            cached_generate(engine, SAMPLING, twice, log)
        lines = (tmp_path / "00000.jsonl").read_bytes().splitlines()
        assert len(lines) == 4 + 2, number
    assert find_request(tmp_path, prompt_digest(chat)) == chat
    assert find_request(tmp_path, prompt_digest(plain)) == plain
    assert find_request(tmp_path, "0" * 64) is None
    assert find_request(tmp_path / "nothing", prompt_digest(chat)) is None
    assert prompt_digest(chat) == sha256_value(list(chat.messages))


def test_a_broken_line_in_the_middle_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # After a power cut a file may hold zeros where a line should be.
    path, engine = tmp_path / "log.jsonl", Counting()
    run(path, engine, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    broken = [b"\0" * 50 + b"\n" if b'"text":"B"' in line else line for line in lines]
    path.write_bytes(b"".join(broken))
    assert run(path, engine, "a", "b", "c") == ["A", "B", "C"]
    assert engine.calls == [3, 1]
    assert "1 lines that are no answers" in caplog.text


def test_answers_are_on_disk_as_they_arrive(tmp_path: Path) -> None:
    path, seen = tmp_path / "log.jsonl", []

    class Streams(Counting):
        def stream(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generation]]:
            for number, answer in reversed([*enumerate(self.generate(requests))]):
                yield number, answer
                seen.append(path.read_text().count('"key"'))

    assert run(path, Streams(), "a", "b", "c") == ["A", "B", "C"]
    assert seen == [1, 2, 3]


def test_usage_is_the_same_however_much_was_logged(tmp_path: Path) -> None:
    class Costly(Counting):
        def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
            answers = super().generate(requests)
            return [
                a if a.error else replace(a, prompt_tokens=10, completion_tokens=3) for a in answers
            ]

    prices = Prices(prompt_per_million=2.0, completion_per_million=8.0, currency="EUR")
    totals = []
    for _ in range(2):
        usage = Usage()
        with RequestLog(tmp_path / "log.jsonl") as log:
            for texts in (("a", "b", "a", "refuse"), ("a",)):
                cached_generate(Costly(), SAMPLING, ask(*texts), log, usage=usage)
        totals.append(usage.totals(prices))
    assert (
        totals[0]
        == totals[1]
        == {
            "requests": 3,
            "prompt_tokens": 20,
            "completion_tokens": 6,
            "failed": 1,
            "cost_eur": 0.000088,
        }
    )
    assert "cost_eur" not in Usage().totals(None)
