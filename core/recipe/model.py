"""The recipe: one YAML file from raw sources to a scored model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from core.recipe.base import Section
from core.recipe.corpus import Corpus
from core.recipe.domain import spread_domain
from core.recipe.eval import Eval
from core.recipe.merge import Merge
from core.recipe.release import Release
from core.recipe.synth import Synth
from core.recipe.train import Train


class StageNeeds(Section):
    """What one worker of a stage takes, where the stage's own need does not fit the cluster.

    Nothing here changes what a stage writes, so changing it makes nothing stale.
    """

    cpus: float | None = Field(None, gt=0)
    """CPU cores that Ray books for a worker. A model without a GPU computes on one of them, so that
    its numbers stay the same: take more workers."""
    gpus: float | None = Field(None, ge=0)
    """A fraction lets workers share one: 0.5 is two a GPU."""
    memory_gib: float | None = Field(None, gt=0)
    """What Ray books for a worker; it places no more than fit a node and limits nothing."""
    workers: int | None = Field(None, ge=1)
    """Workers at once; for stages that hold a model, how many copies of it."""
    accelerator_type: str | None = None
    """Kind of accelerator a worker's node must have, as ``ray status`` names it."""


class Cluster(Section):
    """Where Ray runs."""

    address: str | None = None
    """Ray cluster to join (``auto``, ``host:port``). Absent: a local one, on loopback."""
    workers: int | None = Field(None, ge=1)
    """Shards in work at once, and CPUs of a local session; absent: as many as there are CPUs."""
    stages: dict[str, StageNeeds] = Field(default_factory=dict)
    """What workers of single stages take, by stage name: ``corpus.ocr: {gpus: 0.5, workers: 64}``.
    Training has its own keys (``train.cpt.num_workers``)."""


class Recipe(Section):
    """An astromill recipe. Paths start from ``root``."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Of the run, in cards, logs and metrics: letters, digits, ``.``, ``_`` and ``-``."""
    root: str = "."
    """Folder that relative paths start from, itself relative to the recipe file."""
    run_dir: str
    """Folder of everything this recipe makes."""
    seed: int = Field(42, ge=0, lt=2**32)
    """Of everything that is drawn. Another seed makes every stage that draws stale."""
    domain: str = Field("astronomy", pattern=r"\S")
    """What the model is to be an expert in, as prompts say it: of judges, of the cleaning of
    questions, system prompts, preambles."""
    cluster: Cluster = Cluster()
    corpus: Corpus
    train: Train | None = None
    synth: Synth | None = None
    merge: Merge | None = None
    eval: Eval | None = None
    release: Release | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_one_domain(cls, data: Any) -> Any:
        domain = data.get("domain") if isinstance(data, Mapping) else None
        return spread_domain(data, domain) if isinstance(domain, str) else data
