"""Weights in and out of Hugging Face folders: slices, pieces, files, broken folders, memory."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig

from core.errors import InputError
from tests.train.pipeline.models import PlainLlama, make_llama
from tests.train.ranks import run_ranks
from train.pipeline.reading import check_tensors, read_weights
from train.pipeline.shape import EMBEDDING, read_shape
from train.pipeline.stages import stage_tensors
from train.pipeline.tensor_parallel import TensorGroup
from train.pipeline.writing import plan_files, write_folder

DOWN = "model.layers.0.mlp.down_proj.weight"
UP = "model.layers.1.mlp.up_proj.weight"
NORM = "model.norm.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_llama(tmp_path / "model")


def change(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, tensor in changes.items():
        if tensor is None:
            del tensors[name]
        else:
            tensors[name] = tensor
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("piece_bytes", [1, 700, 2**24])
def test_a_worker_reads_its_slice_whatever_the_piece(folder: Path, piece_bytes: int) -> None:
    whole = load_file(folder / "model.safetensors")
    group = TensorGroup(None, rank=1, size=2)
    model = PlainLlama(folder, group=group)
    with torch.no_grad():
        for held in model.held:
            held.parameter.fill_(7.0)
    stored = check_tensors(folder, read_shape(folder))
    read_weights(stored, model.held, group, piece_bytes)
    dims = {}
    for held in model.held:
        dims[held.name] = held.slice_dim
        dim = held.slice_dim
        expected = whole[held.name] if dim is None else whole[held.name].chunk(2, dim)[1]
        assert torch.equal(held.parameter, expected), held.name
        assert held.whole_shape(2 if dim is not None else 1) == tuple(whole[held.name].shape)
        assert held.parameter.model_parallel == (dim is not None)
    assert (dims[EMBEDDING], dims[DOWN], dims[UP], dims[NORM]) == (0, 1, 0, None)


def test_tensors_that_no_layer_has_are_left_alone(folder: Path) -> None:
    change(folder, **{"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    PlainLlama(folder)


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (None, f"there are no float weights {DOWN}"),
        (torch.zeros(32, 79), r"is \(32, 79\), config.json makes it \(32, 80\)"),
        (torch.zeros(32, 80, dtype=torch.int8), f"there are no float weights {DOWN}"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    folder: Path, tensor: torch.Tensor | None, what: str
) -> None:
    change(folder, **{DOWN: tensor})
    with pytest.raises(InputError, match=what):
        PlainLlama(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="cannot read the weights"):
        PlainLlama(folder)


@pytest.mark.parametrize("tied", [True, False])
def test_every_tensor_is_in_one_file_of_its_stage(tied: bool, tmp_path: Path) -> None:
    shape = read_shape(make_llama(tmp_path / "model", tie_word_embeddings=tied))
    shapes = shape.tensors()
    stages = stage_tensors(shape, [0, 2, len(shapes)])
    assert [name for stage in stages for name in stage] == list(shapes)
    embedding_bytes = 96 * 32 * 4
    files = plan_files(stages, shapes, 4, file_bytes=embedding_bytes - 1)
    assert [name for file in files for name in file.tensors] == list(shapes)
    assert files[0].tensors == (EMBEDDING,), "a tensor larger than a file stands alone"
    for file in files:
        assert set(file.tensors) <= set(stages[file.stage])
        size = 4 * sum(math.prod(shapes[name]) for name in file.tensors)
        assert size < embedding_bytes or len(file.tensors) == 1
    count = len(files)
    assert files[-1].name == f"model-{count:05d}-of-{count:05d}.safetensors"
    (single,) = plan_files([list(shapes)], shapes, 4)
    assert single.name == "model.safetensors"


def test_reading_peaks_under_1_3_times_the_share(tmp_path: Path) -> None:
    sizes = {"hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 16384}
    config = LlamaConfig(**sizes, num_hidden_layers=2, num_attention_heads=16)
    config.save_pretrained(tmp_path)
    tensors = {
        name: torch.full(size, 0.5, dtype=torch.bfloat16)
        for name, size in read_shape(tmp_path).tensors().items()
    }
    save_file(tensors, tmp_path / "model.safetensors")
    ((share, peak),) = run_ranks(1, peak_of_reading, str(tmp_path))
    assert share == pytest.approx(201e6, rel=0.01)
    assert share < peak < 1.3 * share


def peak_of_reading(folder: str) -> tuple[int, int]:
    """Returns bytes of this worker's share, and by how much memory peaked while it was read."""
    torch.zeros(8).bfloat16()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _memory("VmRSS")
    model = PlainLlama(Path(folder), torch.bfloat16, TensorGroup(None, rank=1, size=2))
    share = sum(p.numel() * p.element_size() for p in model.parameters())
    return share, _memory("VmHWM") - before


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def test_config_and_index_of_the_saved_model_are_hugging_faces(
    folder: Path, tmp_path: Path
) -> None:
    shape = read_shape(folder)
    files = plan_files(stage_tensors(shape, [0, 2, 5]), shape.tensors(), 2)
    out = tmp_path / "out"
    out.mkdir()
    write_folder(folder, out, files, shape.tensors(), torch.bfloat16)
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config["dtype"] == "bfloat16"
    assert read_shape(out) == shape
    assert (out / "generation_config.json").read_bytes() == (
        folder / "generation_config.json"
    ).read_bytes()
    index = json.loads((out / "model.safetensors.index.json").read_text("utf-8"))
    assert set(index["weight_map"]) == set(shape.tensors())
    assert index["metadata"]["total_size"] == 2 * index["metadata"]["total_parameters"]
