from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import InputError
from core.recipe.train import Base, TinyModel
from core.schema import DOCUMENT
from core.shards import write_shard
from core.stage import StageContext
from train.base import BaseModelStage

TEXTS = ["The galaxy NGC 1275 is a Seyfert galaxy.", None, "Galaxies hold stars. " * 50]
TINY = TinyModel(vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=1)


@pytest.fixture
def ctx(tmp_path: Path) -> StageContext:
    rows = [{"doc_id": f"d{i}", "source": "test", "text": t} for i, t in enumerate(TEXTS)]
    table = pa.Table.from_pylist(rows, schema=DOCUMENT)
    folder = tmp_path / "run" / "corpus" / "normalize"
    write_shard(folder / "part-00000.parquet", table.slice(0, 2))
    write_shard(folder / "part-00001.parquet", table.slice(2))
    return StageContext(tmp_path / "run", tmp_path, seed=3)


def test_makes_a_tiny_model_that_loads(ctx: StageContext, tmp_path: Path) -> None:
    stage = BaseModelStage(Base(tiny=TINY), "corpus.normalize")
    assert stage.inputs == ("corpus.normalize",)
    result = stage.run(ctx, tmp_path / "out")
    assert (result.rows_in, result.rows_out) == (2, 2)

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "model")
    assert result.metrics["vocabulary"] == len(tokenizer) == model.config.vocab_size
    assert tokenizer.decode(tokenizer("Galaxies é")["input_ids"][1:]) == "Galaxies é"
    assert len(tokenizer("Galaxies hold stars.")["input_ids"]) < 12, "no merges were learned"


def test_the_same_documents_and_seed_give_the_same_bytes(ctx: StageContext, tmp_path: Path) -> None:
    stage = BaseModelStage(Base(tiny=TINY), "corpus.normalize")
    for name in ("a", "b"):
        stage.run(ctx, tmp_path / name)
    other = StageContext(ctx.run_dir, ctx.root, seed=4)
    stage.run(other, tmp_path / "c")
    for file in (tmp_path / "a" / "model").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "model" / file.name).read_bytes(), file.name
    weights = [load_file(tmp_path / n / "model" / "model.safetensors") for n in ("a", "c")]
    assert not weights[0]["model.embed_tokens.weight"].equal(
        weights[1]["model.embed_tokens.weight"]
    )


def test_no_text_is_an_error(tmp_path: Path) -> None:
    ctx = StageContext(tmp_path, tmp_path, seed=3)
    with pytest.raises(InputError, match="no text"):
        BaseModelStage(Base(tiny=TINY), "corpus.normalize").run(ctx, tmp_path / "out")


def test_a_given_model_is_linked_not_copied(
    ctx: StageContext, tmp_path: Path, tiny_model: Path
) -> None:
    stage = BaseModelStage(Base(path=str(tiny_model)), "corpus.normalize")
    assert stage.inputs == ()
    result = stage.run(ctx, tmp_path / "out")
    assert (result.rows_in, result.rows_out) == (0, 0)
    linked = tmp_path / "out" / "model" / "model.safetensors"
    assert linked.is_symlink()
    assert linked.resolve() == (tiny_model / "model.safetensors").resolve()
    AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert "model.safetensors" in {p.name for p in stage.source_files(ctx)}
    assert str(tiny_model) not in str(stage.config())


def test_a_wrong_path_is_an_error(ctx: StageContext, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as error:
        BaseModelStage(Base(path="models/absent"), "corpus.normalize").source_files(ctx)
    assert error.value.where == "train.base.path"
