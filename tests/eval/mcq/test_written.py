"""Answers that are written: asked for, read, counted when missing, logged, and never paid twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.chat import render_text
from core.llm import Engine, GenerateRequest, Generation, open_engine
from core.mcq_format import json_answer_schema
from core.recipe.engine import Engine as EngineConfig
from core.recipe.mcq import Benchmark, Mcq
from core.rejects import Reason
from core.schema import PREDICTION
from core.sources import SourceIndex
from core.stage import ShardResult, StageContext
from eval.items import Item
from eval.mcq import stage as stage_module
from eval.mcq.predict import predict
from eval.mcq.prompts import Shown, written_request
from eval.mcq.stage import McqStage

ITEMS = [
    Item("q0", "What powers a star?", ("Fusion", "Friction", "Decay", "Wind"), 0),
    Item("q1", "Which is a dwarf planet?", ("Mars", "Ceres", "Sirius", "Io"), 1),
    Item("q2", "Where do comets come from?", ("The Sun", "Saturn", "The Oort cloud"), None),
]


def section(**values: object) -> Mcq:
    values = {"json_max_tokens": 700, "reasoning_max_tokens": 48, **values}
    return Mcq.model_validate({"benchmarks": [{"name": "b", "path": "b.jsonl"}], **values})


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Engine:
    return open_engine(EngineConfig(kind="transformers", model="m"), str(model_folder))


class Answers:
    """Answers with given texts, and remembers what was asked."""

    def __init__(self, *texts: str, finish_reason: str = "stop", error: str | None = None) -> None:
        self._answers = [Generation(text, finish_reason, error=error) for text in texts]
        self.asked: list[GenerateRequest] = []

    def __call__(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        self.asked += requests
        return [self._answers[n % len(self._answers)] for n in range(len(requests))]


def test_json_answers_hold_to_the_schema(engine: Engine) -> None:
    rows, rejects = predict(ITEMS, engine, section(), "m", "b", mode="json")
    assert rejects == []
    assert {(row["mode"], row["permutation"]) for row in rows} == {("json", 0)}
    read = [row for row in rows if row["read_by"] == "json"]
    assert read, "the model ends at least one of three reasons in the tokens it has"
    for row in read:
        item = next(i for i in ITEMS if i.item_id == row["item_id"])
        content = json.loads(row["raw_text"], strict=False)
        jsonschema.validate(content, json_answer_schema(len(item.choices)))
        assert row["choice"] == "ABCD".index(content["answer"])
        assert row["correct"] == (None if item.answer is None else row["choice"] == item.answer)
        assert row["logprobs"] == []


def test_thoughts_without_an_end_are_no_answer(engine: Engine) -> None:
    rows, rejects = predict(ITEMS, engine, section(), "m", "b", mode="reasoning")
    assert rejects == []
    for row, item in zip(rows, ITEMS, strict=True):
        assert (row["choice"], row["read_by"]) == (None, "truncated")
        assert row["correct"] is (None if item.answer is None else False)
        assert row["raw_text"].startswith("<think>")


@pytest.mark.parametrize("mode", ["json", "reasoning"])
def test_what_was_shown_is_read_back_into_the_files_numbering(engine: Engine, mode: str) -> None:
    # It says B, whatever stands there.
    said = Answers(
        "Mars... A?</think>The answer is (B)." if mode == "reasoning" else '{"answer": "B"}'
    )
    rows, _ = predict(ITEMS, engine, section(permutations=3), "m", "b", mode=mode, ask=said)
    assert len(said.asked) == len(rows) == 4 + 4 + 4
    for row, request in zip(rows, said.asked, strict=True):
        item = next(i for i in ITEMS if i.item_id == row["item_id"])
        assert row["choice"] == row["order"][1]
        shown = [item.choices[number] for number in row["order"]]
        assert f"B. {shown[1]}\n" in request.messages[1]["content"]
    own = [row["choice"] for row in rows if row["permutation"] == 0]
    assert own == [1, 1, 1]
    assert [row["permutation"] for row in rows] == [0, 1, 2, 3] * 3
    seeds = {request.seed for request in said.asked}
    assert len(seeds) == len(said.asked)


@pytest.mark.parametrize(
    ("text", "finish", "read_by"),
    [
        ("", "stop", "empty"),
        ("I do not know.", "stop", "unread"),
        ("Let me see, the first one is", "length", "truncated"),
        ('{"reasoning": "stars are', "length", "truncated"),
        ("The answer is (E).", "stop", "out_of_range"),
    ],
)
def test_an_answer_that_cannot_be_read_is_wrong_and_says_why(
    engine: Engine, text: str, finish: str, read_by: str
) -> None:
    said = Answers(text, finish_reason=finish)
    rows, rejects = predict(ITEMS, engine, section(), "m", "b", mode="json", ask=said)
    assert rejects == []
    assert [(r["choice"], r["correct"], r["read_by"]) for r in rows] == [
        (None, False, read_by), (None, False, read_by), (None, None, read_by),
    ]  # fmt: skip


def test_a_model_that_fails_is_a_reject_not_an_answer(engine: Engine) -> None:
    said = Answers("", finish_reason="error", error="the server said 500")
    rows, rejects = predict(ITEMS, engine, section(permutations=1), "m", "b", mode="json", ask=said)
    assert rows == []
    assert [(r.doc_id, r.reason, r.detail) for r in rejects] == [
        (item.item_id, Reason.NOT_SCORED, "the server said 500") for item in ITEMS
    ]


@pytest.fixture(scope="module")
def thinker(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model after it learned by heart what to think of three questions."""
    folder = tmp_path_factory.mktemp("thinker")
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.25 if weight.dim() > 1 else 1)
    texts = []
    for item, mark in zip(ITEMS, "ABC", strict=True):
        request = written_request(
            Shown(item, [*range(len(item.choices))]), section(), "reasoning", 0
        )
        prompt = render_text(request.messages, add_generation_prompt=True)
        said = f"\nSo {mark}.</think>\nThe answer is ({mark}).<|eot_id|>"
        ids = [tokenizer(part, add_special_tokens=False)["input_ids"]
               for part in (prompt, request.prefill, said)]  # fmt: skip
        texts.append(([*ids[0], *ids[1], *ids[2]], len(ids[0]) + len(ids[1])))
    width = max(len(ids) for ids, _ in texts)
    tokens = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in texts])
    labels = tokens.clone()
    for row, (ids, first) in enumerate(texts):
        labels[row, :first] = -100
        labels[row, len(ids) :] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(300):
        loss = model(input_ids=tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 2e-3:
            break
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_items(ctx: StageContext) -> None:
    lines = [
        {"item_id": i.item_id, "question": i.question, "choices": list(i.choices),
         "answer": None if i.answer is None else "ABCD"[i.answer]}
        for i in ITEMS
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (ctx.root / "b.jsonl").write_text(text + "{broken\n", encoding="utf-8")


def run(stage: McqStage, ctx: StageContext) -> list[ShardResult]:
    units = stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))
    return [stage.process(unit, ctx) for unit in units]


def test_a_model_thinks_and_answers_end_to_end(thinker: Path, ctx: StageContext) -> None:
    write_items(ctx)
    named = section(modes={"m": ["reasoning", "letter"]}, chat_models=["m"])
    stage = McqStage(named, {"m": str(thinker)})
    thought, weighed = run(stage, ctx)
    assert thought.kept.schema == weighed.kept.schema == PREDICTION
    rows = thought.kept.to_pylist()
    assert [row["raw_text"] for row in rows] == [
        f"<think>\nSo {mark}.</think>\nThe answer is ({mark})." for mark in "ABC"
    ]
    assert [(r["choice"], r["correct"], r["read_by"]) for r in rows] == [
        (0, True, "statement"), (1, True, "statement"), (2, None, "statement"),
    ]  # fmt: skip
    counts = {"scored": 2, "correct": 2, "unanswered": 0, "truncated": 0, "requests": 3}
    assert counts.items() <= thought.metrics.items()
    assert thought.metrics["completion_tokens"] > 0
    assert [row["mode"] for row in weighed.kept.to_pylist()] == ["letter"] * 3
    for result in (thought, weighed):
        assert (result.rows_in, result.rows_out, len(result.rejected)) == (4, 3, 1)

    # Another process with the same run asks nothing again: the log holds the answers.
    log = ctx.run_dir / "cache/llm/eval.mcq/m.reasoning.b.000000.jsonl"
    size_bytes = log.stat().st_size
    again = run(McqStage(named, {"m": str(thinker)}), ctx)
    assert again[0].kept.equals(thought.kept)
    assert again[0].metrics == thought.metrics
    assert log.stat().st_size == size_bytes


def test_units_are_parts_of_a_benchmark_and_their_sum_is_the_whole(
    model_folder: Path, ctx: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_items(ctx)
    named = section(mode="letter", permutations=2)
    (whole,) = run(McqStage(named, {"m": str(model_folder)}), ctx)
    assert (whole.rows_in, whole.rows_out, whole.kept.num_rows) == (4, 3, 9)
    monkeypatch.setattr(stage_module, "UNIT_ITEMS", 2)
    parts = run(McqStage(named, {"m": str(model_folder)}), ctx)
    assert [(p.rows_in, p.rows_out, len(p.rejected)) for p in parts] == [(3, 2, 1), (1, 1, 0)]
    rows = [row for part in parts for row in part.kept.to_pylist()]
    for ours, theirs in zip(rows, whole.kept.to_pylist(), strict=True):
        logprobs = ours.pop("logprobs")
        assert logprobs == pytest.approx(theirs.pop("logprobs"), abs=1e-4)
        assert ours == theirs


def test_letters_weigh_the_choices_wherever_they_are_shown(engine: Engine) -> None:
    rows, _ = predict(ITEMS, engine, section(permutations=3), "m", "b", mode="letter")
    turned = [
        Item(f"{row['item_id']}/{n}", item.question, tuple(item.choices[k] for k in row["order"]))
        for n, row in enumerate(rows)
        for item in ITEMS
        if item.item_id == row["item_id"]
    ]
    plain, _ = predict(turned, engine, section(), "m", "b", mode="letter")
    for row, shown in zip(rows, plain, strict=True):
        by_number = [row["logprobs"][number] for number in row["order"]]
        assert by_number == pytest.approx(shown["logprobs"], abs=1e-4)
        assert row["choice"] == row["order"][shown["choice"]]


def test_choices_by_likelihood_have_no_order(engine: Engine) -> None:
    rows, _ = predict(ITEMS, engine, section(permutations=3), "m", "b", mode="choice")
    assert [row["permutation"] for row in rows] == [0, 0, 0]


def test_a_file_without_a_question_still_accounts_for_its_lines(
    model_folder: Path, ctx: StageContext
) -> None:
    (ctx.root / "b.jsonl").write_text("{broken\n", encoding="utf-8")
    (result,) = run(McqStage(section(mode="letter"), {"m": str(model_folder)}), ctx)
    assert (result.rows_in, result.rows_out, len(result.rejected)) == (1, 0, 1)


def test_what_changes_no_answer_changes_no_fingerprint(model_folder: Path) -> None:
    models = {"m": str(model_folder)}
    plain = McqStage(section(), models).config()
    group = {"benchmarks": [Benchmark(name="b", path="b.jsonl", group="general")]}
    assert McqStage(section(**group), models).config() == plain
    assert McqStage(section(workers=3, engine={"gpus": 1}), models).config() == plain
    for change in ({"permutations": 1}, {"engine": {"kind": "vllm"}}, {"format": "mmlu"},
                   {"engines": {"m": {"sampling": {"temperature": 0.6}}}}):  # fmt: skip
        assert McqStage(section(**change), models).config() != plain


def test_a_served_model_needs_no_files(ctx: StageContext) -> None:
    write_items(ctx)
    server = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
    stage = McqStage(section(engines={"far": server}), {"far": "astro-70b", "near": "train.sft"})
    assert stage.inputs == ("train.sft",)
    assert stage.source_files(ctx) == [ctx.root / "b.jsonl"]
