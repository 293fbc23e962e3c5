"""Holds a documented command to the real parsers without running it."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from typer.main import get_command

from core.recipe import load_recipe
from ray_jobs.cli import app
from ray_jobs.pipeline import build_pipeline
from tests.docs.markdown import ROOT

PLACEHOLDERS = {
    "RECIPE": "recipes/demo.yaml",
    "my.yaml": "recipes/astrosage-8b.yaml",
    "JOB": "raysubmit_1",
    "runs/field": "runs/demo",
    "runs/field/corpus/ocr": "runs/demo/corpus/ocr",
    "host:port": "127.0.0.1:6379",
    "head:6379": "127.0.0.1:6379",
}
"""Words that stand for the reader's own, and what stands for them here."""

JOB_OPTIONS = {"--set", "--workers"}
"""Of ``python -m ray_jobs.<job>``; see ``ray_jobs.execute.job_main``."""

SLURM_OPTIONS = {
    *("--nodes", "--time", "--gpus-per-node", "-A", "--account", "--export", "--signal"),
    "--partition",
}


@cache
def root() -> Any:
    """Returns our command line's tree; making it takes a moment."""
    return get_command(app)


def is_group(command: Any) -> bool:
    return hasattr(command, "commands")


def find(command: Any, words: Sequence[str]) -> tuple[Any, list[str]]:
    """Returns the command that the words name, and the words that are left for it."""
    rest = list(words)
    while is_group(command) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"no command '{name}': {sorted(command.commands)}"
        command = command.commands[name]
    return command, rest


def check_astromill(words: Sequence[str], inline: bool = False) -> None:
    """Checks a command of ours: its name, options and values, recipe, overrides and stages.

    Args:
        words: what follows ``astromill``.
        inline: in a sentence the name, or the name with options, is enough.
    """
    command, rest = find(root(), words)
    if inline and all(word.startswith("-") for word in rest):
        options = {option for param in command.params for option in param.opts}
        assert set(rest) <= options, f"{words}: there are {sorted(options)}"
        return
    assert not is_group(command), f"a group, not a command: {list(words)}"
    ctx = command.make_context(command.name, [PLACEHOLDERS.get(w, w) for w in rest])
    given = ctx.params
    stages = [given[name] for name in ("until", "only") if given.get(name)]
    if "RECIPE" in words:
        assert set(stages) <= all_stages(), stages
        stages = []
    if given.get("recipe"):
        check_recipe(given["recipe"], given.get("set_") or [], stages)


def all_stages() -> set[str]:
    """Returns the stages that some recipe has: each has a command of its own."""
    return {
        f"{group}.{name.replace('-', '_')}"
        for group, found in root().commands.items()
        for name in getattr(found, "commands", ())
    }


def check_recipe(recipe: str, overrides: Sequence[str] = (), stages: Sequence[str] = ()) -> None:
    """Checks that a recipe is there and takes the overrides, and has the stages."""
    there = _stages_of(str(Path(recipe).absolute()), tuple(overrides))
    assert set(stages) <= there, stages


@cache
def _stages_of(recipe: str, overrides: tuple[str, ...]) -> frozenset[str]:
    return frozenset(build_pipeline(load_recipe(recipe, overrides)).stages)


def check_job(words: Sequence[str]) -> None:
    """Checks what follows ``python -m``: a module that is there; of a job its recipe, too."""
    flag, module, *rest = words
    assert flag == "-m", words
    assert importlib.util.find_spec(module) is not None, f"there is no module {module}"
    if module == "ray_jobs.reference":
        assert rest == []
    elif module.startswith("ray_jobs."):
        check_job_arguments(rest)


def check_job_arguments(words: Sequence[str]) -> None:
    recipe, *rest = words
    assert set(rest[::2]) <= JOB_OPTIONS, rest
    pairs = zip(rest[::2], rest[1::2], strict=True)
    check_recipe(
        PLACEHOLDERS.get(recipe, recipe), [value for name, value in pairs if name == "--set"]
    )


def check_ray(words: Sequence[str]) -> None:
    """Checks a command of Ray by Ray's own parser, and the job that it is given."""
    from ray.scripts.scripts import cli

    before, _, job = " ".join(words).partition(" -- ")
    command, rest = find(cli, before.split())
    if not rest and not job:
        return
    rest = [word.replace("PORT", "8080") for word in rest]
    command.make_context(command.name, [*rest, *(["--", *job.split()] if job else [])])
    if not job:
        return
    program, *arguments = job.split()
    assert program == "python", job
    check_job(arguments)


def check_sbatch(words: Sequence[str]) -> None:
    """Checks options, script, and what the script hands to the job."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option, equals, _ = rest.pop(0).partition("=")
        assert option in SLURM_OPTIONS, option
        if not equals:
            rest.pop(0)
    if rest:
        assert (ROOT / rest[0]).is_file(), rest[0]
        check_job_arguments(rest[1:])


def check_make(words: Sequence[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(words) <= set(targets), words


def check_pip(words: Sequence[str]) -> None:
    """Checks that the extras are ours."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] == "install", words
    for word in words:
        for extras in re.findall(r"^\.\[(.*)\]$", word):
            assert set(extras.split(",")) <= project["optional-dependencies"].keys(), extras
        assert not word.startswith("astromill"), "it is on no index: pip install -e '.[extra]'"


def check_hf(words: Sequence[str]) -> None:
    """Checks a command of the Hub's client by its own parser, which reads all before --help."""
    from click.testing import CliRunner
    from huggingface_hub.cli.hf import app as hub

    result = CliRunner().invoke(hub, [*words, "--help"])
    assert result.exit_code == 0, result.output


def check_vllm(words: Sequence[str]) -> None:
    """Checks that an option's JSON is JSON; the options are vLLM's, which is not always there."""
    assert words[0] == "serve", words
    for word in words:
        if word.startswith("{"):
            json.loads(word)


def check_curl(words: Sequence[str]) -> None:
    if "-d" in words:
        json.loads(words[words.index("-d") + 1])


def check_environment(values: dict[str, str]) -> None:
    """Checks that variables of ours are read somewhere."""
    sources = [*ROOT.glob("ray_jobs/**/*"), *ROOT.glob("core/**/*.py")]
    text = "".join(p.read_text() for p in sources if p.suffix in (".py", ".sh", ".sbatch"))
    for name in values:
        assert not name.startswith("ASTROMILL_") or name in text, name


def check_export(words: Sequence[str]) -> None:
    check_environment(dict(word.partition("=")[::2] for word in words))


def check_source(words: Sequence[str]) -> None:
    assert list(words) == [".venv/bin/activate"]


def check_nothing(words: Sequence[str]) -> None:
    """Of programs that only look at the machine."""


PROGRAMS: dict[str, Callable[[Sequence[str]], None]] = {
    "curl": check_curl,
    "export": check_export,
    "grep": check_nothing,
    "hf": check_hf,
    "make": check_make,
    "pip": check_pip,
    "python": check_job,
    "ray": check_ray,
    "sbatch": check_sbatch,
    "source": check_source,
    "ss": check_nothing,
    "vllm": check_vllm,
}
"""Programs that are not run, and what checks their arguments: they install, download, build for
minutes or need a cluster."""

SHELL = ("cp", "echo", "mkdir", "sed")
"""Programs that are run as they stand."""
