"""The judging stage: with rules, and with a random model that knows nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from core.errors import EngineError, InputError
from core.llm import Choice, Engine, GenerateRequest, Generation, open_engine
from core.llm.cache import prompt_digest
from core.recipe.judge import Judging
from core.rejects import Reason
from core.schema import DOCUMENT, QA_SCORED
from core.stage import ShardResult, StageContext, Unit
from synth.judge import stage as stage_module
from synth.judge.expected import expected_scores, mean_score, score_choices
from synth.judge.stage import JudgeStage, judge_pairs
from synth.judge.verdict import CRITERIA, Verdict, parse_completion, parse_rating, parse_schema
from tests.synth.judge.conftest import pairs_table

PutShard = Callable[[str, pa.Table], Unit]

TEXT = (
    "# Jupiter\n\nJupiter is the largest planet in the Solar System. It has a radius of 69911 km. "
    "Its four largest moons were discovered by Galileo Galilei in 1610."
)
PAIRS = (
    ("Which planet is the largest in the Solar System?", "Jupiter"),
    ("Who discovered the four largest moons of Jupiter?", "Galileo Galilei"),
    ("Who discovered the four largest moons of Jupiter?", "Isaac Newton"),
    ("What does the paper say about the planet?", "It is the largest."),
    ("Which planet is Jupiter?", "Jupiter"),
)


def documents() -> pa.Table:
    row = {"doc_id": "a:0", "source": "a", "title": "Jupiter", "text": TEXT}
    return pa.Table.from_pylist([row], schema=DOCUMENT)


def run(context: StageContext, unit: Unit, section: dict[str, Any]) -> ShardResult:
    stage = JudgeStage(Judging.model_validate(section), "synth.qa", "corpus.filter")
    stage.setup(context)
    try:
        return stage.process(unit, context)
    finally:
        stage.engine.close()


def local(folder: Path, **values: Any) -> dict[str, Any]:
    engine = {"kind": "transformers", "model": str(folder), "sampling": {"max_tokens": 80}}
    return {"engine": engine, **values}


@pytest.fixture
def unit(put_shard: PutShard) -> Unit:
    put_shard("corpus.filter", documents())
    return put_shard("synth.qa", pairs_table(*PAIRS))


def test_the_rules_engine_judges_with_the_passage(context: StageContext, unit: Unit) -> None:
    section = {"engine": {"kind": "rules"}, "passage": True, "explain": True}
    done = run(context, unit, section)
    assert done.kept.schema == QA_SCORED
    assert (done.rows_in, done.kept.num_rows, done.rejected) == (5, 5, [])
    rows = done.kept.to_pylist()
    assert [row["qa_id"] for row in rows] == [f"qa:{n:04d}" for n in range(5)]
    perfect = [all(row[name] == 5 for name in CRITERIA) for row in rows]
    assert perfect == [True, True, False, False, False]
    assert rows[2]["correctness"] == 1
    assert rows[3]["stand_alone"] == 1
    assert rows[4]["pertinence"] == 1
    assert "rules" in rows[0]["judge"]
    assert "'the paper'" in json.loads(rows[3]["verdict_text"])["explanation"]
    assert done.metrics["overall_5"] == 2
    assert run(context, unit, section).kept.equals(done.kept)


def test_batches_do_not_change_the_result(
    context: StageContext, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"engine": {"kind": "rules"}, "passage": True}
    whole = run(context, unit, section)
    monkeypatch.setattr(stage_module, "BATCH_PAIRS", 2)
    parts = run(context, unit, section)
    assert parts.kept.equals(whole.kept)
    assert parts.metrics == whole.metrics


def test_no_pairs_give_no_rows(context: StageContext, put_shard: PutShard) -> None:
    done = run(context, put_shard("synth.qa", pairs_table()), {"engine": {"kind": "rules"}})
    assert (done.kept.schema, done.kept.num_rows, done.rows_in) == (QA_SCORED, 0, 0)


def test_a_pair_whose_document_is_gone(context: StageContext, put_shard: PutShard) -> None:
    put_shard("corpus.filter", documents().slice(0, 0))
    unit = put_shard("synth.qa", pairs_table(*PAIRS))
    with pytest.raises(InputError, match="the document a:0 of the pair qa:0000 is not there"):
        run(context, unit, {"engine": {"kind": "rules"}, "passage": True})


def test_a_random_base_model_gives_rejects_and_no_scores(
    context: StageContext, unit: Unit, roomy_folder: Path
) -> None:
    done = run(context, unit, local(roomy_folder, mode="completion", examples=4, calibrated=True))
    assert done.rows_in == 5 == done.kept.num_rows + len(done.rejected)
    assert done.rejected
    for reject in done.rejected:
        assert reject.reason is Reason.UNPARSED_VERDICT
        shown = json.loads(reject.text or "")
        assert (shown["question"], shown["answer"]) in PAIRS
        assert "verdict" in shown


def test_a_random_model_under_a_schema_scores_every_pair(
    context: StageContext, unit: Unit, roomy_folder: Path
) -> None:
    section = local(roomy_folder, mode="schema", examples=2, calibrated=True)
    done = run(context, unit, section)
    assert done.rejected == []
    assert done.metrics["without_expected_scores"] == 0
    for row in done.kept.to_pylist():
        assert json.loads(row["verdict_text"]) == {name: row[name] for name in CRITERIA}
        assert all(1 < mean < 5 for mean in row["expected_scores"])
        assert len(row["expected_scores"]) == 4
        assert row["judge"] == str(roomy_folder)
        assert len(row["verdict_prompt_sha256"]) == 64
    # Answered from the log: the same bytes.
    assert run(context, unit, section).kept.equals(done.kept)


def test_a_prompt_that_does_not_fit_is_a_reject(
    context: StageContext, unit: Unit, tiny_folder: Path
) -> None:
    done = run(context, unit, local(tiny_folder))
    assert done.kept.num_rows == 0
    assert all("the context holds 256" in reject.detail for reject in done.rejected)


# --- Rows from given answers


class Scripted(Engine):
    """Gives every alternative the same probability, or none at all."""

    label = "scripted"

    def __init__(self, error: str | None = None) -> None:
        self.error = error

    def generate(self, requests: Any) -> Any:
        raise NotImplementedError

    def score(self, requests: Any) -> Any:
        raise NotImplementedError

    def choose(self, requests: Any) -> list[Choice]:
        return [Choice((-1.0,) * len(r.choices), self.error) for r in requests]


def _judged(mode: str, *texts: str, **values: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    engine = values.pop("judge", Scripted())
    section = Judging.model_validate(
        {"engine": {"kind": "transformers", "model": "m"}, "mode": mode, **values}
    )
    pairs = pairs_table(*[(f"Q{n}?", "A.") for n in range(len(texts))]).to_pylist()
    requests = [GenerateRequest(prompt=f"{n} [") for n in range(len(texts))]
    answers = [Generation(text, "stop") for text in texts]
    return judge_pairs(pairs, requests, answers, section, engine)


def test_rows_carry_the_verdict_and_its_prompt() -> None:
    (row,), rejects = _judged("completion", "5, 4, 3, 2] and more")
    assert rejects == []
    assert [row[name] for name in CRITERIA] == [5, 4, 3, 2]
    assert row["verdict_text"] == "5, 4, 3, 2] and more"
    assert row["verdict_prompt_sha256"] == prompt_digest(GenerateRequest(prompt="0 ["))
    assert (row["judge"], row["expected_scores"]) == ("scripted", None)


def test_what_cannot_be_read_is_a_reject_with_its_text() -> None:
    rows, rejects = _judged("completion", "5, 5", "5,5,5,5]", "6, 5, 5, 5]", "5.0, 5, 5, 5]")
    assert [row["qa_id"] for row in rows] == ["qa:0001"]
    assert [r.doc_id for r in rejects] == ["qa:0000", "qa:0002", "qa:0003"]
    assert {r.reason for r in rejects} == {Reason.UNPARSED_VERDICT}
    assert "(finish reason stop)" in rejects[0].detail
    assert json.loads(rejects[0].text or "") == {
        "question": "Q0?",
        "answer": "A.",
        "verdict": "5, 5",
    }


def test_a_rating_fills_overall_alone() -> None:
    (row,), _ = _judged("rating", "Good. [[7]]", calibrated=True)
    assert [row[name] for name in CRITERIA] == [None, None, None, 7]
    assert row["expected_scores"][:3] == [None] * 3
    assert row["expected_scores"][3] == pytest.approx(5.5)


def test_an_engine_without_probabilities_fails_plainly() -> None:
    with pytest.raises(EngineError, match="no probabilities: none here"):
        _judged("completion", "5,5,5,5]", calibrated=True, judge=Scripted("none here"))
    rows, _ = _judged("completion", "5,5", calibrated=True, judge=Scripted("none here"))
    assert rows == []


# --- Mean scores


def test_a_mean_by_hand() -> None:
    shares = [0.05, 0.05, 0.1, 0.3, 0.5]
    # Half of the probability went to other tokens: it is left out.
    choice = Choice(tuple(math.log(share / 2) for share in shares))
    assert mean_score(choice) == pytest.approx(0.05 + 0.1 + 0.3 + 1.2 + 2.5)
    assert mean_score(Choice((-math.inf, -math.inf, -math.inf, -math.inf, -5.0))) == 5
    assert mean_score(Choice((-2000.0,) * 5)) == pytest.approx(3)


@pytest.mark.parametrize(
    "choice", [Choice((), "too long"), Choice((-math.inf,) * 5), Choice((math.nan,) * 5)]
)
def test_no_mean_without_probabilities(choice: Choice) -> None:
    with pytest.raises(ValueError, match=r"too long|no score"):
        expected_scores(parse_completion("5,5,5,5]"), [choice] * 4)


def test_each_score_is_weighed_after_those_before_it() -> None:
    request = GenerateRequest(prompt="Score: [")
    asked = score_choices(request, "5, 4,3,2]", parse_completion("5, 4,3,2]"), 5)
    assert [a.prompt for a in asked] == [
        "Score: [",
        "Score: [5, ",
        "Score: [5, 4,",
        "Score: [5, 4,3,",
    ]
    assert {a.choices for a in asked} == {("1", "2", "3", "4", "5")}


def test_after_chat_turns_the_answer_is_gone_over_again() -> None:
    chat = GenerateRequest(messages=({"role": "user", "content": "x"},))
    text = '{"correctness":5,"stand_alone":4,"pertinence":3,"overall":2}'
    asked = score_choices(chat, text, parse_schema(text), 5)
    assert asked[1].choices[3] == '{"correctness":5,"stand_alone":4'
    rated = score_choices(chat, "Fine. [[7]]", parse_rating("Fine. [[7]]", 10), 10)
    assert [r.choices[0] for r in rated] == ["Fine. [[1]]"]
    assert rated[0].choices[-1] == "Fine. [[10]]"


def test_means_are_those_of_the_models_next_token(roomy_folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = Judging.model_validate(local(roomy_folder)).engine
    request = GenerateRequest(prompt="Question: Why?\nAnswer: Because.\nScore: [")
    verdict: Verdict = parse_completion("5,4,3,2]")
    engine = open_engine(config, str(roomy_folder))
    means = expected_scores(verdict, engine.choose(score_choices(request, "5,4,3,2]", verdict, 5)))
    tokenizer = AutoTokenizer.from_pretrained(roomy_folder)
    model: Any = AutoModelForCausalLM.from_pretrained(roomy_folder)
    for mean, before in zip(means, ("", "5,", "5,4,", "5,4,3,"), strict=True):
        ids = tokenizer(tokenizer.bos_token + request.prompt + before, add_special_tokens=False)
        digits = [tokenizer(d, add_special_tokens=False)["input_ids"] for d in "12345"]
        assert all(len(d) == 1 for d in digits)
        with torch.inference_mode():
            logits = model(torch.tensor([ids["input_ids"]])).logits[0, -1]
        shares = torch.softmax(logits[[d[0] for d in digits]].double(), 0)
        assert mean == pytest.approx(float(shares @ torch.arange(1, 6).double()), abs=1e-5)


# --- What the fingerprint holds


def config(**values: Any) -> dict[str, Any]:
    section = Judging.model_validate({"engine": {"kind": "rules"}, **values})
    return JudgeStage(section, "synth.qa", "corpus.filter").config()


def test_the_config_holds_what_changes_scores() -> None:
    assert config() == config(workers=4)
    for change in ({"passage": True}, {"explain": True}, {"examples": 4}):
        assert config() != config(**change)
    json.dumps(config())
    assert len(config()["prompt_files_sha256"]) == 2
    rating = {"engine": {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}}
    assert len(config(mode="rating", **rating)["prompt_files_sha256"]) == 1


def test_documents_are_an_input_only_where_the_judge_sees_passages() -> None:
    for passage, aligned in ((False, ("synth.qa",)), (True, ("synth.qa", "corpus.filter"))):
        section = Judging.model_validate({"engine": {"kind": "rules"}, "passage": passage})
        stage = JudgeStage(section, "synth.qa", "corpus.filter", name="synth.judge_second")
        assert (stage.aligned, stage.inputs, stage.name) == (aligned, aligned, "synth.judge_second")
