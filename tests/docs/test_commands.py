"""Every command in README.md, CONTRIBUTING.md and docs/ is run, or held to the real parser.

Commands of ours run as they stand, in a small world of their own (:mod:`tests.docs.world`). What is
not run is in :data:`NOT_RUN` with the reason; a command that is neither is run, and fails there.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import AstromillError
from ray_jobs.cli import app
from tests.docs.demo_run import make_demo_run
from tests.docs.markdown import (
    GENERATED,
    ROOT,
    Call,
    Command,
    calls,
    commands,
    name_of,
    pages,
    split,
)
from tests.docs.parsing import PLACEHOLDERS, PROGRAMS, SHELL, check_astromill, check_environment
from tests.docs.world import make_world

# The first test starts Ray and makes the world: minutes on a machine that is busy with other work.
pytestmark = pytest.mark.timeout(1800)

TRAINS = "trains models for minutes: tests/ray_jobs/test_whole_path.py"
SCORED = "reads the scores of a whole run: tests/eval/scores, tests/ray_jobs/test_whole_path.py"
MERGES = "merges trained models: tests/merge/test_merge_commands.py"
READERS = "reads the reader's own files: "
CLUSTER = "needs a Ray cluster: tests/ray_jobs/test_submit.py"
SERVES = "serves until it is stopped: tests/ray_jobs/test_serve.py"
THINKS = "needs a model that can talk, or a server: tests/ray_jobs/test_chat.py"
WHOLE = "packages a whole run: tests/ray_jobs/test_release.py"

NOT_RUN = {
    "astromill chat": THINKS,
    "astromill corpus sources recipes/sources.yaml": READERS
    + "tests/ray_jobs/test_corpus_commands.py",
    "astromill corpus sources recipes/demo.yaml": "reads a whole run: "
    "tests/ray_jobs/test_corpus_commands.py",
    "astromill corpus sources recipes/field.yaml": READERS
    + "tests/ray_jobs/test_corpus_commands.py",
    "astromill corpus threshold": "scores text on Ray: tests/corpus/test_perplexity.py",
    "astromill eval clean-questions": READERS + "tests/eval/cleaning",
    "astromill eval compare": SCORED,
    "astromill eval control": SCORED,
    "astromill eval question-sheet": READERS + "tests/eval/cleaning",
    "astromill eval score-file": READERS + "tests/eval/scores",
    "astromill eval score-question-sheet": READERS + "tests/eval/cleaning",
    "astromill eval scores": SCORED,
    "astromill jobs": CLUSTER,
    "astromill merge sweep": MERGES,
    "astromill plan recipes/demo.yaml --sample": "runs a sample: tests/ray_jobs/test_plan.py",
    "astromill plan recipes/field.yaml": "runs a sample: tests/ray_jobs/test_plan.py",
    "astromill pull": "needs an object store: tests/core/storage",
    "astromill release": WHOLE,
    "astromill run recipes/control-demo.yaml": TRAINS,
    "astromill run recipes/mine.yaml": TRAINS,
    "astromill run recipes/sources.yaml": READERS + "tests/ray_jobs/test_sources_path.py",
    "astromill serve": SERVES,
    "astromill status recipes/field.yaml --watch": (
        "follows a run until it ends: tests/ray_jobs/test_watch.py"
    ),
    "astromill status recipes/mine.yaml --set run_dir=/shared/runs/mine --watch": (
        "follows a run until it ends: tests/ray_jobs/test_watch.py"
    ),
    "astromill submit": CLUSTER,
    "astromill synth score-sheet": "a person fills it in first: tests/synth/judge",
    "astromill train export": "needs a checkpoint: tests/ray_jobs/test_export.py",
    "astromill value figure": "draws for ten seconds: tests/ray_jobs/test_value_commands.py",
}
"""Beginnings of commands that are only parsed, and why; the tests that run them are named."""


REAL_RUN = "/own"
"""Commands about this run and its recipe print here what they print anywhere."""


def found() -> list[Command]:
    """Returns every command once, where it stands first."""
    first: dict[str, Command] = {}
    for page in pages():
        if name_of(page) in GENERATED:
            continue
        for command in commands(page):
            for text in alternatives(command):
                first.setdefault(text, replace(command, text=text))
    return list(first.values())


def alternatives(command: Command) -> list[str]:
    """Spells out `astromill jobs list|logs|stop`, which a sentence may say."""
    before, _, last = command.text.rpartition(" ")
    if not command.inline or "|" not in last or last.startswith("|"):
        return [command.text]
    return [f"{before} {word}" for word in last.split("|")]


FOUND = found()


def reason(call: Call, inline: bool) -> str | None:
    """Returns why a command of ours is not run; None: it is."""
    text = " ".join(call.words)
    beginnings = [known for known in NOT_RUN if f"{text} ".startswith(f"{known} ")]
    if beginnings:
        return NOT_RUN[max(beginnings, key=len)]
    if set(call.words) & PLACEHOLDERS.keys():
        return "a word stands for the reader's own"
    return "a sentence names it" if inline else None


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, ray_session: None
) -> Iterator[Path]:
    """The folder in which commands are run; a corpus of two papers has been made in it."""
    folder = make_world(tmp_path_factory.mktemp("docs") / "checkout", tiny_folder)
    make_demo_run(folder / "runs/demo", tiny_folder, folder / "samples/astronomy")
    before = Path.cwd()
    os.chdir(folder)
    try:
        run(Call(["astromill", "run", "recipes/mine.yaml", "--until", "corpus.ocr"]))
        yield folder
    finally:
        os.chdir(before)


def run(call: Call, given: str = "") -> str:
    """Runs a command in the current folder, ours in this process; returns what it printed."""
    if call.words[0] == "astromill":
        environment = {**call.environment, "COLUMNS": "160"}
        result = CliRunner().invoke(app, call.words[1:], input=given, env=environment)
        assert result.exit_code == 0, (call.words, result.output, result.exception)
        printed, all_printed = result.stdout, result.output
    else:
        done = subprocess.run(call.words, capture_output=True, text=True, timeout=600, check=True)
        printed = all_printed = done.stdout
    if call.output:
        Path(call.output).write_text(printed)
    return all_printed


def check_shown(shown: str, printed: str) -> None:
    """Checks that what a document shows was printed: all but frames, widths and seconds."""
    there = [plain(line) for line in printed.splitlines()]
    for line in shown.splitlines():
        assert line == "..." or any(plain(line) in one for one in there), (line, printed)


def plain(line: str) -> str:
    return " ".join(re.sub(r"[│┃]| \d+\.\d s$", " ", line).split())


def fail(command: Command) -> None:
    """Runs a command that a document shows failing; the three lines must be those it shows."""
    result = CliRunner().invoke(app, command.words[1:])
    error = result.exception
    assert isinstance(error, AstromillError)
    lines = (("error:", error.what), ("where:", error.where), ("do:", error.remedy))
    assert command.error.strip().splitlines() == [f"{label:<7}{text}" for label, text in lines]


def test_the_documents_have_commands() -> None:
    assert len(FOUND) > 60
    assert {"README.md", "docs/tutorial.md", "docs/clusters.md"} <= {c.page for c in FOUND}
    assert sum(bool(c.output) and REAL_RUN in c.text for c in FOUND) >= 3
    assert sum(bool(c.error) for c in FOUND) >= 1


@pytest.mark.parametrize("command", FOUND, ids=lambda c: f"{c.page}:{c.line} {c.text[:70]}")
def test_command(command: Command, world: Path) -> None:
    if command.error:
        fail(command)
        return
    printed = ""
    for call in calls(command.words):
        check_environment(call.environment)
        if not call.words:
            continue
        program, *rest = call.words
        if program in SHELL or (program == "astromill" and reason(call, command.inline) is None):
            printed = run(call, printed)
            if REAL_RUN in command.text:
                check_shown(command.output, printed)
        elif program == "astromill":
            check_astromill(rest, inline=command.inline)
        elif rest or not command.inline:
            assert program in PROGRAMS, f"'{program}' is no program that this test knows"
            PROGRAMS[program](rest)


def test_no_reason_is_left_over() -> None:
    texts = [" ".join(call.words) for command in FOUND for call in calls(command.words)]
    for known, why in NOT_RUN.items():
        assert any(f"{text} ".startswith(known + " ") for text in texts), f"nothing is '{known}'"
        for path in [word.strip(",") for word in why.split() if word.startswith("tests/")]:
            assert (Path(__file__).parent.parent.parent / path).exists(), path


def examples() -> list[str]:
    """Returns the examples below every command's --help, which docs/reference shows."""
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    return [line.strip() for line in page.splitlines() if re.match(r" {4}\S*.*\bastromill ", line)]


def test_examples_of_help(world: Path) -> None:
    assert len(examples()) > 60
    for example in examples():
        for call in calls(split(example)):
            if call.words[0] == "astromill":
                check_astromill(call.words[1:])


def test_what_is_not_run_is_checked_all_the_same(world: Path) -> None:
    for wrong in (
        "run recipes/demo.yaml --unless corpus.tokens",
        "run recipes/demo.yaml --until corpus.tokenz",
        "run recipes/none.yaml",
        "submit recipes/demo.yaml --set corpus.tokens.sequence_lenght=64",
        "jobs start",
        "corpus tokenize recipes/demo.yaml",
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - click's, our own, or an assertion
            check_astromill(wrong.split())
