"""Answers by log-probability against a plain Hugging Face forward pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import InputError
from core.llm import Score
from core.recipe.mcq import Benchmark, Mcq
from core.schema import PREDICTION
from core.sources import SourceIndex
from core.stage import StageContext
from eval.mcq.predict import choice_scores
from eval.mcq.stage import McqStage

QUESTIONS = [
    ("What powers a star on the main sequence?", ["Fusion of hydrogen", "Friction", "Decay", "It"]),
    ("Which body is a dwarf planet?", ["Ceres", "Mars", "The Moon of the Earth", "Sirius B"]),
    ("Where do long-period comets come from?", ["The Oort cloud", "Saturn", "The Sun"]),
]
ANSWERS = ["A", "A", None]


@pytest.fixture
def asked(ctx: StageContext) -> StageContext:
    lines = [
        {"item_id": f"q{i}", "question": question, "choices": choices, "answer": ANSWERS[i]}
        for i, (question, choices) in enumerate(QUESTIONS)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + "{broken\n"
    (ctx.root / "bench.jsonl").write_text(text, encoding="utf-8")
    return ctx


class Reference:
    """Log-likelihoods the slow way: one text at a time, whole logits, no batching."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def logprobs(self, context: list[int], text: str) -> torch.Tensor:
        target = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = self.model(torch.tensor([context + target])).logits[0]
        table = logits.log_softmax(-1)[len(context) - 1 : -1]  # (tokens, V)
        return table[torch.arange(len(target)), torch.tensor(target)]

    def plain(self, prefix: str) -> list[int]:
        ids = self.tokenizer(prefix, add_special_tokens=False)["input_ids"]
        return [self.tokenizer.bos_token_id, *ids]

    def chat(self, question: str, system: str = "") -> list[int]:
        turns = [{"role": "user", "content": question}]
        if system:
            turns.insert(0, {"role": "system", "content": system})
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def run_stage(ctx: StageContext, folder: Path, name: str = "m", **section: object) -> list[dict]:
    benchmark = Benchmark(name="bench", path="bench.jsonl")
    stage = McqStage(
        Mcq.model_validate({"benchmarks": [benchmark], **section}), {name: str(folder)}
    )
    units = stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json"))
    assert len(units) == 1
    result = stage.process(units[0], ctx)
    assert result.kept.schema == PREDICTION
    assert result.rows_in == result.kept.num_rows + len(result.rejected) == 4
    return result.kept.to_pylist()


def check(rows: list[dict], expected: list[list[float]]) -> None:
    for row, answer, values in zip(rows, ANSWERS, expected, strict=True):
        assert row["logprobs"] == pytest.approx(values, abs=1e-4)
        choice = max(range(len(values)), key=values.__getitem__)
        assert row["choice"] == choice
        assert row["correct"] is (None if answer is None else choice == "ABCD".index(answer))


@pytest.mark.parametrize("normalize", ["none", "tokens", "unconditional"])
def test_choice_mode_against_hf_forward(
    asked: StageContext, model_folder: Path, normalize: str
) -> None:
    reference = Reference(model_folder)
    bare = reference.plain("Answer:")
    expected = []
    for question, choices in QUESTIONS:
        context = reference.plain(f"Question: {question}\nAnswer:")
        values = []
        for choice in choices:
            given = reference.logprobs(context, f" {choice}")
            value = given.mean() if normalize == "tokens" else given.sum()
            if normalize == "unconditional":
                value = value - reference.logprobs(bare, f" {choice}").sum()
            values.append(float(value))
        expected.append(values)
    check(run_stage(asked, model_folder, normalize=normalize), expected)


def test_choice_mode_of_a_chat_model(asked: StageContext, model_folder: Path) -> None:
    reference = Reference(model_folder)
    expected = [
        [float(reference.logprobs(reference.chat(q), text).mean()) for text in choices]
        for q, choices in QUESTIONS
    ]
    check(run_stage(asked, model_folder, "sft"), expected)


@pytest.mark.parametrize("name", ["m", "merged"])
def test_letter_mode_against_hf_forward(asked: StageContext, model_folder: Path, name: str) -> None:
    reference = Reference(model_folder)
    expected = []
    for question, choices in QUESTIONS:
        listed = question + "".join(
            f"\n{mark}. {text}" for mark, text in zip("ABCD", choices, strict=False)
        )
        if name == "merged":
            asked_for = f"{listed}\nAnswer with the letter only."
            context, lead = reference.chat(asked_for, "You are an expert in astronomy."), ""
        else:
            context, lead = reference.plain(f"Question: {listed}\nAnswer:"), " "
        marks = "ABCD"[: len(choices)]
        expected.append([float(reference.logprobs(context, lead + m).sum()) for m in marks])
    rows = run_stage(asked, model_folder, name, mode="letter")
    assert {row["mode"] for row in rows} == {"letter"}
    check(rows, expected)


def test_unscored_question_is_an_error_not_a_guess() -> None:
    section = Mcq(benchmarks=[Benchmark(name="b", path="b.jsonl")])
    with pytest.raises(ValueError, match="too long"):
        choice_scores([Score((-1.0,)), Score((), error="too long")], section)
    with pytest.raises(ValueError, match="no finite"):
        choice_scores([Score((-1.0,)), Score((float("nan"),))], section)
    with pytest.raises(ValueError, match="no finite"):
        choice_scores([Score((-1.0,)), Score(())], section)


def test_plan_is_model_by_model_and_follows_content(
    asked: StageContext, model_folder: Path
) -> None:
    (asked.root / "other.jsonl").write_text((asked.root / "bench.jsonl").read_text())
    listed = [Benchmark(name="x", path="bench.jsonl"), Benchmark(name="y", path="other.jsonl")]
    stage = McqStage(Mcq(benchmarks=listed), {"a": str(model_folder), "b": str(model_folder)})
    sources = SourceIndex(asked.root, asked.run_dir / "sources.json")
    units = stage.plan(asked, sources)
    order = [(u.index, u.payload["model"], u.payload["benchmark"]) for u in units]
    assert order == [(0, "a", "x"), (1, "a", "y"), (2, "b", "x"), (3, "b", "y")]
    with (asked.root / "other.jsonl").open("a") as handle:
        handle.write("{more\n")
    again = stage.plan(asked, sources)
    changed = [a.digest != b.digest for a, b in zip(units, again, strict=True)]
    assert changed == [False, True, False, True]


def test_inputs_are_the_stages_among_the_models() -> None:
    section = Mcq(benchmarks=[Benchmark(name="b", path="b.jsonl")])
    models = {
        "base": "train.base",
        "again": "train.base",
        "file": "models/x",
        "m": "merge.instruct",
    }
    assert McqStage(section, models).inputs == ("train.base", "merge.instruct")


def test_missing_benchmark_and_model_are_named(asked: StageContext, model_folder: Path) -> None:
    absent = McqStage(
        Mcq(benchmarks=[Benchmark(name="b", path="no.jsonl")]), {"m": str(model_folder)}
    )
    with pytest.raises(InputError, match=r"no\.jsonl"):
        absent.source_files(asked)
    section = Mcq(benchmarks=[Benchmark(name="b", path="bench.jsonl")])
    with pytest.raises(InputError, match="no/model"):
        McqStage(section, {"m": "no/model"}).source_files(asked)
