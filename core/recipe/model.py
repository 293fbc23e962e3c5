"""The recipe: one YAML file from raw sources to a scored model."""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section
from core.recipe.corpus import Corpus
from core.recipe.eval import Eval
from core.recipe.merge import Merge
from core.recipe.synth import Synth
from core.recipe.train import Train


class Cluster(Section):
    """Where Ray runs."""

    address: str | None = None
    """Ray cluster to join (``auto``, ``host:port``). Absent: a local one, on loopback."""
    workers: int | None = Field(None, ge=1)
    """Shards in work at once, and CPUs of a local session; absent: as many as there are CPUs."""


class Recipe(Section):
    """An astromill recipe. Paths start from ``root``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    root: str = "."
    """Folder that relative paths start from, itself relative to the recipe file."""
    run_dir: str
    """Folder of everything this recipe makes."""
    seed: int = Field(42, ge=0, lt=2**32)
    cluster: Cluster = Cluster()
    corpus: Corpus
    train: Train | None = None
    synth: Synth | None = None
    merge: Merge | None = None
    eval: Eval | None = None
