"""``astromill plan``: what a recipe will take on a machine, by a sample, a run or its numbers."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from core.errors import InputError, UsageError
from core.plan import Machine, load_machine
from core.recipe import LoadedRecipe, load_recipe
from ray_jobs.options import Address, AsJson, Overrides, RecipeFile, Workers, example, print_json
from ray_jobs.pipeline import build_pipeline
from ray_jobs.plan_sample import parse_share, run_sample, sources_missing
from ray_jobs.plan_show import show
from ray_jobs.plan_whole import Wanted, WholePlan, plan_of_numbers, plan_of_run, plan_of_sample

Share = Annotated[
    str,
    typer.Option(
        metavar="SHARE",
        help="Share of the sources to run the data stages on; 0: none, only the models.",
    ),
]
FromRun = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN", help="Folder of an earlier run to take the numbers of, instead of a sample."
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help="Last stage to run on the sample; others cost nothing."),
]
MachineName = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="What it will run on: a file, or a name in samples/machines/ such as frontier.",
    ),
]
Nodes = Annotated[
    int | None, typer.Option(min=1, help="How many nodes of it; default: what its file says.")
]
Price = Annotated[
    float | None, typer.Option(min=0, help="Price of a node-hour; default: the machine's.")
]
Tflops = Annotated[
    float | None,
    typer.Option(min=1e-9, help="TFLOP/s that a training rank reaches; default: the machine's."),
]


def add_plan_commands(app: typer.Typer) -> None:
    """Adds the command to the program."""
    shown = example(
        "astromill plan recipes/demo.yaml --sample 50% --machine laptop",
        "astromill plan recipes/demo.yaml --from-run runs/demo --machine h200x8 --price 25",
        "astromill plan recipes/astrosage-70b.yaml --sample 0 --machine frontier --nodes 256",
    )
    app.command("plan", epilog=shown)(_plan)


def _plan(
    recipe: RecipeFile,
    sample: Share = "1%",
    from_run: FromRun = None,
    until: Until = None,
    machine: MachineName = "laptop",
    nodes: Nodes = None,
    price: Price = None,
    tflops: Tflops = None,
    as_json: AsJson = False,
    set_: Overrides = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Predict rows, tokens, hours, storage and money of a recipe, before it is run.

    The data stages run on a share of the sources, in `plan/` of the run's folder; the run itself is
    not touched, and planning again for another machine takes the same sample. Training and
    merging are computed. What the numbers rest on is printed below them.

    Language models of the recipe are really asked, for the sample: --until stops before them.
    """
    loaded = load_recipe(recipe, set_ or [])
    kind = load_machine(machine)
    wanted = Wanted(
        kind,
        nodes or kind.nodes,
        kind.price_per_node_hour if price is None else price,
        tflops,
    )
    if from_run is not None:
        plan = _from_run(loaded, from_run, wanted)
    elif sample.rstrip("%") in ("0", "0.0"):
        plan = _from_numbers(loaded, wanted, "not measured (--sample 0)")
    elif (missing := sources_missing(loaded)) is not None:
        plan = _from_numbers(loaded, wanted, f"not measured: {missing.what} ({missing.where})")
    else:
        share, progress = parse_share(sample), Console(stderr=True)
        found = run_sample(
            loaded, share, until=until, address=address, workers=workers, console=progress
        )
        plan = plan_of_sample(loaded, found, wanted)
    if as_json:
        print_json(plan_json(plan))
    else:
        show(plan, Console(highlight=False))


def _from_numbers(loaded: LoadedRecipe, wanted: Wanted, why: str) -> WholePlan:
    return plan_of_numbers(loaded, build_pipeline(loaded), wanted, why)


def _from_run(loaded: LoadedRecipe, folder: Path, wanted: Wanted) -> WholePlan:
    if not folder.is_dir():
        raise UsageError(
            "there is no such run",
            where=f"option --from-run {folder}",
            remedy="give the folder of a run, such as runs/demo",
        )
    moved = loaded.recipe.model_copy(update={"run_dir": str(folder.absolute())})
    plan = plan_of_run(loaded, build_pipeline(replace(loaded, recipe=moved)), wanted)
    if not plan.stages:
        raise InputError(
            "no stage of the recipe has finished in this folder",
            where=str(folder),
            remedy="give a run of the same recipe, or leave --from-run out to measure a sample",
        )
    return plan


def plan_json(plan: WholePlan) -> dict[str, Any]:
    """Returns a plan as JSON values."""
    machine: Machine = plan.wanted.machine
    money = plan.money
    return {
        "recipe": plan.recipe,
        "machine": machine.model_dump(mode="json"),
        "nodes": plan.wanted.nodes,
        "price_per_node_hour": plan.wanted.price,
        "stages": [asdict(stage) for stage in plan.stages],
        "training": [{**asdict(run), "fits": run.fits} for run in plan.training],
        "merge": None if plan.merge is None else asdict(plan.merge),
        "evaluation": None if plan.evaluation is None else asdict(plan.evaluation),
        "total": {
            "wall_hours": asdict(plan.wall_hours),
            "bytes": asdict(plan.bytes),
            "money": None if money is None else asdict(money),
            "model_cost": {name: asdict(value) for name, value in plan.model_cost.items()},
        },
        "unknown": plan.unknown,
        "assumptions": plan.assumptions,
    }
