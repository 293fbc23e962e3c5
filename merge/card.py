"""The merged model's card: README.md in the form that the Hub reads, from what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from core.atomic import write_text
from core.front_matter import split_front_matter
from core.recipe.merge import Merge
from core.stage import STAGE_PREFIXES
from merge.task_vectors import TaskVectors
from merge.voice import Voice

CARD_NAME = "README.md"

_TITLES = {"dare_ties": "DARE-TIES", "ties": "TIES", "linear": "linear", "slerp": "SLERP"}

_FORMULAS = {
    "dare_ties": "θ = base + Σ wᵢδᵢ·[sign(wᵢδᵢ) = sign(Σ wδ)], with δᵢ = θᵢ - base{pruned}. "
    "Number by number, only the models on the side that pulls harder count, with their weights as "
    "given: where models disagree this is not a plain average.",
    "ties": "θ = base + Σ wᵢδᵢ·[sign(wᵢδᵢ) = sign(Σ wδ)] / Σ wᵢ·[the same], with δᵢ = θᵢ - base"
    "{pruned}.",
    "linear": "θ = Σ wᵢθᵢ / Σ wᵢ.",
    "slerp": "θ = (sin((1-t)Ω)·θ₁ + sin(tΩ)·θ₂) / sin Ω, tensor by tensor, with Ω the angle "
    "between the two; a straight line where |cos Ω| > 0.9995.",
}

_PRUNED = {
    "dare_ties": {
        "l1": ", pruned at random to its density and multiplied by ‖δ‖₁ / ‖pruned δ‖₁, tensor by "
        "tensor (mergekit's way since 0.1.0; Yu et al. 2024 divide by the density)",
        "density": ", pruned at random to its density and divided by it (Yu et al. 2024)",
    },
    "ties": {"l1": ", of which the largest values stay, a share of its density"},
}

_SOURCES = {
    "dare_ties": "Yu et al. 2024 (arXiv:2311.03099), Yadav et al. 2023 (arXiv:2306.01708)",
    "ties": "Yadav et al. 2023 (arXiv:2306.01708)",
    "linear": "Wortsman et al. 2022 (arXiv:2203.05482)",
    "slerp": "Shoemake 1985, SIGGRAPH, 245",
}


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Returns what to call each model: stages as they are, folders by their last names.

    As many of them as tell the folders apart; where one lies must not show in what is published.
    """
    folders = [name for name in names if not name.startswith(STAGE_PREFIXES)]
    short = {name: name for name in names}
    for length in (1, 2, 3):
        found = {name: "/".join(PurePath(name).parts[-length:]) for name in folders}
        if len(set(found.values())) == len(folders):
            return {**short, **found}
    return {**short, **{name: f"model {number}" for number, name in enumerate(folders, 1)}}


def write_card(
    section: Merge,
    folders: Mapping[str, Path],
    seed: int,
    voice: Voice,
    vectors: TaskVectors | None,
    out: Path,
) -> None:
    """Writes the card into the merged model's folder.

    Args:
        section: the recipe section.
        folders: model folders by name; their own cards say under which licence they are.
        seed: of the random pruning.
        voice: what the merged model talks with.
        vectors: measured, or None.
        out: the merged model's folder.
    """
    licences = {name: stated_licence(folder) for name, folder in folders.items()}
    front = front_matter(section, licences)
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    body = "\n\n".join(_body(section, licences, seed, voice, vectors))
    write_text(out / CARD_NAME, f"---\n{head}---\n\n{body}\n")


def stated_licence(folder: Path) -> str | None:
    """Returns the licence that a model's own card states, or None."""
    try:
        front, _ = split_front_matter((folder / CARD_NAME).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    stated = front.get("license")
    if isinstance(stated, list):
        stated = stated[0] if len(stated) == 1 else None
    return stated.strip() if isinstance(stated, str) and stated.strip() else None


def front_matter(section: Merge, licences: Mapping[str, str | None]) -> dict[str, Any]:
    """Returns the metadata block: https://huggingface.co/docs/hub/model-cards.

    The licence is named where all models state the same one; else it is for a person to choose.
    """
    front: dict[str, Any] = {}
    ids = [section.hub[name] for name in section.names if name in section.hub]
    if ids:
        front["base_model"] = ids
        front["base_model_relation"] = "merge"
    stated = set(licences.values())
    if len(stated) == 1 and (only := stated.pop()) is not None:
        front["license"] = only
    return {
        **front,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["merge", "mergekit", "astromill"],
    }


def _body(
    section: Merge,
    licences: Mapping[str, str | None],
    seed: int,
    voice: Voice,
    vectors: TaskVectors | None,
) -> list[str]:
    short = short_names(section.names)
    parts = [f"# {_TITLES[section.method]} merge of {len(section.models)} models"]
    pruned = ""
    if any(entry.density < 1 for entry in section.models):
        pruned = _PRUNED[section.method][section.rescale]
    parts.append(_FORMULAS[section.method].format(pruned=pruned))
    parts.append(_models_table(section, short, licences, vectors))
    if section.base is not None:
        parts.append(f"Base: `{short[section.base]}`.")
    parts += section.notes()
    parts.append(
        f"Arithmetic in float32, written as {section.out_dtype}; seed {seed}. "
        f"Merged with [mergekit](https://github.com/arcee-ai/mergekit); its configuration is in "
        f"`mergekit_config.yml`. Method: {_SOURCES[section.method]}."
    )
    if vectors is not None:
        parts += _vectors_text(section, vectors)
    parts.append("## How it talks")
    parts += _voice_text(short[section.voice_name], voice)
    parts.append("## Licence")
    parts.append(_licence_text(short, licences))
    return parts


def _models_table(
    section: Merge,
    short: Mapping[str, str],
    licences: Mapping[str, str | None],
    vectors: TaskVectors | None,
) -> str:
    columns = ["model", "weight"]
    columns += ["density"] if section.method in _PRUNED else []
    columns += ["norm of its task vector, of the base's"] if vectors else []
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for number, (entry, weight) in enumerate(zip(section.models, section.weights(), strict=True)):
        name = f"`{short[entry.model]}`"
        if entry.model in section.hub:
            name = f"[{short[entry.model]}](https://huggingface.co/{section.hub[entry.model]})"
        cells = [name, f"{weight:g}"]
        cells += [f"{entry.density:g}"] if section.method in _PRUNED else []
        cells += [f"{vectors.relative[number]:.3%}"] if vectors else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _vectors_text(section: Merge, vectors: TaskVectors) -> list[str]:
    if len(vectors.norms) < 2:
        return []
    text = f"The models pull {vectors.disagreeing:.1%} of the parameters in opposite directions"
    if section.method in _PRUNED:
        pruned = any(entry.density < 1 for entry in section.models)
        text += f"; there one side is dropped{', unless pruning takes it first' if pruned else ''}"
    if vectors.cosine is not None:
        which = "the first two" if len(vectors.norms) > 2 else "the two"
        text += f". The cosine between {which} task vectors is {vectors.cosine:.3f}"
    return [f"{text}."]


def _voice_text(name: str, voice: Voice) -> list[str]:
    templates = {
        "recipe": "Its chat template is the Llama-3.1 chat text that the models were trained on",
        "voice": "So is its chat template",
        "none": "It has no chat template: it is a model to be prompted with plain text",
    }
    text = (
        f"Tokenizer, generation settings and special tokens are those of `{name}`. "
        f"{templates[voice.template]}."
    )
    if voice.stops:
        text += f" An answer ends at {', '.join(f'`{token}`' for token in voice.stops)}."
    if not voice.thinking:
        return [text]
    return [
        text,
        "Reasoning is switched on by `enable_thinking=True`: the system prompt that switches it "
        "then comes first, and the answer starts with `<think>`.",
        "```python\n"
        "tokenizer.apply_chat_template(\n"
        "    messages, add_generation_prompt=True, enable_thinking=True\n"
        ")\n```",
    ]


def _licence_text(short: Mapping[str, str], licences: Mapping[str, str | None]) -> str:
    listed = "\n".join(
        f"- `{short[name]}`: {licence or 'not stated'}" for name, licence in licences.items()
    )
    return f"A merged model is under the terms of every model that went into it:\n\n{listed}"
