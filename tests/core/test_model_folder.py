from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from core.model_folder import copy_tokenizer, model_files, require_model, tensor_shapes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "optimizer.bin").write_bytes(b"not part of the model")
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(5)}, tmp_path / "model-1.safetensors")
    save_file({"c": torch.zeros((), dtype=torch.bfloat16)}, tmp_path / "model-2.safetensors")
    return tmp_path


def test_shapes_come_from_the_headers(folder: Path) -> None:
    require_model(folder, "test")
    assert tensor_shapes(folder, "test") == {"a": (2, 3), "b": (5,), "c": ()}


def test_only_the_models_files_count(folder: Path) -> None:
    names = [p.name for p in model_files(folder)]
    assert names == ["config.json", "model-1.safetensors", "model-2.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(
    "content", [b"", b"\x01\x02", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"[]", b"\x08" + b"\0" * 7]
)
def test_files_that_are_not_safetensors_are_named(folder: Path, content: bytes) -> None:
    (folder / "model-2.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"model-2\.safetensors"):
        require_model(folder, "test")


def test_a_header_that_lacks_something_is_named(folder: Path) -> None:
    for header in ('{"c": {"data_offsets": []}}', '{"c": {"data_offsets": [0, 0]}}', "[" * 9999):
        data = struct.pack("<Q", len(header)) + header.encode()
        (folder / "model-2.safetensors").write_bytes(data)
        with pytest.raises(InputError, match=r"model-2\.safetensors"):
            require_model(folder, "test")


def test_layers_that_the_weights_lack(folder: Path) -> None:
    save_file({"model.layers.0.up.weight": torch.zeros(1)}, folder / "model-1.safetensors")
    (folder / "config.json").write_text('{"num_hidden_layers": 2}')
    with pytest.raises(InputError, match="counts 2 layers, and the weights have 1"):
        require_model(folder, "test")


def test_pickled_weights_are_refused(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    with pytest.raises(InputError, match="no safetensors weights") as error:
        require_model(folder, "train.base.path")
    assert "convert" in error.value.remedy


def test_a_config_that_is_no_object_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    with pytest.raises(InputError, match="not a JSON object"):
        require_model(folder, "test")
    (folder / "config.json").write_text("[" * 9999)
    with pytest.raises(InputError, match="no readable config"):
        require_model(folder, "test")


def test_the_tokenizer_travels_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ 1 }}\n")
    (folder / "generation_config.json").write_text("{ }")
    target = tmp_path / "target"
    target.mkdir()
    copy_tokenizer(folder, target)
    names = {p.name for p in target.iterdir()}
    assert names == {"tokenizer.json", "chat_template.jinja", "generation_config.json"}
    assert (target / "generation_config.json").read_text() == "{ }"
