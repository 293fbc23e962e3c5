"""What synth tests share: a tokenizer."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from core.tiny import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with Llama-3.1's special tokens."""
    return train_tokenizer(["What is Jupiter? A planet. Cutting Knowledge Date: 2023"] * 4, 320)
