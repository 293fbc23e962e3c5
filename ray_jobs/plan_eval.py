"""The multiple-choice evaluation on a machine: questions counted, tokens and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import InputError
from core.plan import Machine
from core.recipe import LoadedRecipe
from core.recipe.mcq import Mcq
from core.stage import StageContext
from eval.items import Item, load_items
from eval.items.files import benchmark_file
from ray_jobs.train_runs import Shape
from train.budget import model_size

STAGE = "eval.mcq"

CHARS_PER_TOKEN = 4.0
"""English under the tokenizers of current models: about four."""


@dataclass(frozen=True)
class EvalPlan:
    """All models asked all questions.

    Args:
        models: of the recipe; those that another machine serves are not counted.
        questions: of all benchmarks.
        prompts: questions times models, modes and orders.
        read_tokens: of all prompts.
        written_tokens: at most: what the recipe lets answers take.
        flop: 2 per parameter and token, of what is read.
        wall_hours: of it at the machine's speed; None where that is not known.
        accelerators: that work at once.
    """

    models: int
    questions: int
    prompts: int
    read_tokens: float
    written_tokens: int
    flop: float
    wall_hours: float | None
    accelerators: int


def plan_eval(
    loaded: LoadedRecipe,
    ctx: StageContext,
    shape: Shape,
    machine: Machine,
    nodes: int,
    tflop_per_s: float | None,
) -> EvalPlan | None:
    """Returns the evaluation on a machine; None where the recipe has none or its files are missing.

    Args:
        loaded: the recipe.
        ctx: where its files are.
        shape: of the models, all taken as large as the base.
        machine: it runs on.
        nodes: of it.
        tflop_per_s: of an accelerator (or core); None: the machine's.
    """
    recipe = loaded.recipe
    if recipe.eval is None:
        return None
    section = recipe.eval.mcq
    try:
        asked = {b.name: load_items(benchmark_file(b, ctx))[0] for b in section.benchmarks}
    except InputError:
        return None
    prompts, written, models = 0, 0, 0
    read = 0.0
    for model in recipe.eval.models:
        if section.engine_of(model).kind == "openai":
            continue
        models += 1
        for mode in section.modes_of(model):
            for name, items in asked.items():
                orders = 1 if mode == "choice" else 1 + section.permutations
                prompts += len(items) * orders
                read += _read_tokens(section, name, mode, items) * orders
                written += len(items) * orders * _written(section, mode)
    size = model_size(*shape)
    flop = 2.0 * size.total * read
    rate = tflop_per_s or machine.train_tflop_per_s
    each = max(1, int(section.engine.gpus) or section.engine.tensor_parallel_size)
    at_once = min(section.workers * each, max(1, machine.accelerators_per_node * nodes))
    return EvalPlan(
        models,
        sum(map(len, asked.values())),
        prompts,
        read,
        written,
        flop,
        None if rate is None else flop / (rate * 1e12 * at_once * 3600),
        at_once,
    )


def _read_tokens(section: Mcq, benchmark: str, mode: str, items: list[Item]) -> float:
    shots = section.benchmark(benchmark).shots
    chars = 0
    for item in items:
        listed = sum(map(len, item.choices))
        # Likelihoods are of the question with one answer at a time; other modes list them all.
        many = len(item.question) * len(item.choices) if mode == "choice" else len(item.question)
        chars += many + listed
    solved = shots.count if shots is not None and mode == "letter" else 0
    return chars * (1 + solved) / CHARS_PER_TOKEN


def _written(section: Mcq, mode: str) -> int:
    return {"json": section.json_max_tokens, "reasoning": section.reasoning_max_tokens}.get(mode, 0)
