"""Questions and answers from documents: AstroMLab 3, section III.1.

Documents are cut into passages at paragraph bounds; a language model writes pairs for each under a
JSON schema; pairs are checked. A pair or an answer that cannot be used is a reject with its text.
Which model wrote a pair is in its ``model`` column; the ``rules`` engine, which is no model, says
so there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, StrictUndefined

from core.hashing import sha256_text, sha256_value
from core.llm import GenerateRequest, Generation
from core.llm.stage import LlmStage
from core.paragraphs import group_paragraphs, split_paragraphs
from core.recipe.qa import Qa
from core.rejects import Reason, Reject
from core.schema import QA_PAIR
from core.stage import ShardResult, StageContext, Unit

_PROMPT_FILE = Path(__file__).parent / "prompts" / "qa.md"

# All but tab and line feed.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

MAX_QUESTION_CHARS = 500
"""A question longer than that asks more than one thing."""

# "The paper" without naming it: such a question cannot be understood on its own.
_CONTEXT = re.compile(
    r"\b(the|this) (paper|study|text|passage|article|author|authors|section|document)\b", re.I
)


@dataclass(frozen=True)
class Passage:
    """A stretch of a document that questions are asked about."""

    doc_id: str
    title: str
    start_char: int
    end_char: int
    text: str


def passages(documents: pa.Table, chunk_chars: int) -> list[Passage]:
    """Cuts a shard's documents into passages of at most ``chunk_chars`` at paragraph bounds."""
    found = []
    for doc in documents.select(["doc_id", "title", "text"]).to_pylist():
        for start, end in group_paragraphs(split_paragraphs(doc["text"]), chunk_chars):
            text = doc["text"][start:end]
            found.append(Passage(doc["doc_id"], doc["title"] or "", start, end, text))
    return found


def make_request(passage: Passage, qa: Qa, seed: int) -> GenerateRequest:
    """Returns the prompt for one passage, with the schema of the answer."""
    inputs = {"title": passage.title, "passage": passage.text, "pairs": str(qa.pairs_per_chunk)}
    # The prompt is plain text for a model, not HTML.
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    prompt = environment.from_string(_PROMPT_FILE.read_text(encoding="utf-8")).render(inputs)
    return GenerateRequest(
        messages=({"role": "user", "content": prompt},),
        schema=pairs_schema(qa.pairs_per_chunk, qa.max_answer_chars),
        task="qa",
        inputs=inputs,
        seed=seed,
    )


def pairs_schema(pairs: int, max_answer_chars: int) -> dict[str, Any]:
    """Returns the JSON Schema of an answer with at most ``pairs`` pairs.

    Lengths are bounded, so that a model that will not stop cannot fill the whole budget of tokens
    with one string.
    """

    def text(longest: int) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": longest}

    pair = {
        "type": "object",
        "properties": {"question": text(MAX_QUESTION_CHARS), "answer": text(max_answer_chars)},
        "required": ["question", "answer"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"pairs": {"type": "array", "items": pair, "maxItems": pairs}},
        "required": ["pairs"],
        "additionalProperties": False,
    }


def parse_pairs(
    passage: Passage, answer: Generation, max_answer_chars: int
) -> tuple[list[tuple[str, str]], list[Reject]]:
    """Reads a model's answer: usable pairs, and a reject for each thing that is not one."""
    doc_id = passage.doc_id
    if answer.error is not None:
        return [], [Reject(doc_id, Reason.MALFORMED_OUTPUT, answer.error, answer.text)]
    try:
        # Constrained engines may leave control characters in strings; the pair's check sees them.
        listed = json.loads(answer.text, strict=False)["pairs"]
        if not isinstance(listed, list):
            raise TypeError("'pairs' is not a list")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        detail = f"{type(error).__name__}: {error} (finish reason {answer.finish_reason})"
        return [], [Reject(doc_id, Reason.MALFORMED_OUTPUT, detail, answer.text)]
    if not listed:
        return [], [Reject(doc_id, Reason.NO_PAIRS, "none written", passage.text)]
    good: list[tuple[str, str]] = []
    rejects: list[Reject] = []
    for pair in listed:
        fault = _fault(pair, passage.text, max_answer_chars)
        if fault:
            rejects.append(Reject(doc_id, Reason.INVALID_PAIR, fault, json.dumps(pair)))
        else:
            good.append((pair["question"].strip(), pair["answer"].strip()))
    return good, rejects


def _fault(pair: Any, passage: str, max_answer_chars: int) -> str | None:
    if not isinstance(pair, dict):
        return "not an object"
    question, answer = pair.get("question"), pair.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        return "question or answer is not text"
    if not question.strip() or not answer.strip():
        return "question or answer is empty"
    if any("\ud800" <= c <= "\udfff" for c in question + answer):
        return "half of a surrogate pair, which no UTF-8 text can hold"
    if _CONTROL.search(question + answer):
        return "a control character in question or answer"
    if len(answer) > max_answer_chars:
        return f"answer of {len(answer)} characters, at most {max_answer_chars}"
    if answer.strip() == passage.strip():
        return "the answer is the whole passage"
    if found := _CONTEXT.search(question):
        return f"the question leans on '{found.group()}'"
    return None


def qa_table(
    asked: Sequence[Passage],
    requests: Sequence[GenerateRequest],
    answers: Sequence[Generation],
    model: str,
    max_answer_chars: int,
) -> tuple[pa.Table, list[Reject]]:
    """Turns a shard's answers into rows of :data:`core.schema.QA_PAIR` and rejects."""
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    seen: set[tuple[str, str]] = set()
    for passage, request, answer in zip(asked, requests, answers, strict=True):
        pairs, faults = parse_pairs(passage, answer, max_answer_chars)
        rejects += faults
        prompt_sha256 = sha256_value(list(request.messages))
        for question, text in pairs:
            if (question, text) in seen:
                pair = json.dumps({"question": question, "answer": text}, ensure_ascii=False)
                rejects.append(
                    Reject(passage.doc_id, Reason.DUPLICATE_QUESTION, "asked before", pair)
                )
                continue
            seen.add((question, text))
            place = f"{passage.doc_id}:{passage.start_char}"
            rows.append(
                {
                    "qa_id": f"qa:{sha256_text(f'{place}|{question}|{text}')[:16]}",
                    "doc_id": passage.doc_id,
                    "chunk_start_char": passage.start_char,
                    "chunk_end_char": passage.end_char,
                    "question": question,
                    "answer": text,
                    "model": model,
                    "prompt_sha256": prompt_sha256,
                }
            )
    return pa.Table.from_pylist(rows, schema=QA_PAIR), rejects


class QaStage(LlmStage):
    """Documents to question-answer pairs."""

    name = "synth.qa"
    code_version = 2
    description = "Question-answer pairs written from passages by a language model."
    row_unit = "pair"
    schema = QA_PAIR
    reconcile = "Counts pairs written; an answer that holds none counts as one rejected pair."

    def __init__(self, qa: Qa, documents: str) -> None:
        super().__init__(qa.engine, qa.workers, (documents,))
        self._qa = qa

    def config(self) -> dict[str, Any]:
        """Returns the section ``synth.qa`` and the prompt's hash; not how many workers share it."""
        return {
            **self._qa.model_dump(mode="json", exclude={"workers", "engine"}),
            "engine": self._qa.engine.identity(),
            "prompt_sha256": sha256_text(_PROMPT_FILE.read_text(encoding="utf-8")),
        }

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Writes the pairs of one shard."""
        (table,) = self.read(unit, ctx)
        asked = passages(table, self._qa.chunk_chars)
        requests = [make_request(p, self._qa, ctx.seed) for p in asked]
        answers = self.ask(requests, unit, ctx)
        kept, rejects = qa_table(
            asked, requests, answers, self.engine.label, self._qa.max_answer_chars
        )
        rows_in = kept.num_rows + len(rejects)
        return ShardResult(kept, rejects, rows_in, metrics={"passages": len(asked)})
