"""What is sent to a model, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from core.recipe.mcq import Benchmark, Mcq, Shots
from core.stage import StageContext
from eval.items import Item
from eval.mcq.prompts import Shown, choice_request, written_request
from eval.mcq.shots import load_shots, pick_shots

ITEM = Item("q", "What is $x$ in {Sirius}?", ("a star", "a moon", "a comet"), 0, "stars_dwarf")
SHOT = Item("s", "Which is a planet?", ("Ceres", "Mars"), 1)
TURNED = Shown(ITEM, [2, 0, 1])


def section(**values: object) -> Mcq:
    benchmark = values.pop("benchmark", {"name": "b", "path": "b.jsonl"})
    return Mcq.model_validate({"benchmarks": [benchmark], **values})


def test_mmlu_prompt_is_that_of_hendrycks() -> None:
    named = section(mode="letter", format="mmlu")
    benchmark = Benchmark(name="b", path="b.jsonl", subject="astronomy")
    asked = choice_request(Shown(ITEM, [0, 1, 2]), named, benchmark, [SHOT], chat=False)
    assert asked.prompt == (
        "The following are multiple choice questions (with answers) about astronomy.\n\n"
        "Which is a planet?\nA. Ceres\nB. Mars\nAnswer: B\n\n"
        "What is $x$ in {Sirius}?\nA. a star\nB. a moon\nC. a comet\nAnswer:"
    )
    assert asked.choices == (" A", " B", " C")
    # Without a subject of the benchmark, the question's topic is it.
    other = choice_request(TURNED, named, named.benchmarks[0], [], chat=False)
    assert other.prompt.startswith(
        "The following are multiple choice questions (with answers) about stars dwarf.\n\nWhat"
    )


def test_plain_prompt_and_the_order_shown() -> None:
    named = section(mode="letter")
    asked = choice_request(TURNED, named, named.benchmarks[0], [SHOT], chat=False)
    assert asked.prompt == (
        "Question: Which is a planet?\nA. Ceres\nB. Mars\nAnswer: B\n\n"
        "Question: What is $x$ in {Sirius}?\nA. a comet\nB. a star\nC. a moon\nAnswer:"
    )


def test_a_chat_model_sees_solved_questions_as_turns() -> None:
    named = section(mode="letter")
    asked = choice_request(TURNED, named, named.benchmarks[0], [SHOT], chat=True)
    assert [turn["role"] for turn in asked.messages] == ["system", "user", "assistant", "user"]
    assert asked.messages[2]["content"] == "B"
    assert asked.messages[0]["content"] == "You are an expert in astronomy."
    assert asked.messages[3]["content"] == (
        "What is $x$ in {Sirius}?\nA. a comet\nB. a star\nC. a moon\nAnswer with the letter only."
    )
    assert asked.choices == ("A", "B", "C")
    bare = section(mode="letter", system_prompt=None)
    assert choice_request(TURNED, bare, bare.benchmarks[0], [], True).messages[0]["role"] == "user"


def test_json_is_asked_for_with_its_schema() -> None:
    asked = written_request(TURNED, section(), "json", seed=5)
    assert asked.messages[0] == {"role": "system", "content": "You are an expert in astronomy."}
    assert "A. a comet\nB. a star\nC. a moon" in asked.messages[1]["content"]
    assert "one of A, B, C" in asked.messages[1]["content"]
    assert asked.schema is not None
    assert asked.schema["properties"]["answer"]["enum"] == ["A", "B", "C"]
    assert (asked.max_tokens, asked.seed, asked.prefill) == (512, 5, "")
    assert written_request(TURNED, section(structured=False), "json", seed=5).schema is None


def test_reasoning_has_its_switch_and_its_beginning() -> None:
    asked = written_request(TURNED, section(), "reasoning", seed=5)
    assert asked.messages[0]["content"] == (
        "detailed thinking on\n\nYou are an expert in astronomy."
    )
    assert (asked.prefill, asked.schema, asked.max_tokens) == ("<think>", None, 8192)


QUESTIONS = """question,A,B,C,D,answer,topic
Which is a planet?,Ceres,Mars,Sirius,Vega,B,planets
Which is a star?,Ceres,Mars,Sirius,Moon,C,stars
Which is a moon?,Io,Mars,Sirius,Vega,A,moons
Which has no key?,Io,Mars,Sirius,Vega,,moons
"""


def test_own_questions_are_shown_but_never_the_one_asked(context: StageContext) -> None:
    (context.root / "q.csv").write_text(QUESTIONS, encoding="utf-8")
    shots = Shots(count=2)
    pool = load_shots(Benchmark(name="b", path="q.csv", shots=shots), context)
    assert [item.answer for item in pool] == [1, 2, 0]
    bare = [Item(item.item_id, item.question, item.choices) for item in pool]
    assert [[shot.answer for shot in pick_shots(item, pool, shots)] for item in bare] == [
        [2, 0], [1, 0], [1, 2],
    ]  # fmt: skip
    assert pick_shots(bare[0], pool, None) == []


def test_questions_with_topics_get_shots_of_their_own(context: StageContext) -> None:
    (context.root / "q.csv").write_text(QUESTIONS, encoding="utf-8")
    shots = Shots(count=2, path="q.csv")
    pool = load_shots(Benchmark(name="b", path="other.csv", shots=shots), context)
    of_moons = Item("x", "Which moon is big?", ("Io", "Titan"), 1, "moons")
    assert [shot.topic for shot in pick_shots(of_moons, pool, shots)] == ["moons"]
    of_dust = Item("x", "What is dust?", ("grit", "gas"), 0, "dust")
    assert [shot.topic for shot in pick_shots(of_dust, pool, shots)] == ["planets", "stars"]


@pytest.mark.parametrize(("path", "count"), [(None, 3), ("q.csv", 4)])
def test_too_few_solved_questions_are_an_error(
    context: StageContext, path: str | None, count: int
) -> None:
    (context.root / "q.csv").write_text(QUESTIONS, encoding="utf-8")
    shots = Shots(count=count, path=path)
    with pytest.raises(InputError, match=r"3 questions have an answer; 4 are needed"):
        load_shots(Benchmark(name="b", path="q.csv", shots=shots), context)


def test_a_missing_file_of_shots_is_named(context: StageContext) -> None:
    (context.root / "q.csv").write_text(QUESTIONS, encoding="utf-8")
    shots = Shots(count=1, path=str(Path("no") / "dev.csv"))
    with pytest.raises(InputError, match=r"dev\.csv"):
        load_shots(Benchmark(name="b", path="q.csv", shots=shots), context)
