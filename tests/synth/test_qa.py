"""The Q&A stage: passages asked about, rows, rejects, and what its output depends on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast

from core.errors import RecipeError
from core.hashing import sha256_value
from core.llm import GenerateRequest, Generation
from core.llm.cache import prompt_digest
from core.recipe.engine import Engine as EngineConfig
from core.recipe.qa import Qa
from core.rejects import Reason, Reject
from core.schema import DOCUMENT, QA_PAIR, SUMMARY
from core.shards import shard_name, write_shard
from core.stage import StageContext, Unit
from synth.chunks import token_counter
from synth.qa import Asked, QaStage, check_answer, find_passages, qa_table
from synth.qa_prompt import PROMPT_FILE, STYLES_FILE, Passage, open_prompt
from tests.conftest import PutShard

PASSAGE = Passage("a:1", "Jupiter", 10, 40, "Jupiter is the largest planet.", pairs=3)
GOOD = {"question": "Which planet is the largest?", "answer": "Jupiter."}


def section(**changes: Any) -> Qa:
    return Qa.model_validate({"engine": {"kind": "rules"}, **changes})


def words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def _documents(*texts: str | None, title: str | None = "Stars") -> pa.Table:
    rows = [
        {"doc_id": f"a:{n}", "source": "a", "title": title, "text": text}
        for n, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def _answer(*pairs: Any, finish_reason: str = "stop") -> Generation:
    return Generation(json.dumps({"pairs": list(pairs)}), finish_reason)


# --- What is asked about

PAPER = (
    "# Stars\n\nStars shine by fusion. " + "They do so for long. " * 3 + "\n\n"
    "## 1. Data\n\nThe data are good. " + "They are many. " * 6 + "\n\n"
    "## References\n\nA. Author 2001, ApJ, 1, 1"
)


def _asked(text: str | None, summaries: dict[str, str] | None = None, **changes: Any) -> Asked:
    qa = section(**{"chunk_tokens": 40, "overlap_tokens": 0, "min_passage_tokens": 2, **changes})
    return find_passages(_documents(text), summaries or {}, words, qa)


def test_passages_carry_document_place_section_summary_and_number_of_pairs() -> None:
    asked = _asked(PAPER, {"a:0": "On\n stars. ", "b:0": "Other."}, pairs_per_chunk=4)
    first, second = asked.passages
    assert (first.doc_id, first.title, first.summary) == ("a:0", "Stars", "On stars.")
    # The heading that is the title is not a section of it.
    assert (first.section, second.section) == ((), ("1. Data",))
    for passage in asked.passages:
        assert PAPER[passage.start_char : passage.end_char] == passage.text
    # 21 and 26 of 40 tokens, of four pairs: 2.1 and 2.6.
    assert (first.pairs, second.pairs) == (3, 3)
    assert asked.metrics == {
        "passage_tokens": sum(words([p.text for p in asked.passages])),
        "overlapping": 0,
        "sections_skipped": 1,
        "paragraphs_cut": 0,
    }


def test_skipped_sections_are_rejects_with_their_text() -> None:
    (reject,) = _asked(PAPER).rejects
    assert reject == Reject(
        "a:0",
        Reason.SKIPPED_SECTION,
        "the section 'References' is not asked about",
        "## References\n\nA. Author 2001, ApJ, 1, 1",
    )
    assert _asked(PAPER, skip_sections=[]).rejects == []
    (reject,) = _asked(PAPER, skip_sections=["DATA:"]).rejects
    assert (reject.text or "").startswith("## 1. Data")


@pytest.mark.parametrize("text", [None, "", " \n\n "])
def test_a_document_without_text_is_a_reject(text: str | None) -> None:
    asked = _asked(text)
    assert asked.passages == []
    assert [(r.reason, r.text) for r in asked.rejects] == [(Reason.EMPTY_TEXT, text or "")]


def test_a_passage_too_short_to_ask_about_is_a_reject() -> None:
    asked = _asked("# Page 1", min_passage_tokens=4)
    assert asked.passages == []
    assert [(r.reason, r.detail, r.text) for r in asked.rejects] == [
        (Reason.TOO_SHORT, "passage of 3 tokens, at least 4", "# Page 1")
    ]


@pytest.mark.parametrize(
    "changes",
    [{"chunk_tokens": 100, "overlap_tokens": 51}, {"chunk_tokens": 40, "min_passage_tokens": 41}],
)
def test_limits_that_leave_nothing_to_ask_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        section(**{"overlap_tokens": 0, **changes})


# --- Answers


def _checked(answer: Generation) -> tuple[list[tuple[str, str]], list[tuple[Reason, str]]]:
    good, rejects = check_answer(PASSAGE, answer, section())
    assert all(r.doc_id == "a:1" for r in rejects)
    return good, [(r.reason, r.detail) for r in rejects]


def test_good_pairs_are_stripped() -> None:
    pair = {"question": " Which planet is the largest?\n", "answer": "\tJupiter. "}
    assert _checked(_answer(pair)) == ([(GOOD["question"], "Jupiter.")], [])


def test_an_unfit_pair_is_a_reject_with_its_text_and_the_others_stay() -> None:
    bad = {"question": "What does the paper say about \u03b1?", "answer": "x"}
    good, (reject,) = check_answer(PASSAGE, _answer(GOOD, bad, GOOD), section())
    assert len(good) == 2
    assert (reject.reason, reject.detail) == (
        Reason.LEANS_ON_SOURCE,
        "the question leans on 'the paper'",
    )
    assert reject.text == json.dumps(bad, ensure_ascii=False)


def test_an_answer_that_was_cut_off_gives_its_whole_pairs_and_a_reject() -> None:
    text = json.dumps({"pairs": [GOOD, GOOD]})[:-12]
    good, (reject,) = check_answer(PASSAGE, Generation(text, "length"), section())
    assert good == [(GOOD["question"], GOOD["answer"])]
    assert reject.reason is Reason.MALFORMED_OUTPUT
    assert reject.detail.endswith("; 1 whole before (finish reason length)")
    assert (reject.text or "").startswith('{"question": "Which')


def test_malformed_output_keeps_the_text_and_why_it_ended() -> None:
    good, (reject,) = check_answer(PASSAGE, Generation("Sure!", "stop"), section())
    assert (good, reject.reason, reject.text) == ([], Reason.MALFORMED_OUTPUT, "Sure!")
    assert reject.detail.startswith("JSONDecodeError: ")
    assert reject.detail.endswith("(finish reason stop)")


def test_an_engines_error_is_malformed_output() -> None:
    answer = Generation("half", "error", error="the server gave up")
    assert _checked(answer) == ([], [(Reason.MALFORMED_OUTPUT, "the server gave up")])


def test_no_pairs() -> None:
    _, (reject,) = check_answer(PASSAGE, _answer(), section())
    assert (reject.reason, reject.text) == (Reason.NO_PAIRS, PASSAGE.text)


# --- Rows


def _requests(passages: Sequence[Passage]) -> list[GenerateRequest]:
    prompt = open_prompt(PROMPT_FILE, STYLES_FILE)
    return [prompt.request(p, section(), 1) for p in passages]


def test_rows_carry_their_passage_prompt_and_model() -> None:
    (request,) = _requests([PASSAGE])
    other = {"question": "What is Jupiter?", "answer": "A planet."}
    table, rejects = qa_table([PASSAGE], [request], [_answer(GOOD, other)], "tiny", section())
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


def test_a_question_is_asked_once_in_a_shard() -> None:
    asked = [PASSAGE, Passage("a:2", "", 0, 5, "other")]
    again = {"question": " which  planet is the LARGEST?", "answer": "It is Jupiter."}
    answers = [_answer(GOOD, again), _answer(GOOD)]
    table, rejects = qa_table(asked, _requests(asked), answers, "tiny", section())
    assert table["answer"].to_pylist() == ["Jupiter."]
    assert [(r.doc_id, r.reason, r.detail) for r in rejects] == [
        ("a:1", Reason.DUPLICATE_QUESTION, "asked before, in the passage a:1:10"),
        ("a:2", Reason.DUPLICATE_QUESTION, "asked before, in the passage a:1:10"),
    ]
    assert json.loads(rejects[1].text or "") == GOOD


def test_nothing_asked_gives_no_row() -> None:
    table, rejects = qa_table([], [], [], "tiny", section())
    assert (table.schema, table.num_rows, rejects) == (QA_PAIR, 0, [])


# --- The stage

TEXT = (
    "# Giants\n\nJupiter is the largest planet in the Solar System. Its radius is 69911 km.\n\n"
    "Saturn is a gas giant. Titan is the largest moon of Saturn.\n\n"
    "## Acknowledgements\n\nThe author thanks Galileo, who is the father of observation."
)
BASE = "train.base"


@pytest.fixture
def base(context: StageContext, tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.save_pretrained(context.folder(BASE) / "model")


def _stage(summaries: str | None = None, **changes: Any) -> QaStage:
    qa = section(**{"chunk_tokens": 80, "overlap_tokens": 0, "min_passage_tokens": 8, **changes})
    return QaStage(qa, "corpus.filter", BASE, summaries)


@pytest.mark.usefixtures("base")
def test_the_stage_with_the_rules_engine(context: StageContext, put_shard: PutShard) -> None:
    unit = put_shard("corpus.filter", _documents(TEXT, "No fact at all here! None!", None))
    results = []
    for _ in range(2):
        stage = _stage()
        stage.setup(context)
        results.append(stage.process(unit, context))
    one, two = results
    assert one.kept.equals(two.kept)
    assert one.kept.num_rows > 0
    assert one.rows_in == one.kept.num_rows + len(one.rejected)
    assert one.metrics["passages"] == 3
    assert one.metrics["sections_skipped"] == 1
    assert "rules" in one.kept["model"][0].as_py()
    assert Counter(r.reason for r in one.rejected) == {
        Reason.SKIPPED_SECTION: 1,
        Reason.NO_PAIRS: 1,
        Reason.EMPTY_TEXT: 1,
    }
    for row in one.kept.to_pylist():
        passage = TEXT[row["chunk_start_char"] : row["chunk_end_char"]]
        assert row["answer"].rstrip(".") in passage
        assert "Galileo" not in row["question"] + row["answer"]


@pytest.mark.usefixtures("base")
def test_prompts_hold_the_short_summaries_there_are(
    context: StageContext, put_shard: PutShard, tokenizer: PreTrainedTokenizerFast
) -> None:
    documents = _documents(TEXT, TEXT.replace("Jupiter", "Neptune"), TEXT.replace("Titan", "Rhea"))
    unit = put_shard("corpus.filter", documents)
    rows = [
        {"doc_id": "a:2", "short": "Third in short."},
        {"doc_id": "a:0", "short": "First in short."},
        {"doc_id": "a:1", "short": None},
    ]
    made = pa.Table.from_pylist(rows, schema=SUMMARY)
    write_shard(context.folder("synth.summaries") / shard_name(0), made)
    stage = _stage("synth.summaries")
    assert stage.inputs == ("corpus.filter", "synth.summaries", BASE)
    stage.setup(context)
    kept = stage.process(unit, context).kept
    prompt = open_prompt(PROMPT_FILE, STYLES_FILE)
    qa = section(chunk_tokens=80, overlap_tokens=0, min_passage_tokens=8)
    summaries = {"a:0": "First in short.", "a:2": "Third in short."}
    asked = find_passages(documents, summaries, token_counter(tokenizer), qa)
    assert {(p.doc_id, p.summary) for p in asked.passages} == {("a:1", ""), *summaries.items()}
    asked_for = {
        (p.doc_id, p.start_char, prompt_digest(prompt.request(p, qa, 1))) for p in asked.passages
    }
    rows_of = ("doc_id", "chunk_start_char", "prompt_sha256")
    found = set(zip(*(kept[name].to_pylist() for name in rows_of), strict=True))
    assert found <= asked_for
    assert {doc_id for doc_id, _, _ in found} == {"a:0", "a:1", "a:2"}


@pytest.mark.usefixtures("base")
def test_a_prompt_of_ones_own_is_a_source_file(context: StageContext, put_shard: PutShard) -> None:
    own = context.root / "my.md"
    own.write_text("Ask about {{ title }}: {{ styles[0] }} {{ passage }}")
    (context.root / "kinds.yaml").write_text("one: First.")
    stage = _stage(prompt="my.md", styles="kinds.yaml")
    assert stage.source_files(context) == [context.root / "kinds.yaml", own]
    assert stage.config()["prompt_sha256"] is None
    stage.setup(context)
    kept = stage.process(put_shard("corpus.filter", _documents(TEXT)), context).kept
    for row in kept.to_pylist():
        passage = TEXT[row["chunk_start_char"] : row["chunk_end_char"]]
        message = {"role": "user", "content": f"Ask about Stars: First. {passage}"}
        assert row["prompt_sha256"] == sha256_value([message])
    assert kept.num_rows > 0
    assert _stage().source_files(context) == []


def test_broken_files_and_unknown_languages_are_told_before_anything_is_asked(
    context: StageContext,
) -> None:
    (context.root / "my.md").write_text("{{ chapter }}")
    with pytest.raises(RecipeError, match="'chapter' is undefined"):
        _stage(prompt="my.md").source_files(context)
    with pytest.raises(RecipeError, match=r"kinds\.yaml"):
        _stage(styles="kinds.yaml").source_files(context)
    with pytest.raises(RecipeError, match=r"synth\.qa\.language"):
        _stage(language="qqq").setup(context)


def test_workers_do_not_change_the_config_but_prompt_and_limits_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _stage().config()
    assert before == _stage(workers=5).config()
    json.dumps(before)
    changed: list[dict[str, Any]] = [
        {"pairs_per_chunk": 2},
        {"chunk_tokens": 90},
        {"skip_sections": ["references"]},
        {"language": "de"},
        {"prompt": "my.md"},
    ]
    configs = [_stage(**changes).config() for changes in changed]
    configs.append(_stage("synth.summaries").config())
    (tmp_path / "qa.md").write_text("another prompt")
    monkeypatch.setattr("synth.qa.PROMPT_FILE", tmp_path / "qa.md")
    configs.append(_stage().config())
    monkeypatch.setattr("synth.qa.STYLES_FILE", tmp_path / "qa.md")
    configs.append(_stage().config())
    known = [json.dumps(config, sort_keys=True) for config in [before, *configs]]
    assert len(set(known)) == len(known)


def test_models_and_tokenizer_of_stages_are_inputs_once() -> None:
    def inputs(model: str, tokenizer: str) -> tuple[str, ...]:
        engine = EngineConfig(kind="transformers", model=model)
        stage = QaStage(Qa(engine=engine), "corpus.filter", tokenizer, None)
        assert stage.aligned == ("corpus.filter",)
        return stage.inputs

    assert inputs("train.cpt", BASE) == ("corpus.filter", "train.cpt", BASE)
    assert inputs(BASE, BASE) == ("corpus.filter", BASE)
    assert inputs("models/own", "models/own") == ("corpus.filter",)


def test_a_tokenizer_folder_of_the_users_own_is_read_and_hashed(
    context: StageContext, put_shard: PutShard, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.save_pretrained(context.root / "own")
    qa = section(chunk_tokens=80, overlap_tokens=0)
    stage = QaStage(qa, "corpus.filter", "own", None)
    names = {path.name for path in stage.source_files(context)}
    assert {"tokenizer.json", "tokenizer_config.json"} <= names
    stage.setup(context)
    unit: Unit = put_shard("corpus.filter", _documents(TEXT))
    assert stage.process(unit, context).kept.num_rows > 0


def test_workers_ask_for_the_gpus_of_the_recipe_which_are_not_in_the_fingerprint() -> None:
    plain = EngineConfig(kind="vllm", model="m")
    on_gpus = EngineConfig(kind="vllm", model="m", gpus=4)
    stages = [QaStage(Qa(engine=e), "corpus.filter", BASE, None) for e in (plain, on_gpus)]
    assert [stage.resources.gpus for stage in stages] == [0, 4]
    assert stages[0].config() == stages[1].config()
