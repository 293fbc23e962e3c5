"""The card of a released model: ``README.md`` as the Hugging Face Hub reads it.

Counts come from the run (:mod:`core.release.facts`), words from the recipe's section ``release``.
Same run, same recipe, same packages: same text. Scores are given with their intervals, beside what
guessing would reach and beside the models that this one was made from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.card_notices import limits, notices
from core.cards import front_matter, render, shown_config
from core.counted import counted
from core.full_card import cell, licence_list, number, on_hub, years
from core.recipe.chat import Reasoning
from core.recipe.release import Release
from core.release.card_scores import (
    general_values,
    model_index,
    score_limits,
    score_values,
)
from core.release.card_training import (
    compute_lines,
    merge_values,
    readable_count,
    training_rows,
)
from core.release.checks import reads_nougat
from core.release.citations import bibtex
from core.release.facts import ModelFacts

_CARD_NOTE = "Scores are not on this card."
"""Beginning of a limit that holds for cards without scores; this one has them, or says so."""

TEMPLATE = Path(__file__).parent / "release" / "card.md.jinja"


def make_model_card(
    facts: ModelFacts,
    release: Release,
    repo: str | None = None,
    reasoning: Reasoning | None = None,
) -> str:
    """Returns the text of a model's card.

    Args:
        facts: of the run.
        release: of the recipe.
        repo: ``namespace/name`` on the Hub, for the lines that load it.
        reasoning: the switches that the model was trained with; None: none were.
    """
    thinks = reasoning is not None and _saw_reasoning(facts)
    merge = facts.merge.manifest.config if facts.merge else None
    values = {
        "front": front_matter(_metadata(facts, release)),
        "release": release,
        "summary": release.summary or _summary(facts, release),
        "details": _details(facts, release),
        "reasoning": reasoning or Reasoning(),
        "thinks": thinks,
        "repo": repo or "FOLDER",
        "usage": _usage(repo or "FOLDER", reasoning if thinks else None),
        **score_values(facts),
        "general": general_values(facts),
        "data": facts.data,
        "counted": any(g.tokens is not None for g in facts.data.sources),
        "data_notes": _data_notes(facts),
        "notices": notices(facts.data, model=True),
        "training": facts.training,
        "training_rows": training_rows(facts.training),
        "merge": merge_values(merge) if merge else None,
        "compute": compute_lines(facts, release),
        "limits": _limits(facts, release),
        "seed": facts.link.manifest.seed,
        "versions": facts.versions,
        "steps": list(facts.chain.links.values()),
        "licence": _licence(facts, release),
        "cite": bibtex(release.citation.bibtex, release.citation.papers),
        "contact": release.contact,
    }
    return render(
        TEMPLATE.read_text("utf-8"),
        values,
        [cell, number, licence_list, on_hub, years, shown_config],
    )


# --- Front matter


def _metadata(facts: ModelFacts, release: Release) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "license": release.license,
        "license_name": release.license_name,
        "license_link": release.license_link,
        "language": release.languages,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": release.base_model,
        "base_model_relation": _relation(facts, release),
        "datasets": release.datasets,
        "tags": [*dict.fromkeys([*release.tags, *(["merge", "mergekit"] if facts.merge else [])])],
    }
    metadata["tags"] = [*metadata["tags"], "astromill"]
    if release.carbon_kg is not None:
        # The Hub counts in grams.
        metadata["co2_eq_emissions"] = {
            "emissions": round(release.carbon_kg * 1000),
            "source": release.carbon_source,
            **({"hardware_used": release.hardware} if release.hardware else {}),
        }
    if results := model_index(facts):
        metadata["model-index"] = [{"name": release.name, "results": results}]
    return metadata


def _relation(facts: ModelFacts, release: Release) -> str | None:
    if not release.base_model:
        return None
    return "merge" if facts.merge and len(release.base_model) > 1 else "finetune"


# --- Words


def _summary(facts: ModelFacts, release: Release) -> str:
    size = f" of {readable_count(facts.parameters)} parameters" if facts.parameters else ""
    base = f", made from {' and '.join(release.base_model)}" if release.base_model else ""
    documents = sum(group.documents for group in facts.data.sources)
    text = f" It was trained on text from {counted(documents, 'document')}." if documents else ""
    return f"A language model{size}{base}.{text}"


def _details(facts: ModelFacts, release: Release) -> list[tuple[str, str]]:
    rows = []
    if release.authors:
        rows.append(("authors", cell(", ".join(release.authors))))
    if facts.parameters:
        rows.append(("parameters", f"{facts.parameters:,}"))
    if release.base_model:
        rows.append(("made from", cell(", ".join(release.base_model))))
    rows.append(("made by", f"astromill {facts.versions.get('astromill', '')}".strip()))
    names = [t.stage for t in facts.training] + ([facts.merge.stage] if facts.merge else [])
    rows.append(("steps", cell(", ".join(names)) or "none on record"))
    rows.append(("languages", cell(", ".join(release.languages))))
    rows.append(("licence", cell(release.license_name or release.license or "none stated")))
    return rows


def _usage(repo: str, reasoning: Reasoning | None) -> str:
    system = f'    {{"role": "system", "content": "{reasoning.on}"}},\n' if reasoning else ""
    begun = ' + "<think>"' if reasoning else ""
    return (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{repo}")\n'
        f'model = AutoModelForCausalLM.from_pretrained("{repo}", dtype="auto", '
        'device_map="auto")\n'
        "messages = [\n"
        f"{system}"
        '    {"role": "user", "content": "What powers an active galactic nucleus?"},\n'
        "]\n"
        "text = tokenizer.apply_chat_template(messages, tokenize=False, "
        f"add_generation_prompt=True){begun}\n"
        'inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")'
        ".to(model.device)\n"
        "output = model.generate(**inputs, max_new_tokens=1024)\n"
        'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], '
        "skip_special_tokens=True))"
    )


def _saw_reasoning(facts: ModelFacts) -> bool:
    """Returns whether a chat-tokens stage behind the model holds conversations that reason."""
    names = {t.tokens_stage for t in facts.training}
    links = [facts.chain.links[name] for name in names if name in facts.chain.links]
    return any(link.manifest.metrics.get("reasoning_on", 0) for link in links)


def _data_notes(facts: ModelFacts) -> list[str]:
    found = []
    for name in dict.fromkeys(t.tokens_stage for t in facts.training):
        link = facts.chain.links.get(name)
        if link is None:
            continue
        m = link.manifest
        trained = m.metrics.get("trained_tokens")
        counted = f", {trained:,} tokens that are trained" if isinstance(trained, int) else ""
        found.append(f"`{name}`: {m.rows_out:,} {m.row_unit}s{counted}.")
    return found


def _limits(facts: ModelFacts, release: Release) -> list[str]:
    said = limits(facts.data, model=True)
    found = [*release.limits, *(text.removeprefix(_CARD_NOTE).strip() for text in said)]
    found.append(
        "Like every language model it makes things up, with the same confidence as what is so: "
        "check what matters, above all names, numbers and references."
    )
    found += _contamination(facts)
    found += score_limits(facts)
    size = facts.parameters
    if size is not None and size < 3e9:
        found.append(
            f"It is small ({readable_count(size)} parameters): expect little knowledge and less "
            "reasoning."
        )
    return list(dict.fromkeys(found))


def _contamination(facts: ModelFacts) -> list[str]:
    report = facts.chain.links.get("corpus.contamination_report")
    cut = facts.chain.links.get("corpus.decontaminate")
    if report is None and cut is None:
        return []
    found = {
        name: value
        for name, value in (report.manifest.metrics if report else {}).items()
        if name.endswith("_items_found")
    }
    listed = ", ".join(f"{n.removesuffix('_items_found')} {v:,}" for n, v in found.items())
    text = "The documents were searched for benchmark questions and what was found was cut"
    return [
        f"{text}{f' (questions found: {listed})' if listed else ''}. Wordings that share no run of "
        "words with a question are not found, and what the base model has seen is not known."
    ]


def _licence(facts: ModelFacts, release: Release) -> str:
    name = release.license_name or release.license
    if not name:
        return "No licence is stated: the model may not be used without asking its authors."
    link = f" ({release.license_link})" if release.license_link else ""
    parts = [f"{name}{link}."]
    if any("llama" in base.lower() for base in release.base_model):
        parts.append("Built with Llama: Meta's community licence and use policy hold.")
    if reads_nougat(facts):
        parts.append("See the notices above on Nougat's weights (CC-BY-NC 4.0).")
    return " ".join(parts)
