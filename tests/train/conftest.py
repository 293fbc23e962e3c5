"""Tiny models and packed sequences, made here; one Ray session for all training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.nn import functional

from core.recipe.train import TinyModel
from core.schema import token_sequence
from core.tiny import make_tiny_llama, save_model, train_tokenizer

LENGTH = 32
TINY = TinyModel(
    vocab_size=300,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
)

WriteTokens = Callable[..., Path]


@pytest.fixture(autouse=True)
def plain_linear() -> Iterator[None]:
    """Takes back what DeepSpeed's ZeRO 3 puts in the place of PyTorch's function, for good.

    Its sums differ in the last digits, which a later test of this process would meet.
    """
    before = functional.linear
    yield
    functional.linear = before


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = train_tokenizer(["A star is a sun. A galaxy holds many stars."], TINY.vocab_size)
    save_model(make_tiny_llama(TINY, tokenizer, seed=1), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def write_tokens() -> WriteTokens:
    """Writes shards of random packed sequences; token 0 of sequence i is i, to know it by.

    Its documents are doc-i-a and doc-i-b.

    With ``epochs``, the sequences are replay, each for one epoch. ``first`` is the first i.
    """

    def write(
        folder: Path,
        rows_per_shard: list[int],
        length: int = LENGTH,
        row_group_rows: int = 4,
        highest_token: int = 256,
        epochs: list[list[int]] | None = None,
        first: int = 0,
    ) -> Path:
        generator = np.random.default_rng(7)
        folder.mkdir(parents=True)
        schema, number = token_sequence(length), first
        for shard, rows in enumerate(rows_per_shard):
            token = generator.integers(0, highest_token, (rows, length))
            token[:, 0] = np.arange(number, number + rows)
            number += rows
            # Two documents each, and trained shares that differ a lot between sequences.
            border = generator.integers(1, length, (rows, 1))
            position = np.arange(length)[None] - np.where(np.arange(length) >= border, border, 0)
            mask = generator.random((rows, length)) < generator.random((rows, 1)) ** 2
            columns = [
                pa.FixedSizeListArray.from_arrays(pa.array(a.ravel(), kind), length)
                for a, kind in ((token, pa.int32()), (mask, pa.uint8()), (position, pa.int32()))
            ]
            spans = pa.array(
                [
                    [
                        {"doc_id": f"doc-{i}-{part}", "doc_start_token": 0, "start": s, "length": n}
                        for part, s, n in (("a", 0, cut), ("b", cut, length - cut))
                    ]
                    for i, cut in zip(token[:, 0].tolist(), border[:, 0].tolist(), strict=True)
                ],
                schema.field("spans").type,
            )
            table = pa.Table.from_arrays([*columns, spans], schema=schema)
            if epochs is not None:
                table = table.append_column("epoch", pa.array(epochs[shard], pa.int32()))
            path = folder / f"part-{shard:05d}.parquet"
            pq.write_table(table, path, row_group_size=row_group_rows)
        return folder

    return write
