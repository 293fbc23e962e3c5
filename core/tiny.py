"""A small Llama made on the spot: byte-level BPE tokenizer, random weights, files on disk.

Why: the whole pipeline runs in minutes on one CPU, with the same classes, special tokens, chat
template and file layout as Llama-3.1-8B, so that what works on the tiny model works on the big one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from core.atomic import write_json
from core.chat import CHAT_TEMPLATE
from core.recipe.train import TinyModel

BOS, EOS, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"
EOT = "<|eot_id|>"
SPECIAL_TOKENS = (BOS, EOS, "<|start_header_id|>", "<|end_header_id|>", EOT, PAD)

# Llama 3's split: contractions, words with one leading mark, numbers in groups of three digits,
# runs of punctuation, line ends, other white space.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


_LONG_RUN = re.compile(r"(\S{1000}|\s{1000})(?:(?<=\S)\S+|(?<=\s)\s+)")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer with Llama-3.1's split, special tokens and chat template.

    The same texts give the same tokenizer.

    Args:
        texts: what to learn merges from.
        vocab_size: entries at most, special tokens included; at least 262 (256 bytes and these).

    Returns:
        A tokenizer that puts the beginning-of-text token in front, as Llama's does.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # A word of a million characters (a run of blanks, an image as text) takes quadratic time.
    tokenizer.train_from_iterator((_LONG_RUN.sub(r"\1", text) for text in texts), trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BOS} $A",
                pair=f"{BOS} $A {BOS}:1 $B:1",
                special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
            ),
        ]
    )
    fast: Any = PreTrainedTokenizerFast  # untyped in transformers
    wrapped: PreTrainedTokenizerFast = fast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )
    return wrapped


def make_tiny_llama(
    section: TinyModel, tokenizer: PreTrainedTokenizerBase, seed: int
) -> LlamaForCausalLM:
    """Returns a randomly initialised Llama in float32 with tied embeddings.

    Args:
        section: its shape. ``vocab_size`` is ignored: the tokenizer's actual size counts.
        tokenizer: from :func:`train_tokenizer`.
        seed: of the initialisation; the process's random state is left alone.
    """
    shape = section.model_dump(exclude={"vocab_size"})
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **shape,
    )
    make: Any = LlamaForCausalLM  # untyped in transformers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: LlamaForCausalLM = make(config).float().eval()
    model.generation_config = _generation_config(tokenizer)
    return model


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes weights (safetensors), tokenizer, our chat template and the generation config.

    The same weights give the same bytes: no paths, dates or library versions are written.

    Args:
        model: a Llama, tiny or not.
        tokenizer: a Llama-3.1 tokenizer; whatever chat template it carries, ours is written.
        folder: made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    _generation_config(tokenizer).save_pretrained(folder)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        _make_portable(folder / name)


def _generation_config(tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    """Stops at the end of the text and at the end of a turn."""
    make: Any = GenerationConfig  # untyped in transformers
    config: GenerationConfig = make(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(EOT)],
        pad_token_id=tokenizer.pad_token_id,
    )
    return config


def _make_portable(path: Path) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    for key in ("transformers_version", "_name_or_path", "name_or_path", "chat_template"):
        values.pop(key, None)
    write_json(path, values)
