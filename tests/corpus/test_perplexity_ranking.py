"""A small model of clean text finds corrupted paragraphs, and the 2% line cuts them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from bench.perplexity import (
    CORRUPTIONS,
    SAMPLES,
    auc,
    corrupt,
    paragraphs_of,
    ranking,
    read_texts,
    train_small_model,
)
from core.recipe.corpus import Perplexity
from core.recipe.engine import Engine as EngineConfig
from core.recipe.train import TinyModel
from core.stage import StageContext, Unit
from corpus.documents import Document, documents_table
from corpus.filter import FilterStage
from corpus.perplexity import PerplexityScoreStage
from corpus.threshold import ThresholdStage

PutShard = Callable[[str, pa.Table], Unit]
SHAPE = TinyModel(
    vocab_size=2048,
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    max_position_embeddings=256,
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """The samples; every fifth document is kept from training."""
    return read_texts(SAMPLES)


@pytest.fixture(scope="module")
def model(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the trained model."""
    folder = tmp_path_factory.mktemp("scorer") / "model"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train = [text for number, text in enumerate(texts) if number % 5]
    train_small_model(train, folder, SHAPE, steps=120)
    torch.set_num_threads(threads)
    return folder


def test_auc_is_the_chance_to_rank_a_pair_right() -> None:
    assert auc([1.0, 2.0], [3.0, 4.0]) == 1.0
    assert auc([3.0], [1.0]) == 0.0
    assert auc([1.0, 3.0], [2.0, 3.0]) == pytest.approx((1 + 0 + 1 + 0.5) / 4)


def test_corrupted_paragraphs_rank_above_unseen_clean_ones(model: Path, texts: list[str]) -> None:
    clean = [p for p in paragraphs_of(texts[::5]) if p[0].isalpha() and len(p) > 60]
    assert len(clean) >= 40
    found = ranking(model, clean)
    assert set(found) == {*CORRUPTIONS, "all"}
    assert found.pop("table debris") > 0.9
    assert found.pop("all") > 0.97
    assert min(found.values()) > 0.99


def test_the_two_percent_line_cuts_what_was_planted(
    model: Path, texts: list[str], context: StageContext, put_shard: PutShard
) -> None:
    rng = random.Random(4)
    documents, planted = [], set()
    for number, text in enumerate(texts):
        parts = [p for p in paragraphs_of([text]) if "|1l" not in p]
        prose = [p for p in parts if p[0].isalpha() and len(p) > 200]
        if number % 7 == 0:
            bad = corrupt(rng.choice(prose), rng.choice(CORRUPTIONS[:3]), rng)
            bad = " ".join(bad.split())
            planted.add(bad)
            parts.insert(rng.randrange(len(parts)), bad)
        documents.append(Document(f"a:{number}", "a", text="\n\n".join(parts)))
    engine = EngineConfig(kind="transformers", model=str(model))
    unit = put_shard("corpus.normalize", documents_table(documents))
    score = PerplexityScoreStage(Perplexity(), engine, "corpus.normalize")
    score.setup(context)
    put_shard("corpus.scores", score.process(unit, context).kept)
    out = context.folder("corpus.threshold")
    stage = ThresholdStage(Perplexity(), "corpus.scores", "corpus.normalize")
    metrics = stage.run(context, out).metrics
    assert 0.019 <= metrics["paragraphs_above"] / metrics["paragraphs_scored"] <= 0.021
    result = FilterStage("corpus.normalize", "corpus.scores", "corpus.threshold").process(
        unit, context
    )
    cut = {reject.text for reject in result.rejected}
    assert len(planted) == 5
    assert planted <= cut
    left = "\n\n".join(result.kept["text"].to_pylist())
    whole = [p for d in documents for p in (d.text or "").split("\n\n")]
    assert left.split("\n\n") == [p for p in whole if p not in cut]
