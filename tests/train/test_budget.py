from __future__ import annotations

import pytest

from core.recipe.parallel import Parallel
from core.recipe.train import ModelShape, ReferenceRate, Schedule, TinyModel, Trainer
from train.budget import flop_per_token, model_size, plan_run, rank_memory

LLAMA_8B = ModelShape(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
LLAMA_70B = LLAMA_8B.model_copy(
    update={
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
    }
)
ASTROSAGE_8B = Trainer(
    epochs=2,
    global_batch_tokens=1472 * 3 * 8192,
    micro_batch_size=3,
    num_workers=1472,
    zero_stage=3,
    dtype="bfloat16",
    schedule=Schedule(warmup_steps=40),
    plan_tokens=3_300_000_000,
    parallel=Parallel(activation_checkpointing=True),
)


def test_sizes_are_those_of_the_published_models() -> None:
    assert model_size(LLAMA_8B).total == 8_030_261_248
    assert model_size(LLAMA_70B).total == 70_553_706_496


@pytest.mark.parametrize("tied", [True, False])
def test_sizes_equal_those_of_hugging_face(tied: bool) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = TinyModel(vocab_size=300, hidden_size=48, num_attention_heads=6, num_key_value_heads=2)
    model = LlamaForCausalLM(LlamaConfig(**shape.model_dump(), tie_word_embeddings=tied))
    assert model_size(shape, tied).total == sum(p.numel() for p in model.parameters())


def test_arithmetic_by_hand() -> None:
    """8 billion less the input embeddings, times six, and the attention's share at 8,192."""
    multiplied = 8_030_261_248 - 128256 * 4096
    assert flop_per_token(LLAMA_8B, 8192) == 6 * multiplied + 6 * 32 * 8192 * 4096
    assert flop_per_token(LLAMA_8B, 8192, tied=True) == flop_per_token(LLAMA_8B, 8192)


def test_astrosage_8b_in_numbers() -> None:
    """AstroMLab 3, Table 1: 3.3 billion tokens, two epochs, 1,472 GCDs, 64 GB each."""
    plan = plan_run(LLAMA_8B, ASTROSAGE_8B, 8192)
    assert plan.accumulation == 1
    assert plan.batch_tokens == 36_175_872
    assert plan.steps == 183
    assert plan.tokens == 6_600_015_872
    assert 40e9 < plan.memory.total < 64e9


def test_memory_shrinks_with_what_spreads_it() -> None:
    def memory(**changes: object) -> int:
        section = Trainer(num_workers=8, dtype="bfloat16").model_copy(update=changes)
        return rank_memory(LLAMA_8B, section, 2048).total

    stages = [memory(zero_stage=stage) for stage in (1, 2, 3)]
    assert stages == sorted(stages, reverse=True)
    cut = Parallel(engine="pipeline", tensor_parallel_size=4, pipeline_parallel_size=2)
    whole = Parallel(engine="pipeline", tensor_parallel_size=1, pipeline_parallel_size=1)
    assert memory(parallel=cut) < memory(parallel=whole)
    again = Parallel(activation_checkpointing=True)
    assert memory(parallel=again) < memory(parallel=Parallel())


def test_optimizer_states_by_hand() -> None:
    """Float32: two moments; bfloat16: float32 weights, too (ZeRO, section 3.1)."""
    numbers = model_size(LLAMA_8B).total
    full = rank_memory(LLAMA_8B, Trainer(num_workers=4), 128)
    mixed = rank_memory(LLAMA_8B, Trainer(num_workers=4, dtype="bfloat16"), 128)
    assert full.optimizer == numbers * 8 // 4
    assert mixed.optimizer == numbers * 12 // 4
    assert (full.weights, mixed.weights) == (numbers * 4, numbers * 2)


def test_a_batch_in_tokens_becomes_sequences() -> None:
    section = Trainer(global_batch_tokens=65536, micro_batch_size=2, num_workers=4)
    assert section.resolved(1024).global_batch_sequences == 64
    assert plan_run(LLAMA_8B, section, 1024).accumulation == 8
    with pytest.raises(ValueError, match="65,536 is not a multiple of sequence_length 1,000"):
        section.resolved(1000)


def test_the_rate_per_token_is_kept() -> None:
    """AstroMLab 4, section 2.1: a batch a quarter as large has a quarter of the rate."""
    reference = ReferenceRate(learning_rate=1.5e-4, global_batch_tokens=16_777_216)
    section = Trainer(
        global_batch_tokens=4_194_304, micro_batch_size=1, learning_rate_as_in=reference
    )
    resolved = section.resolved(8192)
    assert resolved.learning_rate == pytest.approx(3.75e-5)
    assert Trainer.model_validate(resolved.model_dump()) is not None


def test_without_data_or_plan_tokens_there_are_no_steps() -> None:
    plan = plan_run(LLAMA_8B, Trainer(), 8192)
    assert plan.steps is None
    assert plan_run(LLAMA_8B, Trainer(), 8192, sequences=80).steps == 10


def test_a_batch_that_does_not_divide_names_the_numbers() -> None:
    section = Trainer(global_batch_tokens=12 * 512, micro_batch_size=2, num_workers=4)
    with pytest.raises(ValueError, match=r"12 is not .* 2 x data_parallel_size 4 = 8: give 8 or"):
        section.resolved(512)
