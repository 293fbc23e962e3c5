"""What synth tests share: a run's folders, and a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

from core.shards import shard_name, write_shard
from core.stage import StageContext, Unit
from core.tiny import train_tokenizer

PutShard = Callable[[str, pa.Table], Unit]


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    """A run in an empty folder."""
    return StageContext(run_dir=tmp_path / "run", root=tmp_path, seed=1)


@pytest.fixture
def put_shard(context: StageContext) -> PutShard:
    """Writes a table as the first shard of a stage; returns the unit that reads it."""

    def _put(stage: str, table: pa.Table) -> Unit:
        write_shard(context.folder(stage) / shard_name(0), table)
        return Unit(0, {"shard": shard_name(0)}, "digest")

    return _put


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with Llama-3.1's special tokens."""
    return train_tokenizer(["What is Jupiter? A planet. Cutting Knowledge Date: 2023"] * 4, 320)
