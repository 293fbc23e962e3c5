"""Passages, prompts, and what is made of whatever a model answers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest

from core.hashing import sha256_value
from core.llm import Generation
from core.recipe.engine import Engine as EngineConfig
from core.recipe.qa import Qa
from core.rejects import Reason
from core.schema import DOCUMENT, QA_PAIR
from core.stage import StageContext, Unit
from synth.qa import Passage, QaStage, make_request, pairs_schema, parse_pairs, passages, qa_table

PutShard = Callable[[str, pa.Table], Unit]

PASSAGE = Passage("a:1", "Jupiter", 10, 40, "Jupiter is the largest planet.")
GOOD = {"question": "Which planet is the largest?", "answer": "Jupiter."}


def section(pairs: int) -> Qa:
    return Qa(engine=EngineConfig(kind="rules"), pairs_per_chunk=pairs)


def _documents(*texts: str) -> pa.Table:
    rows = [
        {"doc_id": f"a:{n}", "source": "a", "title": None if n else "Stars", "text": text}
        for n, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def _answer(*pairs: Any) -> Generation:
    return Generation(json.dumps({"pairs": list(pairs)}), "stop")


def _parse(answer: Generation, most: int = 100) -> tuple[list[tuple[str, str]], list[Any]]:
    good, rejects = parse_pairs(PASSAGE, answer, most)
    assert all(r.doc_id == "a:1" for r in rejects)
    return good, [(r.reason, r.detail) for r in rejects]


# --- Passages and prompts


def test_passages_are_whole_paragraphs_up_to_the_limit() -> None:
    text = "one one\n\ntwo two\n\n" + "long " * 10 + "\n\nlast"
    found = passages(_documents(text, "", "x"), chunk_chars=20)
    assert [(p.doc_id, p.title) for p in found] == [("a:0", "Stars")] * 3 + [("a:2", "")]
    assert [p.text for p in found] == [
        "one one\n\ntwo two",
        "long " * 10,
        "last",
        "x",
    ]
    assert all(text[p.start_char : p.end_char] == p.text for p in found[:3])


def test_the_prompt_holds_passage_title_and_number_as_plain_text() -> None:
    passage = Passage("a:1", "T & {{ title }}", 0, 9, "x < y & {{ passage }} {% raw %}")
    request = make_request(passage, section(3), seed=5)
    (message,) = request.messages
    assert message["role"] == "user"
    for part in (passage.title, passage.text, "up to 3 question-answer pairs"):
        assert part in message["content"]
    assert request.seed == 5
    assert request.inputs == {"title": passage.title, "passage": passage.text, "pairs": "3"}
    assert make_request(passage, section(3), seed=5) == request


def test_the_schema_accepts_pairs_and_nothing_else() -> None:
    schema = pairs_schema(2, 100)
    jsonschema.Draft202012Validator.check_schema(schema)
    accepts = jsonschema.Draft202012Validator(schema).is_valid
    assert accepts({"pairs": []})
    assert accepts({"pairs": [GOOD, GOOD]})
    assert not accepts({"pairs": [GOOD] * 3})
    assert not accepts({"pairs": [{"question": "", "answer": "x"}]})
    assert not accepts({"pairs": [{"question": "x"}]})
    assert not accepts({"pairs": [{**GOOD, "more": 1}]})
    assert not accepts([])


# --- Answers


def test_good_pairs_are_stripped() -> None:
    pair = {"question": " Which planet is the largest?\n", "answer": "\tJupiter. "}
    assert _parse(_answer(pair)) == ([("Which planet is the largest?", "Jupiter.")], [])


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "JSONDecodeError: "),
        ("Sure! Here are the pairs:", "JSONDecodeError: "),
        ('{"pairs": [{"question": "Wh', "JSONDecodeError: "),
        ('{"pears": []}', "KeyError: 'pairs'"),
        ("[]", "TypeError: "),
        ("null", "TypeError: "),
        ('{"pairs": {}}', "TypeError: 'pairs' is not a list"),
        ('{"pairs": "none"}', "TypeError: 'pairs' is not a list"),
        ('{"pairs": null}', "TypeError: 'pairs' is not a list"),
        ("[" * 100_000 + "]" * 100_000, "RecursionError: "),
        ('{"pairs": [' + "1" * 5000 + "]}", "ValueError: "),
    ],
)
def test_malformed_output_keeps_the_text_and_why_it_ended(text: str, detail: str) -> None:
    good, (reject,) = parse_pairs(PASSAGE, Generation(text, "length"), 100)
    assert (good, reject.reason, reject.text) == ([], Reason.MALFORMED_OUTPUT, text)
    assert reject.detail.startswith(detail)
    assert reject.detail.endswith("(finish reason length)")


def test_an_engines_error_is_malformed_output() -> None:
    answer = Generation("half", "error", error="the server gave up")
    assert _parse(answer) == ([], [(Reason.MALFORMED_OUTPUT, "the server gave up")])


def test_no_pairs() -> None:
    _, (reject,) = parse_pairs(PASSAGE, _answer(), 100)
    assert (reject.reason, reject.text) == (Reason.NO_PAIRS, PASSAGE.text)


@pytest.mark.parametrize(
    ("pair", "detail"),
    [
        ("text", "not an object"),
        (None, "not an object"),
        ([GOOD], "not an object"),
        ({}, "question or answer is not text"),
        ({"question": "Which?"}, "question or answer is not text"),
        ({"question": "Which?", "answer": 5}, "question or answer is not text"),
        ({"question": ["Which?"], "answer": "x"}, "question or answer is not text"),
        ({"question": " \n", "answer": "x"}, "question or answer is empty"),
        ({"question": "Which?", "answer": ""}, "question or answer is empty"),
        ({"question": "Which?", "answer": "x" * 101}, "answer of 101 characters, at most 100"),
        ({"question": "Which?", "answer": f" {PASSAGE.text}\n"}, "the answer is the whole passage"),
        ({"question": "What does the paper show?", "answer": "x"}, "question leans on 'the paper'"),
        ({"question": "Who wrote This Study?", "answer": "x"}, "question leans on 'This Study'"),
        ({"question": "What did the authors see?", "answer": "x"}, "leans on 'the authors'"),
        ({"question": "Which \ud83d?", "answer": "x"}, "half of a surrogate pair"),
        ({"question": "Which?", "answer": "\udc00"}, "half of a surrogate pair"),
    ],
)
def test_an_invalid_pair_is_rejected_and_the_others_kept(pair: Any, detail: str) -> None:
    good, rejects = parse_pairs(PASSAGE, _answer(GOOD, pair, GOOD), 100)
    assert len(good) == 2
    (reject,) = rejects
    assert reject.reason is Reason.INVALID_PAIR
    assert detail in reject.detail
    assert json.loads(reject.text or "") == pair


@pytest.mark.parametrize(
    "question", ["Which text editor?", "What is thematic mapping?", "Who published the papers?"]
)
def test_harmless_words_do_not_lean_on_the_text(question: str) -> None:
    assert _parse(_answer({"question": question, "answer": "x"}))[1] == []


def test_numbers_that_json_does_not_know() -> None:
    answer = Generation('{"pairs": [{"question": NaN, "answer": Infinity}]}', "stop")
    _, (reject,) = parse_pairs(PASSAGE, answer, 100)
    assert reject.reason is Reason.INVALID_PAIR
    assert math.isnan(json.loads(reject.text or "")["question"])


# --- Rows


def test_rows_carry_their_passage_prompt_and_model() -> None:
    request = make_request(PASSAGE, section(2), seed=1)
    other = {"question": "What is Jupiter?", "answer": "A planet."}
    table, rejects = qa_table([PASSAGE], [request], [_answer(GOOD, other)], "tiny", 100)
    assert table.schema == QA_PAIR
    assert rejects == []
    one, two = table.to_pylist()
    assert one["qa_id"] != two["qa_id"]
    assert one["qa_id"].startswith("qa:")
    del one["qa_id"]
    assert one == {
        "doc_id": "a:1",
        "chunk_start_char": 10,
        "chunk_end_char": 40,
        **GOOD,
        "model": "tiny",
        "prompt_sha256": sha256_value(list(request.messages)),
    }


def test_a_pair_asked_before_is_a_duplicate() -> None:
    second = Passage("a:2", "", 0, 5, "other")
    asked = [PASSAGE, second]
    requests = [make_request(p, section(2), seed=1) for p in asked]
    answers = [_answer(GOOD, GOOD, {**GOOD, "answer": "It is Jupiter."}), _answer(GOOD)]
    table, rejects = qa_table(asked, requests, answers, "tiny", 100)
    assert table["answer"].to_pylist() == ["Jupiter.", "It is Jupiter."]
    assert [(r.doc_id, r.reason) for r in rejects] == [
        ("a:1", Reason.DUPLICATE_QUESTION),
        ("a:2", Reason.DUPLICATE_QUESTION),
    ]
    assert json.loads(rejects[0].text or "") == GOOD


def test_nothing_asked_gives_no_row() -> None:
    table, rejects = qa_table([], [], [], "tiny", 100)
    assert (table.schema, table.num_rows, rejects) == (QA_PAIR, 0, [])


# --- The stage

TEXT = (
    "Jupiter is the largest planet in the Solar System. It has a radius of 69911 km.\n\n"
    "Saturn is a gas giant. Titan is the largest moon of Saturn."
)


def test_the_stage_with_the_rules_engine(context: StageContext, put_shard: PutShard) -> None:
    qa = Qa.model_validate({"engine": {"kind": "rules"}, "chunk_chars": 200})
    unit = put_shard("corpus.filter", _documents(TEXT, "No fact here!"))
    results = []
    for _ in range(2):
        stage = QaStage(qa, "corpus.filter")
        stage.setup(context)
        results.append(stage.process(unit, context))
    one, two = results
    assert one.kept.equals(two.kept)
    assert one.kept.num_rows > 0
    assert one.rows_in == one.kept.num_rows + len(one.rejected)
    assert one.metrics == {"passages": 2}
    assert "rules" in one.kept["model"][0].as_py()
    assert Counter(r.reason for r in one.rejected) == {Reason.NO_PAIRS: 1}
    for row in one.kept.to_pylist():
        passage = TEXT[row["chunk_start_char"] : row["chunk_end_char"]]
        assert row["answer"].rstrip(".") in passage


def test_workers_do_not_change_the_config_but_the_prompt_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(**changes: Any) -> dict[str, Any]:
        qa = Qa.model_validate({"engine": {"kind": "rules"}, **changes})
        return QaStage(qa, "corpus.filter").config()

    assert config() == config(workers=5)
    assert config() != config(pairs_per_chunk=2)
    json.dumps(config())
    before = config()
    (tmp_path / "qa.md").write_text("another prompt")
    monkeypatch.setattr("synth.qa._PROMPT_FILE", tmp_path / "qa.md")
    assert config() != before


def test_a_model_of_a_stage_is_an_input() -> None:
    qa = Qa.model_validate({"engine": {"kind": "transformers", "model": "train.cpt"}})
    stage = QaStage(qa, "corpus.filter")
    assert (stage.inputs, stage.aligned) == (("corpus.filter", "train.cpt"), ("corpus.filter",))


def test_workers_ask_for_the_gpus_of_the_recipe_which_are_not_in_the_fingerprint() -> None:
    plain = EngineConfig(kind="vllm", model="m")
    on_gpus = EngineConfig(kind="vllm", model="m", gpus=4)
    stages = [QaStage(Qa(engine=engine), "corpus.filter") for engine in (plain, on_gpus)]
    assert [stage.resources.gpus for stage in stages] == [0, 4]
    assert stages[0].config() == stages[1].config()
