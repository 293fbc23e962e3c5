"""Summaries: parts, rounds, checks, and the conversations that ask for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

from core.errors import InputError
from core.hashing import sha256_value
from core.llm import GenerateRequest, Generation
from core.llm.rules import LABEL, RulesEngine
from core.recipe.summaries import Summaries
from core.rejects import Reason
from core.schema import CONVERSATION, DOCUMENT, SUMMARY
from core.stage import StageContext, Unit
from synth.metadata.paper import paper_of
from synth.metadata.wording import SummaryWording, read_wording
from synth.summaries import SummariesStage, Summarizer
from synth.summary_checks import NotUsedError, check_summary, read_answer, schema
from synth.summary_conversations import (
    WORDING_FILE,
    SummaryConversationsStage,
    summary_messages,
)
from synth.summary_parts import groups_of, parts_of
from synth.summary_requests import SummaryRequests

PutShard = Callable[[str, pa.Table], Unit]

PROSE = "The star was seen to vary by half a magnitude over ninety nights. "
GOOD = "Astronomers measured how the light of a young star changes. " * 5
SHORT = "A young star varies."


def section(**values: Any) -> Summaries:
    given = {"engine": {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9"}}
    return Summaries.model_validate({**given, "min_tokens": 1, **values})


def count(texts: list[str]) -> list[int]:
    """A tokenizer whose tokens are words."""
    return [len(text.split()) for text in texts]


def documents(*texts: str | None, source: str = "arxiv") -> pa.Table:
    rows = [
        {"doc_id": f"a:{n}", "source": source, "title": f"Star {n}", "text": text}
        for n, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def answered(summary: Any = GOOD, short: Any = SHORT) -> Generation:
    return Generation(json.dumps({"summary": summary, "short": short}), "stop")


# --- Parts


def test_a_short_document_is_one_part_whatever_its_sections() -> None:
    text = (
        "# T\n\nOne two.\n\n## A\n\nThree four.\n\n## References\n\nNobody 1999.\n\n## B\n\nFive."
    )
    (parts,) = parts_of([text], count, 100, {"references"})
    assert len(parts.texts) == 1
    assert "Nobody" not in parts.texts[0]
    assert parts.texts[0].endswith("## B\n\nFive.")
    assert parts_of(["", "# References\n\nX."], count, 100, {"references"})[0].texts == ()


def test_parts_keep_to_the_budget_and_lose_nothing() -> None:
    text = "\n\n".join(f"## S{n}\n\n" + f"word{n} " * 30 for n in range(10))
    (parts,) = parts_of([text], count, 100, ())
    assert len(parts.texts) == 4
    assert all(len(part.split()) <= 100 for part in parts.texts)
    assert " ".join(parts.texts).split() == text.split()
    assert parts.tokens == len(text.split())


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([500], [1]),
        ([30, 30, 30], [3]),
        ([60, 30, 30, 60], [3, 1]),
        ([200, 200, 200, 200, 200], [2, 2, 1]),
    ],
)
def test_groups_fit_and_are_fewer_than_their_members(sizes: list[int], groups: list[int]) -> None:
    found = groups_of(sizes, 120)
    assert [len(group) for group in found] == groups
    assert [place for group in found for place in group] == list(range(len(sizes)))


# --- Answers


def test_the_schema() -> None:
    whole = schema(section(), short=True)
    jsonschema.Draft202012Validator.check_schema(whole)
    accepts = jsonschema.Draft202012Validator(whole).is_valid
    assert accepts({"summary": "x", "short": "y"})
    assert not accepts({"summary": "x"})
    assert not accepts({"summary": "x" * 4001, "short": "y"})
    assert not accepts({"summary": "", "short": "y"})
    assert jsonschema.Draft202012Validator(schema(section(), False)).is_valid({"summary": "x"})


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"summary": f" {GOOD}\n", "short": SHORT}),
        "```json\n" + json.dumps({"summary": GOOD, "short": SHORT}) + "\n```",
        "<think>{hm}</think> Here: " + json.dumps({"short": SHORT, "summary": GOOD, "x": 1}),
    ],
)
def test_answers_that_can_be_read(text: str) -> None:
    assert read_answer(Generation(text, "stop"), True) == (GOOD.strip(), SHORT)


@pytest.mark.parametrize(
    ("answer", "reason", "detail"),
    [
        (Generation("half", "error", error="gave up"), "malformed_output", "gave up"),
        (Generation("", "stop"), "malformed_output", "JSONDecodeError"),
        (Generation("Sure!", "stop"), "malformed_output", "JSONDecodeError"),
        (Generation('{"summary": "Stars', "length"), "malformed_output", "(finish reason length)"),
        (Generation('{"summary": "x"}', "stop"), "malformed_output", "KeyError: 'short'"),
        (Generation("[]", "stop"), "malformed_output", "TypeError"),
        (Generation('{"a":' * 100_000, "stop"), "malformed_output", "RecursionError"),
        (answered(summary=5), "malformed_output", "a value is not text"),
        (answered(short=["x"]), "malformed_output", "a value is not text"),
        (answered(summary="a \ud83d star"), "malformed_output", "half of a surrogate pair"),
        (answered(summary="a \x07 star"), "malformed_output", "a control character"),
        (answered(summary=" \n"), "no_summary", "it is empty"),
        (answered(short=" "), "no_summary", "it is empty"),
    ],
)
def test_answers_that_cannot_be_read(answer: Generation, reason: str, detail: str) -> None:
    with pytest.raises(NotUsedError) as caught:
        read_answer(answer, True)
    assert caught.value.reason == reason
    assert detail in caught.value.detail


@pytest.mark.parametrize(
    ("summary", "short", "detail"),
    [
        ("Too few words.", SHORT, "3 words, at least 30"),
        (GOOD * 20, SHORT, "summary of 6000 characters, at most 4000"),
        (GOOD, SHORT * 50, "short version of 1000 characters, at most 600"),
        (f"{GOOD}This passage tells more.", SHORT, "summary speaks of 'This passage'"),
        (f"{GOOD}As the given text says.", SHORT, "speaks of 'the given text'"),
        (f"{GOOD}It is part 2 of 3.", SHORT, "speaks of 'part 2 of 3'"),
        (GOOD, "The summaries of the parts agree.", "short version speaks of"),
        (f"Here is a summary: {GOOD}", SHORT, "begins with 'Here is a'"),
        (f"Sure! {GOOD}", SHORT, "begins with 'Sure'"),
    ],
)
def test_summaries_that_are_not_used(summary: str, short: str, detail: str) -> None:
    with pytest.raises(NotUsedError) as caught:
        check_summary(summary, short, PROSE, section())
    assert caught.value.reason is Reason.NO_SUMMARY
    assert detail in caught.value.detail


def test_a_summary_may_say_this_paper_and_borrow_a_sentence() -> None:
    text = " ".join(f"word{n}" for n in range(200))
    borrowed = " ".join(f"word{n}" for n in range(20, 60))
    check_summary(f"{GOOD}This paper shows it. {borrowed}", SHORT, text, section())
    copied = " ".join(f"Word{n}," for n in range(20, 90))
    with pytest.raises(NotUsedError, match="more than 60 words in a row are the document's"):
        check_summary(GOOD + copied, SHORT, text, section())
    with pytest.raises(NotUsedError, match="in a row"):
        check_summary(borrowed, SHORT, borrowed, section())
    # The rules copy sentences and do nothing else.
    check_summary(copied, SHORT, text, section(engine={"kind": "rules"}))


# --- Rounds


class Scribe:
    """Answers a round's requests by a function, and remembers them."""

    def __init__(self, write: Callable[[GenerateRequest], Generation]) -> None:
        self._write = write
        self.rounds: list[list[GenerateRequest]] = []

    def __call__(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        self.rounds.append(list(requests))
        return [self._write(request) for request in requests]

    def kinds(self) -> list[list[str]]:
        return [[request.inputs["kind"] for request in batch] for batch in self.rounds]


def _write(request: GenerateRequest) -> Generation:
    """Sums up by saying which words it was given."""
    seen = " ".join(sorted({w for w in request.inputs["text"].split() if w.startswith("part")}))
    value = {"summary": f"{seen} " + "in other words " * 8}
    return Generation(
        json.dumps(value | ({"short": "S."} if request.inputs["short"] else {})), "stop"
    )


def _long(parts: int) -> str:
    return "\n\n".join(f"## S{n}\n\n" + f"part{n} " * 88 for n in range(parts))


def _summarize(
    context: StageContext, table: pa.Table, scribe: Scribe, **values: Any
) -> tuple[list[dict[str, Any]], list[Any], dict[str, Any]]:
    recipe = section(part_tokens=100, min_summary_words=5, **values)
    summarizer = Summarizer(recipe, SummaryRequests(recipe, context), count, "m")
    kept, rejects = summarizer.run(table, scribe)
    assert kept.schema == SUMMARY
    assert kept.num_rows + len(rejects) == table.num_rows
    return kept.to_pylist(), rejects, summarizer.metrics


def test_documents_of_all_lengths_share_their_rounds(context: StageContext) -> None:
    scribe = Scribe(_write)
    rows, rejects, metrics = _summarize(context, documents(_long(1), _long(3), _long(7)), scribe)
    assert rejects == []
    # Four summaries of 25 words fit a prompt of 100, seven do not: they take a third round.
    assert scribe.kinds() == [
        ["whole"] + ["part"] * 10,
        ["combine"] + ["combine"] * 2,
        ["combine"],
    ]
    assert [row["doc_id"] for row in rows] == ["a:0", "a:1", "a:2"]
    for row, parts in zip(rows, (1, 3, 7), strict=True):
        assert [w for w in row["summary"].split() if w.startswith("part")] == [
            f"part{n}" for n in range(parts)
        ]
    assert rows[2]["prompt_sha256"] == sha256_value(list(scribe.rounds[2][0].messages))
    assert (rows[0]["title"], rows[0]["short"], rows[0]["model"]) == ("Star 0", "S.", "m")
    assert metrics == {"requests": 15, "documents_in_parts": 2, "parts": 10, "parts_lost": 0}


def test_requests_hold_what_they_are_about(context: StageContext) -> None:
    scribe = Scribe(_write)
    _summarize(context, documents(_long(3)), scribe)
    second = scribe.rounds[0][1]
    (message,) = second.messages
    assert "part 2 of 3" in message["content"]
    assert "part1 part1" in message["content"]
    assert "Title: Star 0" in message["content"]
    assert second.seed == context.seed
    assert second.schema is not None
    assert list(second.schema["properties"]) == ["summary"]
    (last,) = scribe.rounds[1]
    assert last.schema is not None
    assert list(last.schema["properties"]) == ["summary", "short"]
    assert '"short"' in last.messages[0]["content"]


def test_a_document_is_summarised_without_a_part_that_failed(context: StageContext) -> None:
    def write(request: GenerateRequest) -> Generation:
        return (
            Generation("no", "stop") if "part3 part3" in request.inputs["text"] else _write(request)
        )

    table = documents(_long(5), _long(4))
    rows, (reject,), metrics = _summarize(context, table, Scribe(write), min_parts_share=0.8)
    assert [row["doc_id"] for row in rows] == ["a:0"]
    assert "part3" not in rows[0]["summary"]
    assert metrics["parts_lost"] == 2
    assert (reject.doc_id, reject.reason, reject.text) == ("a:1", Reason.MALFORMED_OUTPUT, "no")
    assert reject.detail.startswith("1 of 4 parts without a summary, first: JSONDecodeError")


def test_the_last_answer_must_do(context: StageContext) -> None:
    def write(request: GenerateRequest) -> Generation:
        return answered("Too short.") if request.inputs["short"] else _write(request)

    _, rejects, metrics = _summarize(context, documents(_long(1), _long(3)), Scribe(write))
    assert [(r.doc_id, r.reason, r.detail) for r in rejects] == [
        ("a:0", Reason.NO_SUMMARY, "2 words, at least 5"),
        ("a:1", Reason.NO_SUMMARY, "2 words, at least 5"),
    ]
    assert "Too short." in rejects[0].text
    assert metrics["parts_lost"] == 0


def test_documents_that_are_not_asked_for(context: StageContext) -> None:
    scribe = Scribe(_write)
    table = pa.concat_tables(
        [documents(PROSE), documents(PROSE, source="web"), documents("Brief.", None, "")]
    )
    rows, rejects, _ = _summarize(context, table, scribe, sources=["arxiv"], min_tokens=5)
    assert len(rows) == 1
    assert [(r.reason, r.detail) for r in rejects] == [
        (Reason.NOT_SAMPLED, "source 'web' is not in synth.summaries.sources"),
        (Reason.TOO_SHORT, "1 tokens, at least 5"),
        (Reason.EMPTY_TEXT, "no text to summarise"),
        (Reason.EMPTY_TEXT, "no text to summarise"),
    ]
    nothing = Scribe(_write)
    _summarize(context, documents(None), nothing)
    assert nothing.rounds == []


# --- Prompts of the user's own


def test_own_prompts(context: StageContext) -> None:
    context.root.joinpath("own.md").write_text("Sum up {{ title }}: {{ text }}")
    recipe = section(prompts={"whole": "own.md"})
    request = SummaryRequests(recipe, context).whole("T & {{ x }}", "a < b {% raw %}")
    assert request.messages[0]["content"] == "Sum up T & {{ x }}: a < b {% raw %}"
    stage = SummariesStage(recipe, "corpus.filter", "train.base")
    assert context.root / "own.md" in stage.source_files(context)
    assert sorted(stage.config()["prompts_sha256"]) == ["combine", "part"]


@pytest.mark.parametrize(
    "text", ["{{ nothing }}", "{% for %}", "{{ title.__class__.__mro__[1].__subclasses__() }}",
     "Sum up {text}", "{{ text + 1 }}", "{% include 'x' %}"],
)  # fmt: skip
def test_prompts_that_cannot_be_used(context: StageContext, text: str) -> None:
    context.root.joinpath("own.md").write_text(text)
    with pytest.raises(InputError) as caught:
        SummaryRequests(section(prompts={"part": "own.md"}), context)
    assert "own.md" in caught.value.where
    with pytest.raises(InputError, match="cannot use this prompt"):
        SummaryRequests(section(prompts={"part": "none.md"}), context)


# --- The rules, which are no model

PAPER = """# Spots on a red dwarf

## Abstract

We followed the red dwarf for ninety nights. Its light fell by half a magnitude every four days.
However, this was not always so. The dips are due to dark spots near its pole.

## Methods

A telescope of two metres took one picture a night. Figure 3 shows the pictures of all nights.

## Conclusions

Spots near the pole of a red dwarf live for more than ninety days. They grow in winter too.
"""


def test_the_rules_take_sentences_of_abstract_and_conclusions(context: StageContext) -> None:
    requests = SummaryRequests(section(engine={"kind": "rules"}), context)
    (answer,) = RulesEngine().generate([requests.whole("Spots", PAPER)])
    assert json.loads(answer.text) == {
        "summary": "We followed the red dwarf for ninety nights. "
        "Its light fell by half a magnitude every four days. "
        "The dips are due to dark spots near its pole. "
        "Spots near the pole of a red dwarf live for more than ninety days.",
        "short": "We followed the red dwarf for ninety nights.",
    }
    part = requests.part(
        "Spots", PAPER.replace("Abstract", "One").replace("Conclusions", "Two"), 1, 2
    )
    (answer,) = RulesEngine().generate([part])
    assert json.loads(answer.text)["summary"].startswith("We followed the red dwarf")
    assert "A telescope of two metres" in json.loads(answer.text)["summary"]
    (empty,) = RulesEngine().generate([requests.whole("Nothing", "$$x = 1$$")])
    assert json.loads(empty.text)["summary"] == ""


# --- The stages


def _stage(context: StageContext, tokenizer: PreTrainedTokenizerFast, **values: Any) -> Any:
    folder = context.root / "tokenizer"
    tokenizer.save_pretrained(str(folder))
    recipe = section(engine={"kind": "rules"}, min_tokens=20, **values)
    stage = SummariesStage(recipe, "corpus.filter", "tokenizer")
    stage.setup(context)
    return recipe, stage


def test_from_documents_to_conversations(
    context: StageContext, put_shard: PutShard, tokenizer: PreTrainedTokenizerFast
) -> None:
    meta = json.dumps({"authors": "A. Name, B. Other and C. Third"})
    long = "\n".join(PAPER.replace("ninety", f"{n} hundred") for n in range(2, 11))
    common = {"source": "arxiv", "created": date(2009, 4, 2), "meta": meta}
    rows = [
        {"doc_id": "arxiv:0904.0001", "title": "Spots on a red dwarf", "text": PAPER, **common},
        {"doc_id": "arxiv:0904.0002", "title": "Long", "text": long, **common},
        {"doc_id": "notes:1", "title": None, "text": PAPER, "source": "notes"},
        {"doc_id": "notes:2", "title": "Short", "text": "Stars.", "source": "notes"},
    ]
    unit = put_shard("corpus.filter", pa.Table.from_pylist(rows, schema=DOCUMENT))
    recipe, stage = _stage(context, tokenizer, part_tokens=600)
    result = stage.process(unit, context)
    assert result.kept.equals(
        _stage(context, tokenizer, part_tokens=600)[1].process(unit, context).kept
    )
    assert (result.rows_in, result.kept.num_rows) == (4, 3)
    assert [(r.doc_id, r.reason) for r in result.rejected] == [("notes:2", Reason.TOO_SHORT)]
    assert result.metrics["documents_in_parts"] >= 1
    assert result.kept["model"].to_pylist() == [LABEL] * 3
    assert stage.source_files(context)

    put_shard("synth.summaries", result.kept)
    asking = SummaryConversationsStage(recipe, "synth.summaries", "corpus.filter", "Be brief.")
    made = asking.process(unit, context)
    assert made.kept.schema == CONVERSATION
    assert made.rows_in == made.kept.num_rows + len(made.rejected) == 3
    assert [(r.doc_id, r.reason) for r in made.rejected] == [("notes:1", Reason.NO_TITLE)]
    for row, summary in zip(made.kept.to_pylist(), result.kept.to_pylist(), strict=False):
        system, question, answer = row["messages"]
        assert (row["dataset"], row["doc_ids"]) == ("summaries", [summary["doc_id"]])
        assert system == {"role": "system", "content": "Be brief."}
        named = (summary["title"], summary["doc_id"].removeprefix("arxiv:"))
        assert any(name in question["content"] for name in named)
        assert answer["content"].endswith((summary["summary"], summary["short"]))


def test_summaries_by_a_model_that_is_held_to_the_schema(
    context: StageContext, put_shard: PutShard, tiny_folder: Path
) -> None:
    for name, text in (("whole", "{{ text }}"), ("part", "{{ text }}"), ("combine", "{{ text }}")):
        context.root.joinpath(f"{name}.md").write_text(text)
    recipe = section(
        engine={
            "kind": "transformers",
            "model": str(tiny_folder),
            "sampling": {"max_tokens": 190, "temperature": 1.0},
        },
        part_tokens=64,
        min_summary_words=1,
        max_summary_chars=100,
        max_short_chars=50,
        min_parts_share=0.5,
        prompts={name: f"{name}.md" for name in ("whole", "part", "combine")},
    )
    unit = put_shard("corpus.filter", documents("Jupiter is a planet.", PROSE + "\n\n" + PROSE))
    log = context.run_dir / "cache/llm/synth.summaries/00000.jsonl"
    results, logs = [], []
    for _ in range(2):
        stage = SummariesStage(recipe, "corpus.filter", str(tiny_folder))
        stage.setup(context)
        results.append(stage.process(unit, context))
        logs.append(log.read_bytes())
    one, two = results
    # The second time every answer, of all rounds, comes from the log of requests.
    assert logs[0] == logs[1]
    assert one.kept.equals(two.kept)
    assert one.rejected == two.rejected
    # A random model writes noise, but noise that fits the schema.
    assert one.kept.num_rows + len(one.rejected) == 2
    assert one.metrics["documents_in_parts"] == 1
    assert one.metrics["requests"] >= 1 + one.metrics["parts"]
    for reject in one.rejected:
        assert reject.reason is Reason.NO_SUMMARY or reject.detail.endswith("a control character")
        assert json.loads(reject.text or "", strict=False)["summary"]


def test_configurations(context: StageContext) -> None:
    def config(**values: Any) -> dict[str, Any]:
        return SummariesStage(section(**values), "corpus.filter", "train.base").config()

    assert config() == config(workers=3) == config(questions={"short_share": 0.5})
    assert config() != config(part_tokens=100)
    json.dumps(config())
    stage = SummariesStage(section(), "corpus.filter", "train.base")
    assert (stage.inputs, stage.aligned) == (("corpus.filter", "train.base"), ("corpus.filter",))
    asking = SummaryConversationsStage(section(), "synth.summaries", "corpus.filter", None)
    assert asking.aligned == asking.inputs == ("synth.summaries", "corpus.filter")
    other = SummaryConversationsStage(section(part_tokens=100), "s", "d", None)
    assert asking.config() == other.config()
    own = section(questions={"wording": "own.yaml"})
    stage_of_own = SummaryConversationsStage(own, "s", "d", None)
    assert stage_of_own.source_files(context) == [context.root / "own.yaml"]


# --- Conversations


def test_prompts_vary_and_name_the_document() -> None:
    wording = read_wording(WORDING_FILE, SummaryWording, "astronomy")
    meta = {"authors": "A. Name, B. Other and C. Third"}
    paper = paper_of("arxiv:0904.0001", "Spots", date(2009, 4, 2), meta)
    asked = [summary_messages(paper, "LONG", "BRIEF", wording, 0.25, f"{n}") for n in range(400)]
    pairs = [(m[0]["content"], m[1]["content"]) for m in asked if m is not None]
    assert len(pairs) == 400
    assert len({question for question, _ in pairs}) > 350
    assert all("Spots" in question or "0904.0001" in question for question, _ in pairs)
    brief = [answer for _, answer in pairs if answer.endswith("BRIEF")]
    assert len(brief) / 400 == pytest.approx(0.25, abs=0.07)
    assert all(answer.endswith(("LONG", "BRIEF")) for _, answer in pairs)
    assert len({answer for _, answer in pairs}) > 30
    assert not any("{" in text or ".." in text for pair in pairs for text in pair)


@pytest.mark.parametrize(
    ("doc_id", "meta", "named"),
    [
        ("wikipedia:en:1", {}, "rticle"),
        ("book:1:002", {"book": "Sky", "authors": ["A. B"]}, '"Sky"'),
        ("notes:1", {}, '"Spots"'),
    ],
)
def test_documents_of_other_kinds(doc_id: str, meta: dict[str, Any], named: str) -> None:
    wording = read_wording(WORDING_FILE, SummaryWording, "astronomy")
    paper = paper_of(doc_id, "Spots", None, meta)
    for n in range(30):
        messages = summary_messages(paper, "LONG", "BRIEF", wording, 0.2, f"{n}")
        assert messages is not None
        assert named in messages[0]["content"]
        assert "Spots" in messages[0]["content"]
