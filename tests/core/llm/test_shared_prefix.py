"""Prompts that begin alike: grouped well, and weighed as if each were read alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    MistralConfig,
    MistralForCausalLM,
)

from core.llm import ChoiceRequest, open_engine
from core.llm.shared_prefix import can_share, group_prefixes
from core.recipe.engine import Engine as EngineConfig

SHOTS = "Jupiter is the largest planet in the Solar System. Saturn has rings of water ice. " * 2
PROMPTS = [SHOTS + f"Is {name} a planet? {'Think well. ' * n}Answer:" for n, name in
           enumerate(("Jupiter", "Titan", "Saturn", "Élise", "α Centauri"))]  # fmt: skip
LETTERS = (" A", " B", "C", "D")


def test_texts_with_a_long_common_beginning_form_a_group() -> None:
    first, second = [1, *range(100, 160)], [1, *range(200, 260)]
    texts = [[*first, 7], [*second, 7, 8], [1, 5, 6], [*first, 9], [*second, 9], [*first, 7, 7]]
    groups = {tuple(sorted(g.members)): g.length_tokens for g in group_prefixes(texts)}
    # All texts share the token 1, which is not worth a pass of its own.
    assert groups == {(0, 3, 5): 61, (1, 4): 61, (2,): 0}


def test_every_text_is_in_one_group_and_has_a_token_of_its_own() -> None:
    rng = random.Random(3)
    starts = [[rng.randrange(9) for _ in range(n)] for n in (40, 40, 25, 3)]
    texts = [
        [*rng.choice(starts), *(rng.randrange(9) for _ in range(rng.randrange(1, 12)))]
        for _ in range(300)
    ]
    texts += texts[:20]
    groups = group_prefixes(texts)
    assert sorted(n for g in groups for n in g.members) == list(range(len(texts)))
    for group in groups:
        beginnings = {tuple(texts[n][: group.length_tokens]) for n in group.members}
        assert len(beginnings) == 1
        assert all(len(texts[n]) > group.length_tokens for n in group.members)
    shared = sum(g.length_tokens * (len(g.members) - 1) for g in groups)
    assert shared > sum(map(len, texts)) / 2
    turned = group_prefixes(texts[::-1])
    assert {g.length_tokens for g in turned} == {g.length_tokens for g in groups}


def test_nothing_and_one_text() -> None:
    assert group_prefixes([]) == []
    (group,) = group_prefixes([[5]])
    assert (group.length_tokens, group.members) == (0, [0])
    # Many equal texts: the order of their numbers, no deep recursion.
    (group,) = group_prefixes([[1, 2, 3]] * 5000)
    assert (group.length_tokens, group.members) == (2, list(range(5000)))


@pytest.mark.parametrize("batch_tokens", [64, 16384])
def test_choices_after_a_shared_beginning_equal_plain_forward_passes(
    tiny_folder: Path, batch_tokens: int
) -> None:
    config = EngineConfig(
        kind="transformers", model="tiny", dtype="float32", batch_tokens=batch_tokens
    )
    engine = open_engine(config, str(tiny_folder))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    requests = [ChoiceRequest(prompt=p, choices=LETTERS[:2]) for p in PROMPTS]
    requests += [ChoiceRequest(prompt=p, choices=LETTERS[2:]) for p in PROMPTS]
    answers = engine.choose(requests)
    for request, answer in zip(requests, answers, strict=True):
        assert answer.error is None
        ids = tokenizer(request.prompt)["input_ids"]
        for choice, found in zip(request.choices, answer.logprobs, strict=True):
            more = tokenizer(choice, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                table = model(torch.tensor([ids + more])).logits[0].log_softmax(-1)
            expected = sum(float(table[len(ids) - 1 + n, token]) for n, token in enumerate(more))
            assert found == pytest.approx(expected, abs=1e-5)
    whole = sum(len(tokenizer(r.prompt)["input_ids"]) for r in requests)
    assert engine.work()["forward_tokens"] < whole / 2


def test_a_window_of_attention_is_not_shared() -> None:
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 32,
             "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip
    narrow = MistralForCausalLM(MistralConfig(**shape, sliding_window=8))
    wide = AutoModelForCausalLM.from_config(LlamaConfig(**shape))
    assert can_share(wide)
    assert not can_share(narrow)


def test_a_prompt_too_long_loses_its_beginning_where_told(tiny_folder: Path) -> None:
    engine = open_engine(EngineConfig(kind="transformers", model="tiny"), str(tiny_folder))
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    prompt = ("Saturn has rings of water ice. " * 40).strip()
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"][-256:]
    refused, cut = engine.choose(
        [ChoiceRequest(prompt=prompt, choices=("J", "S"), cut=cut) for cut in (False, True)]
    )
    assert "the context holds 256" in str(refused.error)
    with torch.no_grad():
        table = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    expected = [float(table[tokenizer.convert_tokens_to_ids(mark)]) for mark in "JS"]
    assert cut.logprobs == pytest.approx(expected, abs=1e-5)
