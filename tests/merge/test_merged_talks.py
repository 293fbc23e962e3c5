"""A merged folder loads in transformers and in vLLM's server, answers under the right template, and
stops where a turn ends.

The models here are tables: the next token depends on the last one alone (attention and MLP add
nothing, embeddings are unit vectors), so what a right answer is can be written down. The table goes
on after the end of a turn: only the stop tokens end an answer.
"""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from core.atomic import write_json
from core.errors import InputError
from core.recipe.chat import Chat, Reasoning
from core.recipe.merge import Merge
from core.stage import StageContext
from core.tiny import save_model, train_tokenizer
from merge.stage import MergeStage
from merge.voice import END_TOKENS
from tests.core.llm.server_process import ServerProcess, vllm_server

# Plain prompts end with one token for the two line ends, prompts to think with a single one.
TEXTS = ["What is it?\n\nA star.\n\nA planet.\n\n"] * 20
PATHS = ("\n\nYes<|eot_id|>x", "\nhm,<|eot_id|>x")
ANSWERS = {False: "Yes", True: "hm,"}
QUESTION = [{"role": "user", "content": "What is it?"}]
SECTION: dict[str, Any] = {
    "base": "train.cpt",
    "models": [{"model": "train.sft", "weight": 0.75}, {"model": "instruct", "weight": 0.25}],
    "out_dtype": "float32",
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = train_tokenizer(TEXTS, 300)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|eom_id|>"]})
    return tokenizer


def table(tokenizer: PreTrainedTokenizerFast, scale: float) -> LlamaForCausalLM:
    """A model that follows PATHS; ``scale`` 0 prefers nothing."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=8,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).float()
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(tokenizer), 512))
        model.lm_head.weight.zero_()
        for path in PATHS:
            ids = tokenizer(path, add_special_tokens=False)["input_ids"]
            for last, following in itertools.pairwise(ids):
                model.lm_head.weight[following, last] = scale
    return model


@pytest.fixture(scope="module")
def merged_folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> Path:
    """Merged of a base, a tuned model, and an instruct model as Meta's folders are."""
    root = tmp_path_factory.mktemp("talks")
    ctx = StageContext(root / "run", root, seed=1)
    places = {"train.cpt": 0.0, "train.sft": 1.0, "instruct": 2.0}
    for name, scale in places.items():
        folder = root / name if name == "instruct" else ctx.folder(name) / "model"
        save_model(table(tokenizer, scale), tokenizer, folder)
        # A base model's settings: they do not know the end of a turn.
        GenerationConfig(eos_token_id=tokenizer.eos_token_id).save_pretrained(folder)
    instruct = root / "instruct"
    (instruct / "chat_template.jinja").unlink()
    settings = json.loads((instruct / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    settings["chat_template"] = "{{ 'the stock template' }}"
    write_json(instruct / "tokenizer_config.json", settings)
    write_json(instruct / "generation_config.json", {"temperature": 0.6, "do_sample": True})
    section = Merge.model_validate(SECTION)
    MergeStage(section, Chat(reasoning=Reasoning())).run(ctx, root / "out")
    return root / "out" / "model"


def test_settings_are_those_of_llama_instruct(
    merged_folder: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    ends = [tokenizer.convert_tokens_to_ids(token) for token in END_TOKENS]
    generation = GenerationConfig.from_pretrained(merged_folder)
    assert generation.eos_token_id == ends
    assert (generation.temperature, generation.do_sample) == (0.6, True)
    found = AutoTokenizer.from_pretrained(merged_folder)
    assert found.pad_token == "<|finetune_right_pad_id|>"
    assert generation.pad_token_id == found.pad_token_id
    assert generation.bos_token_id == found.bos_token_id
    config = json.loads((merged_folder / "config.json").read_text())
    assert config["eos_token_id"] == ends
    assert config["pad_token_id"] == found.pad_token_id
    assert config["dtype"] == "float32"
    text = found.apply_chat_template(QUESTION, tokenize=False, enable_thinking=True)
    assert "detailed thinking on<|eot_id|>" in text
    assert "the stock template" not in (merged_folder / "tokenizer_config.json").read_text()


@pytest.mark.parametrize("thinking", [False, True])
def test_transformers_answers_and_stops(merged_folder: Path, thinking: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(merged_folder)
    model = AutoModelForCausalLM.from_pretrained(merged_folder)
    prompt = tokenizer.apply_chat_template(
        QUESTION,
        add_generation_prompt=True,
        enable_thinking=thinking,
        return_tensors="pt",
        return_dict=True,
    )
    ids = model.generate(**prompt, do_sample=False, max_new_tokens=20)
    said = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :])
    assert said == ANSWERS[thinking] + "<|eot_id|>"


@pytest.fixture(scope="module")
def served(merged_folder: Path) -> Iterator[ServerProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        server = vllm_server(merged_folder, merged_folder.parent / "vllm.log")
        server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("thinking", [False, True])
def test_vllm_answers_and_stops(served: ServerProcess, thinking: bool) -> None:
    """The server knows nothing but the folder: its template, its stop tokens."""
    question = {
        "model": "tiny",
        "messages": QUESTION,
        "temperature": 0,
        "max_tokens": 20,
        "chat_template_kwargs": {"enable_thinking": thinking},
    }
    request = urllib.request.Request(
        f"{served.url}/chat/completions",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        choice = json.load(answer)["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == ANSWERS[thinking]


def test_a_tokenizer_without_the_chat_tokens_is_refused(
    merge_ctx: StageContext, tmp_path: Path
) -> None:
    from merge.voice import write_voice

    source = Path(merge_ctx.model_path("train.cpt"))
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "config.json").write_text((source / "config.json").read_text())
    content = json.loads((source / "tokenizer.json").read_text())
    content["added_tokens"] = [t for t in content["added_tokens"] if "header" not in t["content"]]
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {k: v for k, v in vocabulary.items() if "header" not in k}
    (plain / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"no <\|start_header_id\|>, <\|end_header_id\|>"):
        write_voice(plain, "float32", Chat(), tmp_path, "merge.merged")
    voice = write_voice(plain, "float32", None, tmp_path, "merge.merged")
    assert voice.template == "none"


def test_another_voice_and_its_own_template(merge_ctx: StageContext, tmp_path: Path) -> None:
    models = [{"model": "train.sft", "weight": 0.5}, {"model": "train.instruct", "weight": 0.5}]
    section = Merge.model_validate(
        {
            "base": "train.cpt",
            "models": models,
            "voice": "train.cpt",
            "chat_template": "voice",
            "measure": False,
        }
    )
    stage = MergeStage(section, Chat())
    assert "chat" not in stage.config()
    stage.run(merge_ctx, tmp_path)
    source = Path(merge_ctx.model_path("train.cpt"))
    for name in ("chat_template.jinja", "tokenizer.json"):
        assert (tmp_path / "model" / name).read_bytes() == (source / name).read_bytes()
