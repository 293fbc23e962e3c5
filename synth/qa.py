"""Questions and answers from documents: AstroMLab 3, section III.1.

Documents are cut into passages (:mod:`synth.chunks`); a language model writes pairs for each under
a JSON schema (:mod:`synth.qa_prompt`); pairs are read (:mod:`synth.qa_parse`) and checked
(:mod:`synth.qa_checks`). A passage, answer or pair that cannot be used is a reject with its text.
Which model wrote a pair is in its ``model`` column; the ``rules`` engine, which is no model, says
so there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import RecipeError
from core.hashing import sha256_file, sha256_text
from core.language import known_languages
from core.llm import GenerateRequest, Generation
from core.llm.cache import prompt_digest
from core.llm.stage import LlmStage
from core.model_folder import TOKENIZER_NAMES
from core.recipe.qa import Qa
from core.rejects import Reason, Reject
from core.schema import QA_PAIR
from core.sections import section_name
from core.shards import read_shard
from core.stage import STAGE_PREFIXES, ShardResult, StageContext, Unit
from core.tokenizer import load_tokenizer
from synth.chunks import Cut, Limits, cut_documents, token_counter
from synth.overlong import CountTokens
from synth.qa_checks import PassageWords, find_fault
from synth.qa_parse import parse_answer
from synth.qa_prompt import PROMPT_FILE, STYLES_FILE, Passage, QaPrompt, open_prompt

_DOCUMENTS_AT_ONCE = 64
"""Documents cut together: their paragraphs are counted in one call of the tokenizer."""


@dataclass
class Asked:
    """What a shard's documents are asked about."""

    passages: list[Passage] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    metrics: Counter[str] = field(default_factory=Counter)


def find_passages(
    documents: pa.Table, summaries: Mapping[str, str], count: CountTokens, qa: Qa
) -> Asked:
    """Cuts a shard's documents into passages.

    Args:
        documents: columns ``doc_id``, ``title`` and ``text``.
        summaries: short summaries by document; may lack any.
        count: counts tokens.
        qa: the limits.

    Returns:
        The passages in order; rejects for documents without text, skipped sections and passages
        that are too short to ask about.
    """
    asked = Asked()
    skip = frozenset(map(section_name, qa.skip_sections))
    limits = Limits(qa.chunk_tokens, qa.overlap_tokens)
    columns = documents.select(["doc_id", "title", "text"])
    for batch in columns.to_batches(max_chunksize=_DOCUMENTS_AT_ONCE):
        rows = batch.to_pylist()
        cuts = cut_documents([row["text"] or "" for row in rows], count, limits, skip)
        for row, cut in zip(rows, cuts, strict=True):
            _add(asked, row, summaries.get(row["doc_id"], ""), cut, qa)
    return asked


def _add(asked: Asked, row: Mapping[str, Any], summary: str, cut: Cut, qa: Qa) -> None:
    doc_id, title, text = row["doc_id"], row["title"] or "", row["text"] or ""
    if not cut.chunks and not cut.skipped:
        asked.rejects.append(Reject(doc_id, Reason.EMPTY_TEXT, "no text to ask about", text))
    for (start, end), heading in cut.skipped:
        detail = f"the section '{heading}' is not asked about"
        asked.rejects.append(Reject(doc_id, Reason.SKIPPED_SECTION, detail, text[start:end]))
    for chunk in cut.chunks:
        passage = text[chunk.start_char : chunk.end_char]
        if chunk.tokens < qa.min_passage_tokens:
            detail = f"passage of {chunk.tokens} tokens, at least {qa.min_passage_tokens}"
            asked.rejects.append(Reject(doc_id, Reason.TOO_SHORT, detail, passage))
            continue
        # Documents of most kinds start with a heading that is their title.
        named = section_name(title) == section_name(chunk.path[0]) if chunk.path else False
        asked.passages.append(
            Passage(
                doc_id,
                title,
                chunk.start_char,
                chunk.end_char,
                passage,
                chunk.path[1:] if named else chunk.path,
                " ".join(summary.split()),
                -(-qa.pairs_per_chunk * chunk.tokens // qa.chunk_tokens),
            )
        )
        asked.metrics["passage_tokens"] += chunk.tokens
        asked.metrics["overlapping"] += chunk.own_start_char > chunk.start_char
    asked.metrics["sections_skipped"] += len(cut.skipped)
    asked.metrics["paragraphs_cut"] += cut.paragraphs_cut


def check_answer(
    passage: Passage, answer: Generation, qa: Qa
) -> tuple[list[tuple[str, str]], list[Reject]]:
    """Reads a model's answer: usable pairs, and a reject for each thing that is not one."""
    doc_id = passage.doc_id
    if answer.error is not None:
        return [], [Reject(doc_id, Reason.MALFORMED_OUTPUT, answer.error, answer.text)]
    parsed = parse_answer(answer.text)
    good: list[tuple[str, str]] = []
    rejects: list[Reject] = []
    words = PassageWords(passage.text, qa.copy_words)
    for item in parsed.items:
        fault = find_fault(item, passage, words, qa)
        if fault is None:
            good.append((item["question"].strip(), item["answer"].strip()))
        else:
            raw = json.dumps(item, ensure_ascii=False)
            rejects.append(Reject(doc_id, fault.reason, fault.detail, raw))
    if parsed.fault is not None:
        detail = f"{parsed.fault} (finish reason {answer.finish_reason})"
        rejects.append(Reject(doc_id, Reason.MALFORMED_OUTPUT, detail, parsed.rest))
    elif not parsed.items:
        rejects.append(Reject(doc_id, Reason.NO_PAIRS, "none written", passage.text))
    return good, rejects


def qa_table(
    passages: Sequence[Passage],
    requests: Sequence[GenerateRequest],
    answers: Sequence[Generation],
    model: str,
    qa: Qa,
) -> tuple[pa.Table, list[Reject]]:
    """Turns a shard's answers into rows of :data:`core.schema.QA_PAIR` and rejects.

    A question is asked once in a shard: without more, two answers to the same words contradict
    each other.
    """
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    seen: dict[str, str] = {}
    for passage, request, answer in zip(passages, requests, answers, strict=True):
        pairs, faults = check_answer(passage, answer, qa)
        rejects += faults
        place = f"{passage.doc_id}:{passage.start_char}"
        for question, text in pairs:
            key = " ".join(question.casefold().split())
            if key in seen:
                pair = json.dumps({"question": question, "answer": text}, ensure_ascii=False)
                detail = f"asked before, in the passage {seen[key]}"
                rejects.append(Reject(passage.doc_id, Reason.DUPLICATE_QUESTION, detail, pair))
                continue
            seen[key] = place
            rows.append(
                {
                    "qa_id": f"qa:{sha256_text(f'{place}|{question}|{text}')[:16]}",
                    "doc_id": passage.doc_id,
                    "chunk_start_char": passage.start_char,
                    "chunk_end_char": passage.end_char,
                    "question": question,
                    "answer": text,
                    "model": model,
                    "prompt_sha256": prompt_digest(request),
                }
            )
    return pa.Table.from_pylist(rows, schema=QA_PAIR), rejects


class QaStage(LlmStage):
    """Documents to question-answer pairs."""

    name = "synth.qa"
    code_version = 3
    description = "Question-answer pairs written from passages by a language model."
    row_unit = "pair"
    schema = QA_PAIR
    reconcile = (
        "Counts pairs written; a skipped section, a passage too short to ask about and an answer "
        "that holds no pair count as one rejected pair each."
    )

    def __init__(self, qa: Qa, documents: str, tokenizer: str, summaries: str | None) -> None:
        """Makes the stage.

        Args:
            qa: the recipe section.
            documents: stage that makes the documents.
            tokenizer: train stage or model folder whose tokenizer counts tokens.
            summaries: stage that makes summaries, with shards like those of the documents; None:
                prompts go without.
        """
        aligned = (documents,) if summaries is None else (documents, summaries)
        super().__init__(qa.engine, qa.workers, aligned)
        if tokenizer.startswith(STAGE_PREFIXES) and tokenizer not in self.inputs:
            self.inputs = (*self.inputs, tokenizer)
        self._qa = qa
        self._tokenizer = tokenizer

    def config(self) -> dict[str, Any]:
        """Returns the section ``synth.qa`` and the prompt's hash; not how many workers share it."""
        return {
            **self._qa.model_dump(mode="json", exclude={"workers", "engine"}),
            "engine": self._qa.engine.identity(),
            "tokenizer": self._tokenizer,
            "summaries": len(self.aligned) > 1,
            # Files of the user's own are in source_files.
            "prompt_sha256": None if self._qa.prompt else sha256_file(PROMPT_FILE),
            "styles_sha256": None if self._qa.styles else sha256_file(STYLES_FILE),
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the user's own prompt, styles, model and tokenizer.

        Raises:
            RecipeError: the prompt or the styles cannot be used: now, rather than in every worker.
        """
        own = [ctx.path(name) for name in (self._qa.prompt, self._qa.styles) if name]
        if own:
            self._prompt(ctx)
        tokenizer = [f for f in ctx.model_files(self._tokenizer) if f.name in TOKENIZER_NAMES]
        return sorted({*super().source_files(ctx), *own, *tokenizer})

    def setup(self, ctx: StageContext) -> None:
        """Opens the engine.

        Raises:
            RecipeError: the language is not one that can be told.
        """
        language = self._qa.language
        if language is not None and language not in known_languages():
            raise RecipeError(
                f"there is no language '{language}' that can be told",
                where="key synth.qa.language",
                remedy=f"null, or one of {', '.join(sorted(known_languages()))}",
            )
        super().setup(ctx)

    def _prompt(self, ctx: StageContext) -> QaPrompt:
        qa = self._qa
        return open_prompt(
            ctx.path(qa.prompt) if qa.prompt else PROMPT_FILE,
            ctx.path(qa.styles) if qa.styles else STYLES_FILE,
        )

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Writes the pairs of one shard."""
        qa = self._qa
        prompt = self._prompt(ctx)
        count = token_counter(load_tokenizer(ctx.model_path(self._tokenizer)))
        asked = find_passages(*self._tables(unit, ctx), count, qa)
        requests = [prompt.request(p, qa, ctx.seed) for p in asked.passages]
        answers = self.ask(requests, unit, ctx)
        kept, faults = qa_table(asked.passages, requests, answers, self.engine.label, qa)
        rejects = asked.rejects + faults
        metrics = {**asked.metrics, "passages": len(asked.passages), **self.usage()}
        return ShardResult(kept, rejects, kept.num_rows + len(rejects), metrics=metrics)

    def _tables(self, unit: Unit, ctx: StageContext) -> tuple[pa.Table, dict[str, str]]:
        """Returns the unit's documents and the short summaries of some of them."""
        documents, *summaries = (ctx.folder(name) / unit.payload["shard"] for name in self.aligned)
        table = read_shard(documents, columns=["doc_id", "title", "text"])
        short: dict[str, str] = {}
        for path in summaries:
            columns = read_shard(path, columns=["doc_id", "short"]).to_pydict()
            rows = zip(columns["doc_id"], columns["short"], strict=True)
            short |= {doc_id: text for doc_id, text in rows if text}
        return table, short
