"""Scores against a plain forward pass, the threshold against a sort, spans after the cut."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.llm import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.recipe.corpus import Perplexity
from core.recipe.engine import Engine as EngineConfig
from core.rejects import Reason
from core.schema import DOCUMENT, PARAGRAPH_SCORE
from core.stage import StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.filter import FilterStage, cut_paragraphs
from corpus.perplexity import PerplexityScoreStage, score_paragraphs
from corpus.threshold import ThresholdStage, exact_threshold

PutShard = Callable[[str, pa.Table], Unit]
Floats = npt.NDArray[np.float64]

# --- Scores


def _reference(folder: Path, paragraph: str) -> tuple[int, float]:
    """Tokens and perplexity by one forward pass over this paragraph alone."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer(paragraph)["input_ids"]])  # with the beginning-of-text token
    with torch.no_grad():
        loss = model(ids, labels=ids).loss.item()
    return ids.shape[1] - 1, math.exp(loss)


def test_perplexity_equals_a_plain_forward_pass(
    context: StageContext, put_shard: PutShard, tiny_folder: Path
) -> None:
    texts = [
        "Jupiter is the biggest of all giant planets here.\n\nTwo.\n\n"
        "Its radius is 69,911 km, or 11 Earths.",
        "```\nx = 1\n\ny = 2\n```\n\nÉlise measured α Centauri. 🎉",
        "",
    ]
    table = documents_table([Document(f"a:{n}", "a", text=t) for n, t in enumerate(texts)])
    engine = EngineConfig(kind="transformers", model=str(tiny_folder), dtype="float32")
    stage = PerplexityScoreStage(Perplexity(min_tokens=6), engine, "corpus.normalize")
    stage.setup(context)
    result = stage.process(put_shard("corpus.normalize", table), context)
    assert result.kept.schema == PARAGRAPH_SCORE
    rows = result.kept.to_pylist()
    assert [(r["doc_id"], r["paragraph"]) for r in rows] == [
        ("a:0", 0),
        ("a:0", 1),
        ("a:0", 2),
        ("a:1", 0),
        ("a:1", 1),
    ]
    scored = []
    for row in rows:
        paragraph = texts[int(row["doc_id"][2:])][row["start_char"] : row["end_char"]]
        tokens, perplexity = _reference(tiny_folder, paragraph)
        assert row["tokens"] == tokens
        if tokens < 6:
            assert row["perplexity"] is None
        else:
            scored.append(row["perplexity"])
            assert row["perplexity"] == pytest.approx(perplexity, rel=1e-4)
    assert len(set(scored)) == 4
    assert (result.rows_in, result.rows_out) == (3, 3)
    assert result.metrics == {"paragraphs": 5, "tokens": sum(r["tokens"] for r in rows)}


class _FixedEngine(Engine):
    """Gives the log-probabilities it was made with; the numbers are what is under test."""

    label = "fixed"

    def __init__(self, *logprobs: Sequence[float]) -> None:
        self._logprobs = logprobs

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        raise NotImplementedError

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        return [Score(tuple(p)) for p in self._logprobs]


@pytest.mark.parametrize(
    ("logprobs", "perplexity"),
    [
        ([-1.0, -3.0], math.exp(2.0)),
        ([0.0, 0.0], 1.0),
        ([-1.0], None),  # shorter than min_tokens
        ([], None),  # could not be scored
        ([-1.0, math.nan], None),  # a broken model
        ([-2000.0, -2000.0], math.exp(709.0)),
        ([-math.inf, -1.0], math.exp(709.0)),
    ],
)
def test_perplexity_is_exp_of_the_mean_or_null(
    logprobs: list[float], perplexity: float | None
) -> None:
    table = documents_table([Document("a:1", "a", text="one paragraph")])
    (row,) = score_paragraphs(table, _FixedEngine(logprobs), min_tokens=2).to_pylist()
    assert row["perplexity"] == perplexity
    assert row["tokens"] == len(logprobs)


# --- Threshold


def _threshold(values: Floats, quantile: float, chunk: int = 7) -> float | None:
    chunks = [values[i : i + chunk] for i in range(0, len(values), chunk)]
    return exact_threshold((iter(chunks), iter(chunks)), quantile)


def _by_sorting(values: Floats, quantile: float) -> float:
    dropped = math.floor(quantile * len(values))
    return float(np.sort(values)[len(values) - dropped - 1])


@pytest.mark.parametrize("quantile", [0.0, 0.02, 0.05, 0.5, 0.999])
@pytest.mark.parametrize("seed", range(12))
def test_the_threshold_equals_one_found_by_sorting(seed: int, quantile: float) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 400))
    values: Floats = [
        np.exp(rng.normal(3, 1, size).clip(0)),
        np.exp(rng.normal(3, 1, size).clip(0)).round(),  # ties
        rng.choice([1.0, 2.0, 1e300], size),  # huge
        1 + rng.random(size) * 1e-9,  # all in one bin
    ][seed % 4]
    threshold = _threshold(values, quantile)
    assert threshold == _by_sorting(values, quantile)
    assert (values > threshold).sum() <= math.floor(quantile * size)


def test_without_ties_exactly_the_share_is_cut() -> None:
    values = np.random.default_rng(0).permutation(1000) + 1.0
    threshold = _threshold(values, 0.02)
    assert threshold == 980.0
    assert (values > threshold).sum() == 20


def test_threshold_at_the_edges() -> None:
    assert _threshold(np.array([]), 0.02) is None
    assert exact_threshold(([], []), 0.02) is None
    assert _threshold(np.array([5.0]), 0.99) == 5.0
    assert _threshold(np.full(50, 3.0), 0.5) == 3.0
    largest = math.exp(709.0)
    assert _threshold(np.array([1.0, largest]), 0.0) == largest


def _scores(*values: float | None) -> pa.Table:
    rows = [{"doc_id": "a:1", "paragraph": n, "perplexity": v} for n, v in enumerate(values)]
    return pa.Table.from_pylist(rows, schema=PARAGRAPH_SCORE)


@pytest.mark.parametrize(
    ("config", "values", "expected"),
    [
        ({"drop_quantile": 0.25}, (1.0, 4.0, None, 2.0, 3.0), (3.0, 4, 1)),
        ({"drop_quantile": 0.0}, (1.0, 4.0), (4.0, 2, 0)),
        ({"max_perplexity": 2.0}, (1.0, 4.0, None, 2.0, 3.0), (2.0, 4, 2)),
        ({}, (None, None), (None, 0, 0)),
        ({}, (), (None, 0, 0)),
        ({"max_perplexity": 2.0}, (), (2.0, 0, 0)),
    ],
)
def test_threshold_stage(
    context: StageContext,
    put_shard: PutShard,
    config: dict[str, Any],
    values: tuple[float | None, ...],
    expected: tuple[float | None, int, int],
) -> None:
    put_shard("corpus.scores", _scores(*values))
    stage = ThresholdStage(Perplexity(**config), "corpus.scores")
    out = context.run_dir / "out"
    result = stage.run(context, out)
    written = json.loads((out / "threshold.json").read_text())
    assert written == result.metrics
    assert tuple(written[k] for k in ("threshold", "paragraphs_scored", "paragraphs_above")) == (
        expected
    )
    assert result.rows_in == result.rows_out == expected[1]


# --- Cut


def _document(paragraphs: list[list[str]], doc_id: str = "a:1") -> Document:
    """A document of pages of paragraphs, its spans as OCR lays them."""
    pages, position, texts = [], 0, []
    for number, page in enumerate(paragraphs, 1):
        text = "\n\n".join(page)
        if text and position:
            position += 2
        end = position + len(text)
        pages.append(
            {"page": number, "start_char": position, "end_char": end, "method": "textlayer"}
        )
        position = end
        texts.append(text)
    return Document(doc_id, "a", text="\n\n".join(t for t in texts if t), pages=pages)


def _scored(document: Document, bad: set[str]) -> list[dict[str, Any]]:
    rows, position = [], 0
    for number, text in enumerate((document.text or "").split("\n\n") if document.text else []):
        end = position + len(text)
        rows.append(
            {
                "doc_id": document.doc_id,
                "paragraph": number,
                "start_char": position,
                "end_char": end,
                "tokens": 9,
                "perplexity": 99.0 if text in bad else 5.0 if number % 2 else None,
            }
        )
        position = end + 2
    return rows


def test_documents_are_rebuilt_and_pages_still_point_to_their_text() -> None:
    rng = random.Random(3)
    for _ in range(150):
        number = iter(range(100))
        paragraphs = [
            [f"paragraph {next(number)} 🎉" for _ in range(rng.randrange(4))] for _ in range(3)
        ]
        document = _document([*paragraphs, ["the last one"]])
        every = [p for page in paragraphs for p in page]
        bad = {p for p in [*every, "the last one"] if rng.random() < 0.4}
        scores = pa.Table.from_pylist(_scored(document, bad), schema=PARAGRAPH_SCORE)
        kept, rejects, count, emptied = cut_paragraphs(documents_table([document]), scores, 10.0)
        left = [p for p in [*every, "the last one"] if p not in bad]
        assert [r.text for r in rejects] == [p for p in [*every, "the last one"] if p in bad]
        assert count == len(every) + 1
        assert emptied == (not left)
        if not left:
            assert kept.num_rows == 0
            continue
        (row,) = kept.to_pylist()
        assert row["text"] == "\n\n".join(left)
        for page, span in zip([*paragraphs, ["the last one"]], row["pages"], strict=True):
            text = row["text"][span["start_char"] : span["end_char"]]
            assert text.strip() == "\n\n".join(p for p in page if p not in bad)


def test_high_perplexity_is_rejected_with_its_numbers(
    context: StageContext, put_shard: PutShard
) -> None:
    documents = [
        _document([["good one", "bad one"], ["good two"]], "a:1"),
        _document([["bad two"]], "a:2"),
        Document("a:3", "a", text="no pages\n\nbad one"),
    ]
    bad = {"bad one", "bad two"}
    scores = [row for d in documents for row in _scored(d, bad)]
    unit = put_shard("corpus.normalize", documents_table(documents))
    put_shard("corpus.scores", pa.Table.from_pylist(scores, schema=PARAGRAPH_SCORE))
    folder = context.folder("corpus.threshold")
    folder.mkdir(parents=True)
    stage = FilterStage("corpus.normalize", "corpus.scores", "corpus.threshold")

    (folder / "threshold.json").write_text('{"threshold": 10.0}')
    result = stage.process(unit, context)
    assert result.kept.schema == DOCUMENT
    assert result.kept["text"].to_pylist() == ["good one\n\ngood two", "no pages"]
    assert result.kept["pages"].to_pylist()[1] is None
    assert [(r.doc_id, r.reason, r.detail, r.text) for r in result.rejected] == [
        ("a:1", Reason.HIGH_PERPLEXITY, "paragraph 1: 99 > 10", "bad one"),
        ("a:2", Reason.HIGH_PERPLEXITY, "paragraph 0: 99 > 10", "bad two"),
        ("a:3", Reason.HIGH_PERPLEXITY, "paragraph 1: 99 > 10", "bad one"),
    ]
    assert (result.rows_in, result.rows_out) == (6, 3)
    assert result.metrics == {"documents": 2, "documents_emptied": 1}

    # At the threshold is not above it; nothing scored, nothing cut.
    for threshold in ("99.0", "null"):
        (folder / "threshold.json").write_text(f'{{"threshold": {threshold}}}')
        result = stage.process(unit, context)
        assert (result.kept.num_rows, result.rejected) == (3, [])
        assert result.kept["text"].to_pylist() == [d.text for d in documents]
