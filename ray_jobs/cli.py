"""The command line: ``astromill``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.markup import escape

from core.counted import counted
from core.errors import AstromillError, InputError
from core.recipe import Recipe, load_recipe
from core.secrets import redact_traces
from ray_jobs.chat_commands import add_chat_commands
from ray_jobs.cleaning_commands import CLEANING_OWN_COMMANDS, add_cleaning_commands
from ray_jobs.corpus_commands import OWN_COMMANDS, add_corpus_commands
from ray_jobs.execute import execute, explain
from ray_jobs.export_commands import add_export_commands
from ray_jobs.general_commands import GENERAL_OWN_COMMANDS, add_general_commands
from ray_jobs.inspect_path import inspect_path
from ray_jobs.judge_commands import JUDGE_OWN_COMMANDS, add_judge_commands
from ray_jobs.merge_commands import MERGE_OWN_COMMANDS, add_merge_commands
from ray_jobs.options import DEMO, Address, Overrides, RecipeFile, Workers, example
from ray_jobs.pipeline import build_pipeline
from ray_jobs.plan_commands import add_plan_commands
from ray_jobs.publish_commands import add_publish_commands
from ray_jobs.release_commands import add_release_commands
from ray_jobs.report_commands import add_report_commands
from ray_jobs.score_commands import SCORE_OWN_COMMANDS, add_score_commands
from ray_jobs.serve_commands import add_serve_commands
from ray_jobs.show_status import show_status
from ray_jobs.storage_commands import add_storage_commands
from ray_jobs.submit_commands import add_submit_commands
from ray_jobs.synth_commands import add_synth_commands
from ray_jobs.trace_commands import add_trace_commands
from ray_jobs.train_commands import add_train_commands
from ray_jobs.value_commands import add_value_commands
from ray_jobs.watch import watch as watch_run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="From a folder of papers to a scored domain-expert language model.\n\n"
    "Start with: astromill run " + DEMO + "\n\nAdd --debug to any command for a full trace.",
)


@app.command(epilog=example(f"astromill run {DEMO} --until corpus.tokens"))
def run(
    recipe: RecipeFile,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Run this stage and what it depends on.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Run this stage alone; its inputs must exist."),
    ] = None,
    set_: Overrides = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Run a recipe. Finished stages are skipped; a stopped run goes on where it was."""
    loaded = load_recipe(recipe, set_ or [])
    execute(loaded, lambda p: p.select(until, only), address=address, workers=workers)


@app.command(
    epilog=example(
        f"astromill status {DEMO} --set corpus.perplexity.drop_quantile=0.05",
        f"astromill status {DEMO} --watch",
    )
)
def status(
    recipe: RecipeFile,
    set_: Overrides = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow a run that is under way, here or elsewhere.")
    ] = False,
) -> None:
    """Show which stages are up to date, which would run again, and why."""
    pipeline = build_pipeline(load_recipe(recipe, set_ or []))
    if watch:
        watch_run(pipeline, Console())
        return
    show_status(pipeline, Console())


@app.command(epilog=example("astromill inspect runs/demo/corpus/filter --rows 2"))
def inspect(
    path: Annotated[Path, typer.Argument(help="Stage folder or Parquet file.")],
    rows: Annotated[int, typer.Option(min=0, help="Rows to show.")] = 3,
) -> None:
    """Show what a dataset holds: account, schema, rejects by reason, first rows."""
    inspect_path(path, rows, Console())


recipe_app = typer.Typer(no_args_is_help=True, help="Check, show and describe recipes.")
app.add_typer(recipe_app, name="recipe")


@recipe_app.command(epilog=example(f"astromill recipe check {DEMO}"))
def check(
    recipe: RecipeFile,
    set_: Overrides = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail where a file that it names is not there.")
    ] = False,
) -> None:
    """Check a recipe: its keys and values, what it would run, and which files are not there yet."""
    pipeline = build_pipeline(load_recipe(recipe, set_ or []))
    console = Console(highlight=False)
    missing = []
    for stage in pipeline.stages.values():
        try:
            stage.source_files(pipeline.ctx)
        except InputError as error:
            if strict:
                raise
            missing.append(f"{error.what} ({error.where})")
    names = ", ".join(pipeline.stages)
    console.print(f"[green]ok[/green]: {counted(len(pipeline.stages), 'stage')}: {names}")
    # Several stages may read one file.
    for what in dict.fromkeys(missing):
        console.print(f"[yellow]not there yet[/yellow]: {escape(what)}")


@recipe_app.command(epilog=example("astromill recipe schema > astromill.schema.json"))
def schema() -> None:
    """Print the recipe's JSON Schema, for editors."""
    sys.stdout.write(json.dumps(Recipe.model_json_schema(), indent=2) + "\n")


@recipe_app.command(epilog=example(f"astromill recipe show {DEMO} --set seed=7"))
def show(recipe: RecipeFile, set_: Overrides = None) -> None:
    """Print a recipe with every default and override filled in."""
    data = load_recipe(recipe, set_ or []).recipe.model_dump(mode="json")
    sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


_STAGES = {
    "corpus": {
        "wiki_pages": "Search Wikipedia's categories for articles.",
        "catalog": "List what there is to read, after the filters.",
        "ingest": "Read the sources into documents.",
        "ocr": "Read the text of PDFs.",
        "normalize": "Repair Unicode with ftfy.",
        "repetition": "Cut the loops of OCR models.",
        "scorer_tokens": "Pack the text that a small perplexity scorer is trained on.",
        "perplexity_score": "Score every paragraph's perplexity.",
        "threshold": "Choose the perplexity threshold.",
        "filter": "Cut the paragraphs above the threshold.",
        "dedup_signatures": "Hash every document for finding duplicates.",
        "dedup_clusters": "Find which documents are the same.",
        "dedup": "Keep one document of each that are the same.",
        "contamination": "Look for benchmark questions in the documents.",
        "contamination_report": "Report which questions were found.",
        "decontaminate": "Cut what holds benchmark questions.",
        "tokens": "Tokenize and pack documents for pretraining.",
        "replay_index": "List the general text for replay.",
        "replay_plan": "Choose each epoch's replay.",
        "replay_documents": "Read the chosen general text.",
        "replay": "Tokenize and pack each epoch's replay.",
    },
    "synth": {
        "summaries": "Summarize the documents.",
        "summary_conversations": "Ask for the summaries in conversations.",
        "qa": "Write question-answer pairs from the documents.",
        "judge": "Score the pairs on four criteria.",
        "judge_second": "Score the pairs by a second judge.",
        "judge_report": "Show how the judges scored and agree.",
        "pairs": "Keep the pairs that score well.",
        "conversations": "Turn pairs into conversations.",
        "metadata": "Ask for titles, dates, identifiers and authors.",
        "instruct": "Read general instruction conversations.",
        "control": "Turn unrelated questions into conversations in the benchmark's format.",
        "mixture_rows": "Describe every conversation: size, signature, benchmark questions.",
        "mixture_plan": "Choose what the mixture takes, and its order.",
        "mixture_pick": "Take the chosen conversations.",
        "mixture": "Shuffle them into one data set.",
        "sft_tokens": "Render and pack the mixture for fine-tuning.",
        "instruct_tokens": "Render and pack the instruction conversations.",
        "control_tokens": "Render and pack the control's conversations.",
    },
    "train": {
        "base": "Take or make the base model and tokenizer.",
    },
    "merge": {
        "merged": "Merge models through mergekit.",
        "sweep": "Score the merge at several weights.",
        "sweep_figure": "Draw the sweep.",
    },
    "eval": {
        "mcq": "Answer the multiple-choice benchmarks.",
        "heldout": "Score held-out text.",
        "scores": "Gather scores with intervals.",
        "general_tasks": "Ask the tasks of general benchmarks through lm-eval.",
        "general": "Add up the general benchmarks and draw them.",
        "control": "Compare the merge with the control.",
        "value": "Place the run's models by score and cost.",
        "questions_clean": "Find questions that need one paper, with a language model.",
        "questions_report": "Write the cleaned questions and the account.",
        "report": "Write the HTML report.",
    },
}
"""Every stage there is, for ``--help``; a recipe makes some or all of them."""


_OWN_COMMANDS = {
    *OWN_COMMANDS,
    *JUDGE_OWN_COMMANDS,
    *GENERAL_OWN_COMMANDS,
    *SCORE_OWN_COMMANDS,
    *CLEANING_OWN_COMMANDS,
    *MERGE_OWN_COMMANDS,
}
"""Stages whose command does more than run them."""


def _stage_command(name: str, text: str) -> Callable[..., None]:
    def command(
        recipe: RecipeFile,
        set_: Overrides = None,
        workers: Workers = None,
        address: Address = None,
    ) -> None:
        loaded = load_recipe(recipe, set_ or [])
        execute(loaded, lambda p: p.select(only=name), address=address, workers=workers)

    command.__doc__ = f"{text} Runs stage `{name}` alone; the stages it reads must be up to date."
    return command


_GROUP_COMMANDS = {
    "corpus": (add_corpus_commands,),
    "synth": (add_synth_commands, add_judge_commands),
    "train": (add_train_commands, add_export_commands),
    "merge": (add_merge_commands,),
    "eval": (add_general_commands, add_score_commands, add_cleaning_commands),
}
"""What adds the commands of a group that do more than run a stage."""


def _add_stages() -> None:
    for group, steps in _STAGES.items():
        group_app = typer.Typer(no_args_is_help=True, help=f"The {group} stages, one by one.")
        for add in _GROUP_COMMANDS[group]:
            add(group_app)
        for step, text in steps.items():
            if f"{group}.{step}" in _OWN_COMMANDS:
                continue
            command = step.replace("_", "-")
            shown = example(f"astromill {group} {command} {DEMO}")
            group_app.command(command, epilog=shown)(_stage_command(f"{group}.{step}", text))
        app.add_typer(group_app, name=group)


_add_stages()
add_submit_commands(app)
add_plan_commands(app)
add_publish_commands(app)
add_trace_commands(app)
add_value_commands(app)
add_report_commands(app)
add_chat_commands(app)
add_serve_commands(app)
add_release_commands(app)
add_storage_commands(app)


def main() -> None:
    """Runs the command line; exit codes: 0 done, 1 failed, 2 wrong use."""
    debug = "--debug" in sys.argv or bool(os.environ.get("ASTROMILL_DEBUG"))
    sys.argv[1:] = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        app()
    except AstromillError as error:
        if debug:
            raise
        explain(error, Console(stderr=True))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if debug:
            raise
        missing = AstromillError(
            f"the package '{error.name}' is not installed",
            where="this Python environment",
            remedy="pip install -c constraints.txt -e '.[ocr,nougat,train,eval]' "
            "(or run: make install-dev)",
        )
        explain(missing, Console(stderr=True))
        sys.exit(1)
    finally:
        # Typer has put a hook of its own in place.
        redact_traces()


if __name__ == "__main__":
    main()
