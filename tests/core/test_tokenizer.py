"""The tokenizer that is loaded without the model code is the one that AutoTokenizer loads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from core.errors import InputError
from core.tokenizer import load_tokenizer

TEXT = "Élise measured α Centauri at 4.37 light-years.<|eot_id|>\n\n  🎉 {x}"


def of_class(folder: Path, copy: Path, name: str) -> Path:
    shutil.copytree(folder, copy)
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": name}))
    return copy


@pytest.mark.parametrize("name", ["PreTrainedTokenizerFast", "TokenizersBackend", "LlamaTokenizer"])
def test_equals_the_auto_tokenizer(tiny_folder: Path, tmp_path: Path, name: str) -> None:
    folder = of_class(tiny_folder, tmp_path / "model", name)
    ours, reference = load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)
    assert type(ours) is type(reference)
    assert ours(TEXT).input_ids == reference(TEXT).input_ids
    assert ours.decode(ours(TEXT).input_ids) == reference.decode(reference(TEXT).input_ids)
    assert ours.special_tokens_map == reference.special_tokens_map
    assert ours.get_vocab() == reference.get_vocab()
    assert ours.chat_template == reference.chat_template


def test_a_plain_tokenizer_needs_no_pytorch(tiny_folder: Path, checkout: Path) -> None:
    code = (
        "import sys; from core.tokenizer import load_tokenizer; load_tokenizer(sys.argv[1]); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiny_folder)], cwd=checkout)
    assert done.returncode == 0


def test_no_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot load a tokenizer"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("change", [{"model": 5}, {"version": "9"}, {"added_tokens": [{}]}])
def test_a_damaged_tokenizer_is_named(
    tiny_folder: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match="cannot load a tokenizer: "):
        load_tokenizer(str(folder))


def test_a_length_that_is_no_number_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "model_max_length": "131072"}))
    with pytest.raises(InputError, match="model_max_length is no number: '131072'"):
        load_tokenizer(str(folder))
