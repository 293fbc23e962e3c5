"""What the command line sets is told from what the file says, where either is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import RecipeError
from core.recipe import load_recipe
from core.recipe.load import _sets


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (["seed=x"], "--set seed=x,"),
        # The later one counts.
        (["seed=3", "seed=x"], "--set seed=x,"),
        # A key may begin like another one.
        (["train.base.tiny.hidden=3", "train.base.tiny.hidden_size=4"], "tiny.hidden=3,"),
    ],
)
def test_the_override_that_is_wrong_is_named(
    checkout: Path, overrides: list[str], place: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(checkout / "recipes/demo.yaml", overrides)
    assert place in caught.value.where


def test_keys_that_begin_alike_are_told_apart() -> None:
    assert _sets("corpus.sources.1=x", "corpus.sources.1.name")
    assert _sets("corpus.sources.1 = x", "corpus.sources.1")
    assert not _sets("corpus.sources.1=x", "corpus.sources.10.name")


def test_a_secret_on_the_command_line_is_not_looked_for_in_the_file(checkout: Path) -> None:
    with pytest.raises(RecipeError, match="holds a Hugging Face token") as caught:
        load_recipe(checkout / "recipes/demo.yaml", ["run_dir=hf_" + "a1B2" * 9])
    assert caught.value.where == "--set, key run_dir"
