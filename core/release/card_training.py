"""Training, merge and compute as a model's card shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.recipe.release import Release
from core.release.facts import ModelFacts, Training


def training_rows(training: list[Training]) -> list[tuple[str, list[str]]]:
    """Returns the rows of the table of training runs: what, and a cell for each run."""
    rows = [
        ("starts from", [f"`{t.init}`" for t in training]),
        ("data", [f"`{t.tokens_stage}`" for t in training]),
        ("steps", [_count(t.number("steps")) for t in training]),
        ("epochs", [_plain(t.number("epochs")) for t in training]),
        ("trained tokens", [_count(t.number("trained_tokens")) for t in training]),
        ("first loss", [_plain(t.number("first_loss")) for t in training]),
        ("last loss", [_plain(t.number("last_loss")) for t in training]),
        ("learning rate", [_plain(t.config.get("learning_rate")) for t in training]),
        ("schedule", [_schedule(t.config.get("schedule")) for t in training]),
        ("batch", [_batch(t) for t in training]),
        ("sequence length, tokens", [_count(t.sequence_length) for t in training]),
        ("weight decay", [_plain(t.config.get("weight_decay")) for t in training]),
        ("gradient norm at most", [_plain(t.config.get("max_grad_norm")) for t in training]),
        ("AdamW beta1, beta2, epsilon", [_adam(t.config) for t in training]),
        ("weights in", [str(t.config.get("dtype", "")) for t in training]),
    ]
    return [(name, values) for name, values in rows if any(values)]


def _count(value: float | None) -> str:
    return "" if value is None else f"{int(value):,}"


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else ""


def _batch(t: Training) -> str:
    tokens, sequences = t.config.get("global_batch_tokens"), t.config.get("global_batch_sequences")
    if isinstance(tokens, int):
        return f"{tokens:,} tokens"
    return f"{sequences:,} sequences" if isinstance(sequences, int) else ""


def _adam(config: Mapping[str, Any]) -> str:
    names = ("adam_beta1", "adam_beta2", "adam_epsilon")
    return ", ".join(_plain(config[name]) for name in names if name in config)


def _schedule(schedule: Any) -> str:
    if not isinstance(schedule, Mapping):
        return ""
    epochs, steps = schedule.get("warmup_epochs"), schedule.get("warmup_steps")
    warmup = f"{epochs:g} epochs" if epochs is not None else f"{steps} steps"
    if schedule.get("kind") == "cosine":
        return f"warmup {warmup}, cosine to {100 * schedule.get('final_fraction', 0):.0f}%"
    return f"warmup {warmup}, then constant"


def merge_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of the card's section on the merge, from its manifest's ``config``."""
    models = [
        {"model": m.get("model", ""), "weight": m.get("weight"), "density": m.get("density", 1.0)}
        for m in config.get("models", [])
    ]
    return {
        "method": config.get("method", ""),
        "base": config.get("base"),
        "out_dtype": config.get("out_dtype", ""),
        "models": models,
    }


def compute_lines(facts: ModelFacts, release: Release) -> list[str]:
    """Returns what is known of the work that the training took."""
    found = []
    total = sum(t.flop or 0.0 for t in facts.training)
    if total:
        found.append(
            f"about {total:.2g} floating-point operations in training, by the rule of six per "
            "parameter and trained token"
        )
    if release.hardware:
        found.append(f"hardware: {release.hardware}")
    if release.energy_kwh is not None:
        found.append(f"energy: {release.energy_kwh:,g} kWh")
    if release.carbon_kg is not None:
        found.append(f"CO2 equivalent: {release.carbon_kg:,g} kg ({release.carbon_source})")
    return found


def readable_count(value: float | None) -> str:
    """Returns a number of parameters in the unit that suits it: ``8.03 billion``."""
    number_ = float(value or 0)
    for unit, size in (("billion", 1e9), ("million", 1e6), ("thousand", 1e3)):
        if number_ >= size:
            return f"{number_ / size:.3g} {unit}"
    return f"{number_:.0f}"
