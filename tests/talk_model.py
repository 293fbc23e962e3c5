"""A tiny Llama that reasons where the switch is on: a few conversations, learned by heart."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import torch

from core.chat import render_batch
from core.recipe.train import TinyModel
from core.tiny import make_tiny_llama, save_model, train_tokenizer

ON = "detailed thinking on"
QUESTION = "What is Titan?"
NEXT = "And Io?"
THOUGHT = "Titan circles Saturn."
ANSWER = "Titan is a moon of Saturn."
NEXT_THOUGHT = "Io circles Jupiter."
NEXT_ANSWER = "Io is a moon of Jupiter."

_STEPS = 110


def _reasoned(thought: str, answer: str) -> str:
    # A blank after the tag: ">\n" would be one token, and a prompt that ends with "<think>" would
    # end with other tokens than those learned.
    return f"<think> {thought}\n</think>\n\n{answer}"


def _conversations() -> list[list[dict[str, str]]]:
    def turns(*said: str, system: str | None = None) -> list[dict[str, str]]:
        roles = ("user", "assistant")
        first = [{"role": "system", "content": system}] if system else []
        return [*first, *({"role": roles[n % 2], "content": text} for n, text in enumerate(said))]

    return [
        turns(QUESTION, ANSWER),
        turns(QUESTION, ANSWER, NEXT, NEXT_ANSWER),
        turns(QUESTION, _reasoned(THOUGHT, ANSWER), system=ON),
        turns(QUESTION, ANSWER, NEXT, _reasoned(NEXT_THOUGHT, NEXT_ANSWER), system=ON),
    ]


@functools.cache
def thinker_folder() -> Path:
    """Its folder, made once in this process; some seconds."""
    scratch = tempfile.mkdtemp(prefix="astromill-thinker-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    return make_thinker(Path(scratch) / "thinker")


def make_thinker(folder: Path) -> Path:
    """Trains it and writes it."""
    talks = _conversations()
    texts = [message["content"] for talk in talks for message in talk]
    tokenizer = train_tokenizer(["system user assistant", *texts * 3], 400)
    shape = TinyModel(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
    )
    model = make_tiny_llama(shape, tokenizer, seed=0)
    rendered = render_batch(tokenizer, talks)
    width = max(len(r.input_ids) for r in rendered)
    ids = torch.zeros((len(rendered), width), dtype=torch.long)
    labels = torch.full((len(rendered), width), -100)
    for row, r in enumerate(rendered):
        here = torch.tensor(r.input_ids)
        ids[row, : len(here)] = here
        labels[row, : len(here)] = torch.where(torch.tensor(r.loss_mask) == 1, here, -100)
    # In the two-turn conversation with the switch on only the last answer reasons: the first one
    # stands as the context shows it, and is not learned.
    first_end = rendered[3].answer_ends[0]
    labels[3, :first_end] = -100
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    assert loss.item() < 0.02, f"the tiny model did not learn: loss {loss.item():.3f}"
    save_model(model.eval(), tokenizer, folder)
    return folder
