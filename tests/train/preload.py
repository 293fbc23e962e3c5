"""What the ranks of a test need, imported once in the server that they are forked from."""

from train.zero import import_deepspeed

import_deepspeed(use_gpu=False)

import transformers.models.llama.configuration_llama  # noqa: E402, F401

import train.pipeline.engine  # noqa: E402, F401
