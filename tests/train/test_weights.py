"""Hugging Face weights a tensor at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from core.errors import InputError
from train.weights import ModelWeights, empty_model, fill, write_model

SHAPE = LlamaConfig(
    vocab_size=8192,
    hidden_size=768,
    intermediate_size=2048,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=2,
)
"""250 MB in float32: small beside a training run, large beside what a process takes anyway."""


def memory(key: str) -> int:
    """Bytes of this process, from Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1]) * 1024


def load_spread(rank: int, folder: Path, results: SimpleQueue[tuple[float, float]]) -> None:
    """Loads as one of two ranks of ZeRO-3; reports peak and end as parts of the rank's share."""
    from torch import distributed

    from train.zero import import_deepspeed, load_model

    import_deepspeed(use_gpu=False)
    os.environ["LOCAL_RANK"] = os.environ["RANK"] = str(rank)
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=2)
    # What a process takes anyway comes first: modules, buffers of gloo.
    distributed.broadcast(torch.zeros(2_000_000), 0)
    empty_model(folder, torch.float32)
    before = memory("VmRSS")
    # Starts the count of the peak anew.
    Path("/proc/self/clear_refs").write_text("5")
    model = load_model(folder, torch.float32, spread=True)
    share = sum(p.ds_tensor.numel() * 4 for p in model.parameters())
    results.put(((memory("VmHWM") - before) / share, share))
    distributed.barrier()


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_a_rank_of_stage_3_holds_its_share_and_little_more(tmp_path: Path) -> None:
    model = LlamaForCausalLM(SHAPE)
    model.save_pretrained(tmp_path)
    whole = sum(p.numel() * 4 for p in model.parameters())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.preload"])
    results = context.SimpleQueue()
    workers = [context.Process(target=load_spread, args=(r, tmp_path, results)) for r in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(500)
        assert worker.exitcode == 0
    for _ in workers:
        peak, share = results.get()
        assert share == pytest.approx(whole / 2, rel=0.001)
        assert peak < 1.3


@pytest.mark.parametrize("shard_bytes", [10**9, 60_000])
def test_what_is_written_is_read_again(tiny_model: Path, tmp_path: Path, shard_bytes: int) -> None:
    model = empty_model(tiny_model, torch.float32)
    fill(model, ModelWeights(tiny_model).read)
    expected = load_file(tiny_model / "model.safetensors")
    state = dict(model.named_parameters())
    assert set(state) == set(expected)
    sizes = {name: p.numel() * 4 for name, p in state.items()}
    tensors = ((name, p.detach()) for name, p in state.items())
    write_model(tmp_path / "out", model.config, sizes, tensors, shard_bytes)

    names = sorted(p.name for p in (tmp_path / "out").glob("*.safetensors"))
    if shard_bytes == 10**9:
        assert names == ["model.safetensors"]
    else:
        assert names[0] == f"model-00001-of-{len(names):05d}.safetensors"
        assert all((tmp_path / "out" / n).stat().st_size < 70_000 for n in names)
        index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == sum(sizes.values())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, value in again.named_parameters():
        assert torch.equal(value, expected[name]), name
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)


def test_weights_that_do_not_fit_the_config_are_an_error(tiny_model: Path, tmp_path: Path) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    norm = tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    model = empty_model(tmp_path, torch.float32)
    with pytest.raises(InputError, match=r"lack 'model\.norm\.weight'"):
        fill(model, ModelWeights(tmp_path).read)
    save_file({**tensors, "model.norm.weight": norm[:5]}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"has the shape \(5,\), config.json says \(32,\)"):
        fill(model, ModelWeights(tmp_path).read)
