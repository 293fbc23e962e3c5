"""Loading a local Hugging Face model for the engine ``transformers``."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.errors import EngineError, first_line
from core.recipe.engine import Engine as EngineConfig

_LAYER = re.compile(r"\.layers\.\d+\.(?!.*rotary_emb\.inv_freq)")


def load(model_path: str, config: EngineConfig, device: torch.device) -> tuple[Any, Any]:
    """Returns tokenizer and model of a local folder."""
    folder = Path(model_path)
    remedy = "name a folder with config.json, *.safetensors and tokenizer.json, or a train stage"
    if not (folder / "config.json").is_file():
        raise EngineError("there is no model here", where=model_path, remedy=remedy)
    # A bar per worker and load would drown the run's own.
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    dtype = getattr(torch, choose_dtype(config, device))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # Any: the signature does not know output_loading_info.
        from_pretrained: Any = AutoModelForCausalLM.from_pretrained
        model, found = from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # of a damaged file the libraries raise whatever they like
        what = f"the model cannot be loaded: {first_line(error)}"
        raise EngineError(what, where=model_path, remedy=remedy) from error
    _check_complete(found, model_path)
    if not tokenizer.is_fast:
        raise EngineError(
            "the tokenizer gives no character offsets",
            where=model_path,
            remedy="add the model's tokenizer.json (a fast tokenizer)",
        )
    return tokenizer, model.to(device).eval()


def _check_complete(found: Mapping[str, Any], model_path: str) -> None:
    """Checks that every tensor came from the file: transformers draws those it lacks at random.

    Layers that the config does not count are left out as silently; other tensors that a text model
    has no use for, such as those of a vision tower, may be there.
    """
    lacking = sorted(found["missing_keys"])
    beyond = sorted(name for name in found["unexpected_keys"] if _LAYER.search(name))
    if lacking or beyond:
        what = f"lack the tensor {lacking[0]}" if lacking else f"have {beyond[0]} beyond its layers"
        raise EngineError(
            f"the model's weights {what}",
            where=model_path,
            remedy="config.json and weights are not of one model: copy or download it again",
        )


def choose_dtype(config: EngineConfig, device: torch.device) -> str:
    """Returns the number format: by itself bfloat16 on a GPU and float32 on a CPU.

    Few CPUs are fast in 16 bits, and float32 makes scores the same in any batch to 1e-6.
    """
    if config.dtype != "auto":
        return config.dtype
    return "float32" if device.type == "cpu" else "bfloat16"


@torch.inference_mode()
def check_head(model: Any, device: torch.device, model_path: str) -> None:
    """Checks that logits are the head's output: scoring applies the head to chosen states only."""
    probe = torch.tensor([[0, 1, 2, 3]], device=device)
    expected = model(input_ids=probe, use_cache=False).logits
    hidden = model.base_model(input_ids=probe, use_cache=False).last_hidden_state
    if not torch.allclose(model.get_output_embeddings()(hidden), expected, rtol=1e-2, atol=1e-2):
        raise EngineError(
            f"{type(model).__name__} changes its logits after the output layer",
            where=model_path,
            remedy="score with a Llama-like model, or through the engine kind 'vllm'",
        )
