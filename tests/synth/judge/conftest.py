"""What the judge's tests share: pairs, judged rows, and a tiny model with room for examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.schema import QA_PAIR, QA_SCORED
from core.shards import shard_name, write_shard
from synth.judge.verdict import CRITERIA

PERFECT = (5, 5, 5, 5)

MakeJudged = Callable[[Path, Sequence[Sequence[int | None]]], Path]


def pairs_table(*pairs: tuple[str, str], start: int = 0, end: int = 1000) -> pa.Table:
    """Pairs written from document ``a:0``."""
    rows = [
        {
            "qa_id": f"qa:{number:04d}",
            "doc_id": "a:0",
            "chunk_start_char": start,
            "chunk_end_char": end,
            "question": question,
            "answer": answer,
            "model": "m",
            "prompt_sha256": "0",
        }
        for number, (question, answer) in enumerate(pairs)
    ]
    return pa.Table.from_pylist(rows, schema=QA_PAIR)


def scored_table(
    scores: Sequence[Sequence[int | None]], means: Sequence[Any] | None = None, first: int = 0
) -> pa.Table:
    """Judged pairs with these scores."""
    rows = [
        {
            **pairs_table((f"Question {n}?", f"Answer {n}.")).to_pylist()[0],
            "qa_id": f"qa:{n:04d}",
            **dict(zip(CRITERIA, given, strict=True)),
            "expected_scores": None if means is None else means[n - first],
            "judge": "j",
            "verdict_text": "v",
            "verdict_prompt_sha256": "1",
        }
        for n, given in enumerate(scores, first)
    ]
    return pa.Table.from_pylist(rows, schema=QA_SCORED)


@pytest.fixture
def make_judged() -> MakeJudged:
    """Writes judged pairs with these scores, in two shards."""

    def make(folder: Path, scores: Sequence[Sequence[int | None]]) -> Path:
        half = len(scores) // 2
        write_shard(folder / shard_name(0), scored_table(scores[:half]))
        write_shard(folder / shard_name(1), scored_table(scores[half:], first=half))
        return folder

    return make


@pytest.fixture(scope="session")
def roomy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama with 8192 positions: examples take some thousand tokens."""
    import torch

    from core.recipe.train import TinyModel
    from core.tiny import make_tiny_llama, save_model, train_tokenizer
    from synth.judge.examples import EXAMPLES_FILE

    folder = tmp_path_factory.mktemp("roomy") / "model"
    tokenizer = train_tokenizer([EXAMPLES_FILE.read_text(encoding="utf-8")], 1000)
    shape = TinyModel(
        vocab_size=1000,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
    )
    model = make_tiny_llama(shape, tokenizer, seed=0)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(3)
    save_model(model, tokenizer, folder)
    return folder
