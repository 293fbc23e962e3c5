"""Scores against a plain forward pass, one paragraph at a time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.llm import Engine, GenerateRequest, Generation, Score, ScoreRequest, open_engine
from core.recipe.corpus import Perplexity
from core.recipe.engine import Engine as EngineConfig
from core.schema import PARAGRAPH_SCORE
from core.stage import StageContext, Unit
from corpus import perplexity as perplexity_module
from corpus.documents import Document, documents_table
from corpus.perplexity import PerplexityScoreStage, score_paragraphs

PutShard = Callable[[str, pa.Table], Unit]


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
    work = {k: result.metrics.pop(k) for k in ("forward_tokens", "padding_tokens")}
    tokens = sum(r["tokens"] for r in rows)
    # Each paragraph is read with the beginning-of-text token.
    assert work["forward_tokens"] == tokens + 5
    assert result.metrics == {
        "paragraphs": 5,
        "paragraphs_short": 1,
        "paragraphs_failed": 0,
        "tokens": tokens,
        "repeated_texts": 0,
    }


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
    scores, counts = score_paragraphs(table, _FixedEngine(logprobs), min_tokens=2)
    (row,) = scores.to_pylist()
    assert row["perplexity"] == perplexity
    assert row["tokens"] == counts["tokens"] == len(logprobs)
    failed = bool(logprobs) and math.isnan(logprobs[-1])
    assert counts["paragraphs_failed"] == failed
    assert counts["paragraphs_short"] == (perplexity is None and not failed)


def _texts(count: int) -> list[str]:
    rng = random.Random(5)
    words = ["Jupiter", "rings", "of", "the", "moon", "69,911", "α", "🎉", "$x^2$", "\\alpha"]
    lengths = [rng.choice([4, 9, 30, 80, 400]) for _ in range(count)]
    return [" ".join(rng.choices(words, k=length)) for length in lengths]


def test_the_same_paragraphs_score_the_same_to_the_bit_in_any_order(tiny_folder: Path) -> None:
    texts = _texts(40)
    config = EngineConfig(kind="transformers", model="tiny", dtype="float32", batch_tokens=512)
    engine = open_engine(config, str(tiny_folder))
    found: list[dict[str, float]] = []
    for seed in range(3):
        order = texts[:]
        random.Random(seed).shuffle(order)
        documents = [Document(f"a:{n}", "a", text=t) for n, t in enumerate(order)]
        scores, _ = score_paragraphs(documents_table(documents), engine, 2)
        found.append(dict(zip(order, scores["perplexity"].to_pylist(), strict=True)))
    assert found[0] == found[1] == found[2]


def test_other_batches_change_only_the_last_digits(tiny_folder: Path) -> None:
    texts = _texts(24)
    by_budget: list[list[float]] = []
    # The budget is the longest window too: 256 positions fit all of them.
    for budget in (256, 1024, 16384):
        config = EngineConfig(kind="transformers", model="tiny", batch_tokens=budget)
        engine = open_engine(config, str(tiny_folder))
        documents = [Document(f"a:{n}", "a", text=t) for n, t in enumerate(texts)]
        scores, counts = score_paragraphs(documents_table(documents), engine, 2)
        by_budget.append(scores["perplexity"].to_pylist())
        assert counts["padding_tokens"] < 0.2 * counts["forward_tokens"]
    for other in by_budget[1:]:
        assert other == pytest.approx(by_budget[0], rel=1e-6)


def test_documents_are_handed_over_in_groups_of_bounded_size(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EngineConfig(kind="transformers", model="tiny")
    engine = open_engine(config, str(tiny_folder))
    table = documents_table([Document(f"a:{n}", "a", text=t) for n, t in enumerate(_texts(30))])
    whole, counts = score_paragraphs(table, engine, 2)
    monkeypatch.setattr(perplexity_module, "_CALL_CHARS", 500)
    parts, again = score_paragraphs(table, engine, 2)
    assert parts.drop(["perplexity"]) == whole.drop(["perplexity"])
    left, right = (t["perplexity"].to_pylist() for t in (parts, whole))
    assert left == pytest.approx(right, rel=1e-6)
    assert again["padding_tokens"] < counts["padding_tokens"] + counts["forward_tokens"]


def test_a_cheap_scorer_is_known_by_its_file(context: StageContext) -> None:
    config = EngineConfig(kind="kenlm", model="model.arpa")
    stage = PerplexityScoreStage(Perplexity(), config, "corpus.normalize")
    assert stage.source_files(context) == []
    (context.root / "model.arpa").write_text("\\data\\")
    assert stage.source_files(context) == [context.root / "model.arpa"]
