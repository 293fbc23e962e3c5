"""What is looked at before a model leaves: files, weights, secrets, licences.

Nothing of a model's own code is ever run: what would need it stops the release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import AstromillError
from core.model_folder import require_model, tensor_shapes
from core.recipe.release import Release
from core.release.facts import ModelFacts, scores_are_stale
from core.secrets import TOKEN_FORMS, secret_variables

INDEX_NAME = "model.safetensors.index.json"

_SECRETS = {kind: re.compile(form.encode("ascii")) for kind, form in TOKEN_FORMS.items()}
_SHORTEST_SECRET = 12
"""Characters; shorter values of such variables are words like ``true``."""

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".msgpack")
_PICKLE_START = re.compile(rb"\x80[\x02-\x05]")
_READ_BYTES = 1 << 20
_OVERLAP_BYTES = 4096
"""No pattern is longer, so none is missed between two reads."""


@dataclass
class Findings:
    """What was found.

    Args:
        blocking: what must be mended before anything goes out.
        notes: what a person should look at.
    """

    blocking: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_release(folder: Path, facts: ModelFacts, section: Release) -> Findings:
    """Looks at a model folder and what is said about it.

    Args:
        folder: with the files as they would go out.
        facts: of the run.
        section: of the recipe.
    """
    found = Findings()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found.blocking += foreign_code(folder, files)
    found.blocking += secrets(folder, files)
    try:
        require_model(folder, section.model)
        found.blocking += weight_faults(folder, section.model)
    except AstromillError as error:
        found.blocking.append(error.what)
    # A model with faults is not loaded: the reason is known, and loading would only repeat it.
    if not found.blocking:
        load_faults(folder, found)
    found.notes += licence_notes(facts, section)
    found.notes += _card_notes(facts, section)
    return found


def foreign_code(folder: Path, files: Sequence[Path]) -> list[str]:
    """Returns files that would run code where they are loaded: pickles and Python."""
    found = []
    for path in files:
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".py":
            found.append(f"{name} is program code: a model goes out without")
        elif path.suffix in _PICKLES:
            found.append(f"{name} may hold a pickle: weights go out as safetensors alone")
        elif path.suffix != ".safetensors":
            with path.open("rb") as file:
                start = file.read(4)
            if _PICKLE_START.match(start) or start == b"PK\x03\x04":
                found.append(f"{name} is a pickle or an archive by its content")
    config = folder / "config.json"
    if config.is_file() and b'"auto_map"' in config.read_bytes():
        found.append("config.json names program code (auto_map) to be run where it is loaded")
    return found


def secrets(folder: Path, files: Sequence[Path]) -> list[str]:
    """Returns which files seem to hold a secret; never the secret."""
    values = {
        name: value.encode("utf-8", "surrogateescape")
        for name, value in secret_variables(_SHORTEST_SECRET).items()
    }
    found = []
    for path in files:
        if path.suffix == ".safetensors":
            continue
        kinds = dict.fromkeys(kind for chunk in _chunks(path) for kind in _kinds(chunk, values))
        name = path.relative_to(folder).as_posix()
        found += [f"{name} seems to hold {kind}" for kind in kinds]
    return found


def _kinds(chunk: bytes, values: dict[str, bytes]) -> Iterable[str]:
    yield from (kind for kind, pattern in _SECRETS.items() if pattern.search(chunk))
    yield from (f"the value of {name}" for name, value in values.items() if value in chunk)


def _chunks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        tail = b""
        while data := file.read(_READ_BYTES):
            yield tail + data
            tail = data[-_OVERLAP_BYTES:]


def weight_faults(folder: Path, where: str) -> list[str]:
    """Returns what is wrong with the weights, by headers and index."""
    shapes = tensor_shapes(folder, where)
    index = folder / INDEX_NAME
    if not index.is_file():
        names = [path.name for path in sorted(folder.glob("*.safetensors"))]
        return [] if len(names) == 1 else [f"there are {len(names)} weight files and no index"]
    try:
        placed: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
        missing = sorted({file for file in placed.values() if not (folder / file).is_file()})
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{INDEX_NAME} cannot be read"]
    faults = [f"{name} is missing, which {INDEX_NAME} names" for name in missing]
    lost = sorted(placed.keys() - shapes.keys())
    if lost and not missing:
        faults.append(f"{len(lost)} tensors of {INDEX_NAME} are in no file, such as {lost[0]}")
    return faults


def load_faults(folder: Path, found: Findings) -> None:
    """Loads config and tokenizer, and compares the weights with the architecture.

    The architecture is made without memory for its values: 70B take a second.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    auto_model: Any = AutoModelForCausalLM
    auto_generation: Any = GenerationConfig
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            model = auto_model.from_config(config)
    # A border: transformers raises whatever its many model classes do.
    except Exception as error:
        found.blocking.append(f"transformers cannot load it: {f'{error} '.splitlines()[0].strip()}")
        return
    found.blocking += _misfits(model, folder)
    if len(tokenizer) > config.vocab_size:
        found.blocking.append(
            f"the tokenizer has {len(tokenizer):,} tokens, the model {config.vocab_size:,}"
        )
    if not tokenizer.chat_template:
        found.notes.append("there is no chat template: chat programs cannot use the model")
    try:
        ends = auto_generation.from_pretrained(folder, local_files_only=True).eos_token_id
    except (OSError, ValueError):
        found.notes.append("there is no generation_config.json: programs choose their own ends")
        return
    turn_end = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    stops = ends if isinstance(ends, list) else [ends]
    known = isinstance(turn_end, int) and turn_end != tokenizer.unk_token_id
    if known and turn_end not in stops:
        found.blocking.append(
            "generation_config.json does not stop at the end of a turn (<|eot_id|>)"
        )


def _misfits(model: Any, folder: Path) -> list[str]:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    if not getattr(model.config, "tie_word_embeddings", False):
        tied = set()
    shapes = tensor_shapes(folder, "weights")
    missing = sorted(name for name in expected.keys() - shapes.keys() if name not in tied)
    surplus = sorted(shapes.keys() - expected.keys())
    wrong = sorted(n for n in expected.keys() & shapes.keys() if expected[n] != shapes[n])
    faults = []
    if missing:
        faults.append(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if surplus:
        faults.append(f"{len(surplus)} tensors belong to no part of it, such as {surplus[0]}")
    if wrong:
        name = wrong[0]
        faults.append(f"{name} is {shapes[name]}, config.json says {expected[name]}")
    return faults


def licence_notes(facts: ModelFacts, section: Release) -> list[str]:
    """Returns where the licence may not fit what the model was made from; no legal advice."""
    licence = (section.license or "").lower()
    if not licence:
        return ["the card names no licence: nobody may use the model (release.license)"]
    found = []
    bases = " ".join(section.base_model).lower()
    if re.search(r"llama-?\d", bases):
        if not licence.startswith(("llama", "other")):
            found.append(
                f"licence '{licence}': a derivative of Llama comes under Meta's community licence "
                "(llama3.1)"
            )
        if not section.name.lower().startswith("llama"):
            found.append(
                "Meta's licence asks for a name that begins with 'Llama' (section 1.b.i): "
                f"'{section.name}' does not"
            )
        if not section.files:
            found.append(
                "Meta's licence asks for its text and a file NOTICE beside the weights (section "
                "1.b): name them under release.files"
            )
    stated = [text for text in facts.data.stated_licences if text]
    commercial = "-nc" not in licence and licence != "other"
    if commercial and any("-nc" in text.lower() for text in stated):
        found.append(
            f"licence '{licence}' allows commercial use; part of the training text does not (-NC)"
        )
    if commercial and reads_nougat(facts):
        found.append(
            f"licence '{licence}' allows commercial use; Meta's Nougat weights, which read the "
            "PDFs, are CC-BY-NC"
        )
    return found


def reads_nougat(facts: ModelFacts) -> bool:
    """Returns whether pages of the training text were read by Nougat."""
    configs = [link.manifest.config for link in facts.data.steps]
    return any(config.get("backend") in ("nougat", "nougat-ocr") for config in configs)


def _card_notes(facts: ModelFacts, section: Release) -> list[str]:
    found = []
    if not section.base_model and not _made_here(facts):
        found.append("the card names no base model (release.base_model)")
    if not facts.entries:
        found.append("the card has no scores of this model: run eval.scores")
    elif scores_are_stale(facts):
        found.append("the scores are of an earlier version of the model: run eval.scores again")
    if facts.chain.lost:
        lost = "; ".join(f"{name} {why}" for name, why in sorted(facts.chain.lost.items()))
        found.append(f"the card's history is not complete: {lost}")
    if not section.authors:
        found.append("the card names no authors (release.authors)")
    if not section.citation.bibtex:
        found.append("the card does not say how to cite the model (release.citation.bibtex)")
    return found


def _made_here(facts: ModelFacts) -> bool:
    base = facts.chain.links.get("train.base")
    return bool(base and base.manifest.config.get("tiny"))


__all__ = ["Findings", "check_release", "reads_nougat"]
