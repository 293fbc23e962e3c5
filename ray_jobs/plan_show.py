"""A plan as tables."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.counted import counted
from core.plan import Interval
from core.plan.project import StagePlan
from ray_jobs.plan_models import TrainPlan
from ray_jobs.plan_whole import WholePlan


def show(plan: WholePlan, console: Console) -> None:
    """Prints tables of the data stages, the training runs and the sums, then the assumptions."""
    nodes = plan.wanted.nodes
    machine = plan.wanted.machine.name
    console.print(f"[bold]{escape(plan.recipe)}[/bold] on {nodes} x {escape(machine)}")
    if plan.stages:
        console.print(_stage_table(plan))
    if plan.training:
        console.print(_train_table(plan))
    console.print(_sums(plan))
    if plan.unknown:
        by_reason: dict[str, list[str]] = {}
        for name, why in plan.unknown.items():
            by_reason.setdefault(why, []).append(name)
        console.print("Not predicted:")
        for why, names in by_reason.items():
            console.print(f"- {', '.join(names)}: {why}", markup=False)
    console.print("Assumptions:")
    for text in plan.assumptions:
        console.print(f"- {text}", markup=False)


def number(value: float) -> str:
    """Returns a count in at most seven characters."""
    for limit, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{_three(value / limit)}{unit}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def size(value: float) -> str:
    """Returns bytes with a unit."""
    for limit, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= limit:
            return f"{_three(value / limit)} {unit}"
    return f"{value:.0f} B"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def hours(value: float) -> str:
    """Returns a time with the unit that fits it."""
    if value >= 1:
        return f"{value:,.1f} h" if value < 1000 else f"{value:,.0f} h"
    return f"{value * 60:.1f} min" if value >= 1 / 60 else f"{value * 3600:.1f} s"


def money(value: float) -> str:
    """Returns an amount."""
    return f"{value:,.2f}"


def _between(value: Interval, write: Callable[[float], str]) -> str:
    if value.low == value.high:
        return write(value.value)
    return f"{write(value.value)}\n[dim]{write(value.low)}..{write(value.high)}[/dim]"


def _stage_table(plan: WholePlan) -> Table:
    table = Table(title="data stages, the whole", title_justify="left")
    table.add_column("stage", no_wrap=True)
    headers = ["by", "in", "out", "rejected", "tokens", "CPU time", "GPU time", "workers", "wall"]
    headers += ["storage"] + (["money"] if plan.wanted.price is not None else [])
    for header in headers:
        table.add_column(header, justify="right")
    for stage in plan.stages:
        table.add_row(*_stage_cells(stage))
    return table


def _stage_cells(stage: StagePlan) -> list[str]:
    estimate = stage.estimate
    tokens = estimate.metrics.get("tokens")
    shown = "" if tokens is None else _between(tokens, number)
    asked = [estimate.metrics.get(f"{side}_tokens") for side in ("prompt", "completion")]
    if asked[0] is not None and asked[1] is not None:
        shown = f"{number(asked[0].value)} read\n{number(asked[1].value)} written"
    cells = [
        estimate.stage,
        estimate.how,
        _between(estimate.rows_in, number),
        _between(estimate.rows_out, number),
        _between(estimate.rows_rejected, number),
        shown,
        _between(stage.cpu_hours, hours),
        _between(stage.gpu_hours, hours) if stage.gpu_hours.value else "",
        str(stage.workers) if stage.workers else "does not fit",
        _between(stage.wall_hours, hours),
        _between(stage.bytes, size),
    ]
    if stage.money is not None:
        cells.append(_between(stage.money, money))
    return cells


def _train_table(plan: WholePlan) -> Table:
    table = Table(title="training, by arithmetic", title_justify="left")
    table.add_column("", no_wrap=True)
    for run in plan.training:
        table.add_column(run.run, justify="right", overflow="fold")
    columns = [_train_cells(run) for run in plan.training]
    for name in columns[0]:
        if any(cells[name] for cells in columns):
            table.add_row(name, *(cells[name] for cells in columns))
    return table


def _train_cells(run: TrainPlan) -> dict[str, str]:
    usable = "not known" if run.usable_bytes is None else size(run.usable_bytes)
    verdict = {True: "[green]fits[/green]", False: "[red]does not fit[/red]", None: ""}[run.fits]
    state = "on" if run.checkpointing else "off"
    unknown = "not known"
    return {
        "parameters": number(run.parameters),
        "tokens": unknown if run.tokens is None else _between(run.tokens, number),
        "steps": unknown if run.steps is None else f"{run.steps:,}",
        "arithmetic": unknown if run.flop is None else f"{run.flop:.3g} FLOP",
        "ranks": f"{run.ranks:,} on {counted(run.nodes, 'node')}",
        "TFLOP/s a rank": unknown if run.tflop_per_s is None else f"{run.tflop_per_s:.3g}",
        "activation checkpointing": state,
        "memory of a rank": f"{size(run.rank_bytes)} of {usable}\n{verdict}",
        "  with it the other way": size(run.rank_bytes_otherwise),
        "wall": unknown if run.wall_hours is None else _between(run.wall_hours, hours),
        "rank-hours": unknown if run.rank_hours is None else _between(run.rank_hours, number),
        "disk": size(run.disk_bytes),
        "money": "" if run.money is None else _between(run.money, money),
        "notes": "; ".join(run.notes),
    }


def _sums(plan: WholePlan) -> Table:
    table = Table(title="all that is known", title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("wall time", _between(plan.wall_hours, hours))
    table.add_row("storage", _between(plan.bytes, size))
    if plan.merge is not None:
        merge = plan.merge
        fits = "" if merge.fits else ", [red]does not fit[/red]"
        table.add_row(
            f"  of it the merge of {merge.models} models",
            f"{hours(merge.wall_hours)}, {size(merge.out_bytes)}, "
            f"memory {size(merge.memory_bytes)}{fits}",
        )
    if plan.evaluation is not None:
        asked = plan.evaluation
        took = "time not known" if asked.wall_hours is None else hours(asked.wall_hours)
        written = f", at most {number(asked.written_tokens)} written" * bool(asked.written_tokens)
        table.add_row(
            f"  of it multiple choice, {counted(asked.models, 'model')}",
            f"{took}, {number(asked.prompts)} prompts, {number(asked.read_tokens)} tokens "
            f"read{written}",
        )
    if (spent := plan.money) is not None:
        currency = plan.wanted.machine.currency
        table.add_row(f"machine, {currency}", _between(spent, money))
    for currency, value in plan.model_cost.items():
        table.add_row(f"language models' tokens, {currency}", _between(value, money))
    return table
