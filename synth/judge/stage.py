"""Pairs to judged pairs: four scores from a language model, AstroMLab 3, section III.1.

Every pair whose verdict can be read is kept with its scores, good or bad; ``synth.pairs`` then
keeps by a rule, which can be moved without judging again. A verdict that cannot be read is a
reject, never a score.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import EngineError, InputError
from core.hashing import sha256_file
from core.llm import Generation
from core.llm.cache import prompt_digest
from core.llm.engine import Engine, GenerateRequest
from core.llm.stage import LlmStage
from core.recipe.judge import Judging
from core.rejects import Reason, Reject
from core.schema import QA_SCORED
from core.shards import read_shard
from core.stage import ShardResult, StageContext, Unit
from synth.judge.expected import expected_scores, score_choices
from synth.judge.prompt import Asked, Prompter, own_files, shipped_files
from synth.judge.verdict import (
    CRITERIA,
    Verdict,
    VerdictError,
    parse_completion,
    parse_rating,
    parse_schema,
)

BATCH_PAIRS = 2048
"""Prompts in memory at once: with examples and a passage about 8 kB each."""


def read_verdict(answer: Generation, judging: Judging) -> Verdict:
    """Reads a judge's answer.

    Raises:
        VerdictError: it holds no verdict; says why.
    """
    if answer.error is not None:
        raise VerdictError(answer.error)
    try:
        if judging.mode == "completion":
            return parse_completion(answer.text)
        if judging.mode == "rating":
            return parse_rating(answer.text, judging.rating_scale)
        return parse_schema(answer.text)
    except VerdictError as error:
        raise VerdictError(f"{error} (finish reason {answer.finish_reason})") from error


def scored_row(
    pair: Mapping[str, Any], request: GenerateRequest, answer: Generation, verdict: Verdict
) -> dict[str, Any]:
    """Returns the columns that judging adds to a pair, but who judged and the mean scores."""
    return {
        **pair,
        **{name: verdict.scores.get(name) for name in CRITERIA},
        "expected_scores": None,
        "verdict_text": answer.text.encode("utf-8", "backslashreplace").decode("utf-8"),
        "verdict_prompt_sha256": prompt_digest(request),
    }


def judge_pairs(
    pairs: Sequence[Mapping[str, Any]],
    requests: Sequence[GenerateRequest],
    answers: Sequence[Generation],
    judging: Judging,
    engine: Engine,
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Turns a judge's answers into rows of :data:`core.schema.QA_SCORED` and rejects.

    Args:
        pairs: rows of :data:`core.schema.QA_PAIR`.
        requests: what the judge was asked about each.
        answers: what it wrote.
        judging: how it was asked.
        engine: who it is; asked again for probabilities where ``judging`` wants them.

    Raises:
        EngineError: mean scores are wanted, and the engine gives not one probability.
    """
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    read: list[tuple[GenerateRequest, str, Verdict]] = []
    for pair, request, answer in zip(pairs, requests, answers, strict=True):
        try:
            verdict = read_verdict(answer, judging)
        except VerdictError as error:
            text = pair_text(pair, verdict=answer.text)
            rejects.append(Reject(pair["qa_id"], Reason.UNPARSED_VERDICT, str(error), text))
            continue
        rows.append({**scored_row(pair, request, answer, verdict), "judge": engine.label})
        read.append((request, answer.text, verdict))
    if judging.calibrated:
        means = _means(read, judging, engine)
        for row, found in zip(rows, means, strict=True):
            row["expected_scores"] = found
    return rows, rejects


def pair_text(pair: Mapping[str, Any], **more: str) -> str:
    """Returns question and answer as the text of a reject."""
    shown = {"question": pair["question"], "answer": pair["answer"], **more}
    return json.dumps(shown, ensure_ascii=False)


def _means(
    read: Sequence[tuple[GenerateRequest, str, Verdict]], judging: Judging, engine: Engine
) -> list[list[float | None] | None]:
    asked = [score_choices(*one, judging.scale) for one in read]
    given = iter(engine.choose([choice for choices in asked for choice in choices]))
    means: list[list[float | None] | None] = []
    fault = ""
    for (_, _, verdict), choices in zip(read, asked, strict=True):
        found = [next(given) for _ in choices]
        try:
            means.append(expected_scores(verdict, found))
        except ValueError as error:
            # The verdict stands: a prompt may fit the context, and its longer form not.
            means.append(None)
            fault = str(error)
    if means and not any(means):
        raise EngineError(
            f"the engine gives no probabilities: {fault}",
            where="synth.judge.calibrated",
            remedy="leave 'calibrated' out, or judge with the engine kind 'transformers' or 'vllm'",
        )
    return means


def score_counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | float]:
    """Returns how often each score was given: ``correctness_5``, ..."""
    found = Counter(
        f"{name}_{row[name]}" for row in rows for name in CRITERIA if row[name] is not None
    )
    return dict(sorted(found.items()))


class JudgeStage(LlmStage):
    """Question-answer pairs to judged pairs."""

    description = "Question-answer pairs with four scores from a judging language model."
    row_unit = "pair"
    schema = QA_SCORED

    def __init__(
        self, judging: Judging, pairs: str, documents: str, name: str = "synth.judge"
    ) -> None:
        """Makes the stage.

        Args:
            judging: the recipe section, or its part ``second``.
            pairs: stage that makes the pairs.
            documents: stage that they were written from; read only where the judge sees passages.
            name: ``synth.judge``, or ``synth.judge_second``.
        """
        seen = documents if judging.passage else None
        aligned = (pairs,) if seen is None else (pairs, seen)
        super().__init__(judging.engine, judging.workers, aligned)
        self.name = name
        self._judging = judging
        self._documents = seen
        self._prompter: Prompter | None = None

    def config(self) -> dict[str, Any]:
        """Returns how the judge is asked, with the hashes of our prompt files; not by how many."""
        other = {"workers", "engine", "keep", "second"}
        return {
            **self._judging.model_dump(mode="json", exclude=other),
            "engine": self._judging.engine.identity(),
            "prompt_files_sha256": [sha256_file(path) for path in shipped_files(self._judging)],
            "documents": self._documents,
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of a model of the user's own, and prompt and examples of theirs."""
        return [*super().source_files(ctx), *own_files(self._judging, ctx)]

    def setup(self, ctx: StageContext) -> None:
        """Makes the prompts, then opens the engine."""
        self._prompter = Prompter(self._judging, ctx)
        super().setup(ctx)

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Judges one shard, some thousand pairs at a time."""
        assert self._prompter is not None, "setup comes first"
        name = unit.payload["shard"]
        pairs = read_shard(ctx.folder(self.aligned[0]) / name)
        documents = self._texts(name, ctx)
        tables: list[pa.Table] = []
        rejects: list[Reject] = []
        counts: Counter[str] = Counter()
        for batch in pairs.to_batches(max_chunksize=BATCH_PAIRS):
            listed = batch.to_pylist()
            requests = [self._prompter.request(_asked(pair, documents)) for pair in listed]
            answers = self.ask(requests, unit, ctx)
            rows, faults = judge_pairs(listed, requests, answers, self._judging, self.engine)
            tables.append(pa.Table.from_pylist(rows, schema=QA_SCORED))
            rejects += faults
            counts.update(score_counts(rows))
            if self._judging.calibrated:
                counts["without_expected_scores"] += sum(r["expected_scores"] is None for r in rows)
        kept = pa.concat_tables(tables) if tables else QA_SCORED.empty_table()
        metrics = {**dict(sorted(counts.items())), **self.usage()}
        return ShardResult(kept, rejects, pairs.num_rows, metrics=metrics)

    def _texts(self, shard: str, ctx: StageContext) -> dict[str, tuple[str, str]] | None:
        """Returns title and text by document, where the judge sees passages."""
        if self._documents is None:
            return None
        path = ctx.folder(self._documents) / shard
        table = read_shard(path, ["doc_id", "title", "text"])
        return {r["doc_id"]: (r["title"] or "", r["text"] or "") for r in table.to_pylist()}


def _asked(pair: Mapping[str, Any], documents: Mapping[str, tuple[str, str]] | None) -> Asked:
    if documents is None:
        return Asked(pair["question"], pair["answer"])
    if pair["doc_id"] not in documents:
        raise InputError(
            f"the document {pair['doc_id']} of the pair {pair['qa_id']} is not there",
            where="synth.judge.passage",
            remedy="run synth.qa again, so that pairs and documents fit together",
        )
    title, text = documents[pair["doc_id"]]
    passage = text[pair["chunk_start_char"] : pair["chunk_end_char"]]
    return Asked(pair["question"], pair["answer"], title, passage)
