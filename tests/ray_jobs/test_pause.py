from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from rich.console import Console

from core.errors import Paused
from core.recipe import LoadedRecipe, load_recipe
from ray_jobs import execute


@pytest.fixture
def recipe(checkout: Path, tmp_path: Path) -> LoadedRecipe:
    return load_recipe(checkout / "recipes" / "demo.yaml", [f"run_dir={tmp_path / 'run'}"])


def test_a_signal_before_the_time_limit_ends_a_run_in_order(
    recipe: LoadedRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> list[str]:
        os.kill(os.getpid(), signal.SIGUSR1)
        pytest.fail("went on")

    monkeypatch.setattr(execute, "run_pipeline", interrupted)
    before = signal.getsignal(signal.SIGUSR1)
    console = Console(file=sys.stderr)
    with pytest.raises(Paused, match="stopped by SIGUSR1") as paused:
        execute.execute(recipe, lambda p: [], console=console)
    assert paused.value.exit_code == 0
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_pause_is_shown_as_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    paused = Paused("stopped at step 3 of 9", where="train.cpt", remedy="run it again")
    execute.explain(paused, Console(stderr=True))
    assert capsys.readouterr().err.splitlines()[0] == "note:  stopped at step 3 of 9"
