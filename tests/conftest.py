"""What all tests share: one Ray session, and no network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

# Before any library reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Ray's workers else give way to whatever else runs: the longest tests to the shortest.
os.environ.setdefault("RAY_worker_niceness", "0")

from core.shards import shard_name, write_shard
from core.stage import StageContext, Unit

ROOT = Path(__file__).parent.parent

PutShard = Callable[[str, pa.Table], Unit]

TEXTS = (
    "Jupiter is the largest planet in the Solar System. Its radius is 69,911 km.",
    "Saturn has rings of water ice, and Titan is its largest moon.",
    'A question and its answer as JSON: {"pairs": [{"question": "Who?", "answer": "He"}]}',
    "Élise measured α Centauri at 4.37 light-years. 🎉",
)


_LONGEST = (
    "tests/ray_jobs/test_whole_path.py",
    "tests/chaos/test_short.py",
    "tests/train/test_stage.py",
    "tests/ray_jobs/test_submit.py",
    "tests/core/llm/test_openai.py",
    "tests/ray_jobs/test_plan.py",
    "tests/train/checkpoint/test_restart.py",
    "tests/corpus/test_nougat_stage.py",
    "tests/core/llm/test_vllm.py",
)
"""Begun first: a long file begun last would leave all but one test process without work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files in front; each stays together, in its order."""
    rank = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(ROOT).as_posix(), len(rank)))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray session of two CPUs for all tests that need one."""
    from core.session import ray_session as open_ray

    with open_ray(num_cpus=2):
        yield


@pytest.fixture(scope="session")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of this process alone, as Ray Train would open it.

    One for all tests: DeepSpeed keeps groups of the first that it meets, and fails in a second.
    """
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    meeting = tmp_path_factory.mktemp("gloo") / "meeting"
    distributed.init_process_group("gloo", f"file://{meeting}", rank=0, world_size=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_RANK", "0")
        yield
    distributed.destroy_process_group()


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
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama with 256 positions."""
    import torch

    from core.recipe.train import TinyModel
    from core.tiny import make_tiny_llama, save_model, train_tokenizer

    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = train_tokenizer(TEXTS * 3, 400)
    shape = TinyModel(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
    )
    model = make_tiny_llama(shape, tokenizer, seed=0)
    with torch.no_grad():
        # Larger embeddings: a fresh model's logits are all but equal, which would hide mistakes.
        model.get_input_embeddings().weight.mul_(3)
    save_model(model, tokenizer, folder)
    return folder
