"""The command line as a user meets it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from core.recipe import load_recipe
from core.yaml_reader import read_yaml
from ray_jobs.cli import _STAGES
from ray_jobs.pipeline import build_pipeline
from ray_jobs.train_runs import RUNS

Cli = Callable[..., subprocess.CompletedProcess[str]]


def three_lines(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The error's lines by their label; nothing else may stand beside them."""
    lines = done.stderr.strip().splitlines()
    assert [line[:7].strip() for line in lines] == ["error:", "where:", "do:"], done.stderr
    return {line[:7].strip(": "): line[7:] for line in lines}


def test_help_of_every_command_shows_an_example(here: Cli) -> None:
    commands = [["run"], ["status"], ["inspect"], ["recipe", "check"]]
    steps = [[group, next(iter(steps))] for group, steps in _STAGES.items()]
    commands += [[group, step.replace("_", "-")] for group, step in steps]
    for command in commands:
        done = here(*command, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout
        assert f"astromill {' '.join(command).replace('_', '-')} " in done.stdout


def test_every_stage_has_its_command(checkout: Path) -> None:
    folder = checkout / "recipes"
    replay = "corpus.replay={paths: [general.parquet]}"
    second = "synth.judge.second={engine: {kind: rules}}"
    more = [
        "eval.value={}",
        "eval.cleaning={engine: {kind: rules}, path: samples/mcq/astronomy.jsonl}",
        "eval.general={tasks: [{name: leaderboard_ifeval, path: ifeval}]}",
        "merge.sweep={weights: [0.0, 1.0]}",
    ]
    recipes = [
        load_recipe(folder / "demo.yaml", [replay, second, *more]),
        load_recipe(folder / "sources.yaml"),
        load_recipe(folder / "control-demo.yaml"),
    ]
    made = {name for recipe in recipes for name in build_pipeline(recipe).stages}
    known = [f"{group}.{step}" for group, steps in _STAGES.items() for step in steps]
    known += [f"train.{run}" for run in RUNS]
    assert sorted(known) == sorted(made)


@pytest.mark.parametrize(
    ("override", "what", "remedy"),
    [
        ("corpus.perplexity.drop_quantil=0.1", "unknown key 'drop_quantil'", "'drop_quantile'"),
        ("seed=many", "'many' does not fit", "recipe schema"),
        ("train.cpt.micro_batch_size=7", "is not a multiple of micro_batch_size 7", "holds"),
        ("nonsense", "has no value", "key.path=value"),
    ],
)
def test_wrong_recipe_is_three_lines(here: Cli, override: str, what: str, remedy: str) -> None:
    done = here("recipe", "check", "recipes/demo.yaml", "--set", override)
    assert done.returncode == 2
    lines = three_lines(done)
    assert what in lines["error"]
    assert remedy in lines["do"]


def test_wrong_key_in_the_file_names_its_line(here: Cli, checkout: Path, tmp_path: Path) -> None:
    text = (checkout / "recipes/demo.yaml").read_text().replace("drop_quantile:", "drop_quantle:")
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    number = next(i for i, line in enumerate(text.splitlines(), 1) if "drop_quantle" in line)
    lines = three_lines(here("run", str(path)))
    assert f"wrong.yaml:{number}" in lines["where"]
    assert "did you mean 'drop_quantile'" in lines["do"]


def test_missing_files_are_named(here: Cli) -> None:
    lines = three_lines(here("run", "recipes/nothing.yaml"))
    assert "nothing.yaml" in lines["where"]
    done = here("run", "recipes/demo.yaml", "--set", "corpus.sources.1.paths=[samples/nowhere]")
    assert done.returncode == 1
    lines = three_lines(done)
    assert "samples/nowhere" in lines["error"]
    assert "corpus.sources.1.paths" in lines["where"]


def test_unknown_stage(here: Cli) -> None:
    done = here("run", "recipes/demo.yaml", "--until", "corpus.tokenz")
    assert done.returncode == 2
    assert "corpus.tokens" in three_lines(done)["do"]


def test_debug_shows_the_trace(cli: Cli) -> None:
    done = cli("run", "recipes/nothing.yaml", "--debug")
    assert "Traceback" in done.stderr


def test_recipe_schema_and_show(here: Cli) -> None:
    schema = json.loads(here("recipe", "schema").stdout)
    assert schema["additionalProperties"] is False
    assert {"corpus", "train", "synth", "merge", "eval"} <= schema["properties"].keys()
    shown = read_yaml(here("recipe", "show", "recipes/demo.yaml", "--set", "seed=7").stdout)
    assert shown["seed"] == 7
    assert shown["corpus"]["ocr"]["backend"] == "textlayer"


def test_run_status_inspect(
    cli: Cli, here: Cli, tmp_path: Path, write_recipe: Callable[[Path], Path]
) -> None:
    """Ingest and OCR for real; then what status and inspect say of it."""
    run_dir = tmp_path / "run"
    recipe = str(write_recipe(run_dir))
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "broken.pdf").write_bytes(b"%PDF-1.7 nothing more")
    (odd / "binary.md").write_bytes(bytes(range(256)) * 50)
    source = f"{{kind: pdf, name: odd, paths: ['{odd}']}}"
    notes = f"{{kind: markdown, name: notes, paths: ['{odd}', samples/astronomy]}}"
    sets = ["--set", f"corpus.sources=[{source}, {notes}]"]

    done = cli("run", recipe, "--until", "corpus.ocr", *sets)
    assert done.returncode == 0, done.stderr
    assert "36 documents in, 35 out, 1 rejected (invalid_utf8 1)" in done.stderr
    assert "35 documents in, 34 out, 1 rejected (pdf_corrupt 1)" in done.stderr

    again = cli("run", recipe, "--until", "corpus.ocr", *sets)
    assert "0 stages ran, 3 up to date" in again.stderr
    assert cli("corpus", "ocr", recipe, *sets).returncode == 0

    shown = here("status", recipe, *sets, "--set", "corpus.ocr.max_pages=9").stdout
    rows = {line.split()[0]: " ".join(line.split()) for line in shown.splitlines() if "  " in line}
    assert rows["corpus.ingest"] == "corpus.ingest up to date 36 35 1"
    assert rows["corpus.ocr"] == "corpus.ocr stale 35 34 1"
    assert rows["corpus.normalize"] == "corpus.normalize not run"
    assert "corpus.ocr is stale: max_pages 2000 -> 9" in shown

    inspected = here("inspect", str(run_dir / "corpus/ocr"), "--rows", "1").stdout
    assert "35 documents in = 34 out + 1 rejected (adds up)" in inspected
    assert "pdf_corrupt" in inspected
    assert "shards, 34 rows" in inspected
    shard = next((run_dir / "corpus/ocr").glob("part-*.parquet"))
    assert here("inspect", str(shard), "--rows", "0").stdout.startswith("1 shard, ")
    shard.write_bytes(shard.read_bytes()[:50])
    assert "cannot read this Parquet shard" in three_lines(here("inspect", str(shard)))["error"]
    assert here("inspect", str(odd)).returncode == 1
    assert "no such folder" in three_lines(here("inspect", str(odd / "none")))["error"]


def test_stage_alone_needs_its_inputs(
    cli: Cli, tmp_path: Path, write_recipe: Callable[[Path], Path]
) -> None:
    done = cli("corpus", "tokens", str(write_recipe(tmp_path / "run")))
    assert done.returncode == 1
    assert "--until corpus.tokens" in three_lines(done)["do"]
