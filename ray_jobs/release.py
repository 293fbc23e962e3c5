"""Lay out a finished model with its card, look at it from all sides, and publish it.

::

    release/            README.md, card.png, recipe.yaml, release.json, manifest.json
                        config.json, *.safetensors, tokenizer.json, ...

Weights are linked, not copied, where the disk allows. What goes to the Hub is this folder.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from core.atomic import replace_folder, write_json, write_text
from core.card_plots import PLOT_NAME
from core.cards import CARD_NAME
from core.errors import InputError, RecipeError, UsageError
from core.full_card import CardOptions, FullCard
from core.hashing import sha256_file
from core.model_card import make_model_card
from core.recipe import LoadedRecipe
from core.recipe.chat import Reasoning
from core.recipe.release import Release
from core.release.checks import Findings, check_release
from core.release.facts import ModelFacts, gather_model
from core.storage.inputs import locate
from ray_jobs.publish import Publication, absolute_paths, prepare
from ray_jobs.storage_commands import pull_for

RELEASE_NAME = "release.json"
RECIPE_NAME = "recipe.yaml"
_OWN_NAMES = (CARD_NAME, PLOT_NAME, RELEASE_NAME, RECIPE_NAME)
_WORK = ".tmp-release"


@dataclass(frozen=True)
class Prepared:
    """A model ready to go out.

    Args:
        folder: with everything in it.
        publication: what the Hub would get.
        findings: what was looked at; nothing goes out while something is blocking.
    """

    folder: Path
    publication: Publication
    findings: Findings


def release_section(loaded: LoadedRecipe) -> Release:
    """Returns the recipe's section.

    Raises:
        RecipeError: there is none.
    """
    section = loaded.recipe.release
    if section is None:
        raise RecipeError(
            "the recipe has no section 'release'",
            where=f"{loaded.file}, key release",
            remedy="add one: at least 'release: {name: My-Model, license: apache-2.0}'; see "
            "docs/release.md",
        )
    return section


def prepare_release(
    loaded: LoadedRecipe, section: Release, out: Path, repo: str | None = None
) -> Prepared:
    """Fills a folder with model, card, recipe and account, and checks it.

    Args:
        loaded: the recipe.
        section: of the recipe.
        out: folder; an earlier release there is replaced.
        repo: ``namespace/name`` for the card's lines.

    Raises:
        InputError: the model's stage has not run or its files are not what its manifest says.
        UsageError: the folder holds something else.
    """
    if out.exists() and not (out / RELEASE_NAME).is_file():
        raise UsageError(
            "the folder is there already, and is no earlier release",
            where=str(out),
            remedy="name another one: --out FOLDER",
        )
    models = loaded.recipe.eval.models if loaded.recipe.eval else {}
    pull_for(loaded, section.model, "eval.scores", "eval.general")
    facts = gather_model(loaded.run_dir, section.model, models, section.scored_as)
    options = CardOptions(
        title=section.name,
        licence=(section.license,) if section.license else (),
        languages=tuple(section.languages),
        repo=repo,
    )
    checked = prepare(facts.link.folder, options)
    if checked.kind != "model":
        raise InputError(
            f"{section.model} holds no model",
            where=str(facts.link.folder),
            remedy="name a stage with a model under release.model",
        )
    text = make_model_card(facts, section, repo, _reasoning(loaded))
    card = FullCard(text, checked.card.facts, checked.card.chain, [])
    work = out.with_name(f"{out.name}{_WORK}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        _lay_out(checked, card, loaded, facts, section, work)
        findings = check_release(work, facts, section)
        findings.notes += _path_notes(checked, loaded)
        if findings.blocking:
            return Prepared(work, checked, findings)
        replace_folder(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Prepared(out, _publication(checked, card, out), findings)


def _lay_out(
    checked: Publication,
    card: FullCard,
    loaded: LoadedRecipe,
    facts: ModelFacts,
    section: Release,
    folder: Path,
) -> None:
    folder.mkdir(parents=True)
    for name, path in checked.files.items():
        if name != CARD_NAME:
            link_or_copy(path, folder / name)
    for given in section.files:
        source = locate(loaded.root, given)
        target = folder / source.name
        if not source.is_file() or target.exists() or source.name in _OWN_NAMES:
            raise InputError(
                "there is no such file" if not source.is_file() else "the model has such a file",
                where=f"key release.files, {given}",
                remedy="correct the path, which starts from the recipe's root, or the name",
            )
        shutil.copyfile(source, target)
    card.write(folder)
    data = loaded.recipe.model_dump(mode="json", exclude_unset=True)
    write_text(folder / RECIPE_NAME, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    sums = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = facts.link.manifest
    write_json(
        folder / RELEASE_NAME,
        {
            "name": section.name,
            "stage": manifest.stage,
            "fingerprint": manifest.fingerprint,
            "seed": manifest.seed,
            "versions": facts.versions,
            "sha256": sums,
        },
    )


def link_or_copy(source: Path, target: Path) -> None:
    """Makes a file that shares its bytes with another one, or a copy on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    real = source.resolve()
    try:
        os.link(real, target)
    except OSError:
        shutil.copyfile(real, target)


def _publication(checked: Publication, card: FullCard, folder: Path) -> Publication:
    """Returns what the Hub gets: the folder's files, the card among them by its own way."""
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (CARD_NAME, PLOT_NAME)
    }
    sizes = {name: path.stat().st_size for name, path in files.items()}
    return replace(checked, files=files, sizes_bytes=sizes, card=card)


def _path_notes(checked: Publication, loaded: LoadedRecipe) -> list[str]:
    configs: list[object] = [step.manifest.config for step in checked.card.facts.steps]
    configs.append(loaded.recipe.model_dump(mode="json", exclude_unset=True))
    paths = sorted(set(absolute_paths(configs)))
    if not paths:
        return []
    return [f"absolute paths are in the manifests or the recipe: {', '.join(paths[:3])}"]


def _reasoning(loaded: LoadedRecipe) -> Reasoning | None:
    return loaded.recipe.synth.chat.reasoning if loaded.recipe.synth else None
