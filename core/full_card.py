"""The card of a data set or model that leaves its run: what is in it, and all it was made from.

Read from the manifests of the stage and of the stages before it, and a few columns of its
documents: sources, licences, years, tokens, what each step removed, how it was made, and what a
reader must know before using it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from core.atomic import write_text
from core.card_facts import Facts, gather, is_model
from core.card_notices import limits, notices
from core.card_plots import PLOT_NAME, draw_card
from core.cards import (
    CARD_NAME,
    data_metadata,
    front_matter,
    render,
    shown_config,
    shown_metrics,
)
from core.counted import counted
from core.licences import OTHER, hub_licence
from core.lineage import Chain, Link, follow

_CELL_CHARS = 120

_TEMPLATE = """\
{{ front }}
# {{ title }}

{{ summary }}
{% if plot %}

![what is in it and what was removed]({{ plot }})
{% endif %}
{% if usage %}

## Load it

```python
{{ usage }}
```
{% endif %}
{% if facts.sources %}

## Sources

| source | documents |{% if counted %} tokens |{% endif %} licences as stated | years |
|---|---:|{% if counted %}---:|{% endif %}---|---|
{% for g in facts.sources %}
| {{ g.name | cell }} | {{ g.documents | number }} |\
{% if counted %} {{ g.tokens | number }} |{% endif %} {{ g.licences | licence_list }} | \
{{ g | years }} |
{% endfor %}
| **all** | {{ facts.sources | sum(attribute="documents") | number }} |\
{% if counted %} {{ facts.sources | sum(attribute="tokens") | number }} |{% endif %} | |

## Licences

| licence as stated | on the Hub | documents |{% if counted %} tokens |{% endif %}

|---|---|---:|{% if counted %}---:|{% endif %}

{% for g in facts.licences %}
| {{ (g.name or "not stated") | cell }} | {{ g.name | on_hub }} | {{ g.documents | number }} |\
{% if counted %} {{ g.tokens | number }} |{% endif %}

{% endfor %}
{% endif %}

## What each step did

| step | counts | in | out | rejected | rows in `rejects/`, by reason |
|---|---|---:|---:|---:|---|
{% for link in facts.steps %}
{% set m = link.manifest %}
| {{ m.stage }} | {{ m.row_unit }}s | {{ m.rows_in | number }} | {{ m.rows_out | number }} | \
{{ m.rows_rejected | number }} | {{ m.rejects | reason_list }} |
{% endfor %}

{% for link in facts.steps if link.manifest.reconcile %}
- `{{ link.stage }}`: {{ link.manifest.reconcile }}
{% endfor %}

Every rejected row is kept with its reason and text, beside the step's data.\
{{ " " ~ lost if lost else "" }}
{% if metrics %}

## Measured

| name | value |
|---|---:|
{% for name, value in metrics.items() %}
| {{ name | cell }} | {{ value }} |
{% endfor %}
{% endif %}
{% if columns %}

## Columns

| name | type |
|---|---|
{% for name, type in columns %}
| {{ name }} | {{ type | cell }} |
{% endfor %}
{% endif %}
{% if notices %}

## Licence notices

{% for text in notices %}
- {{ text }}
{% endfor %}
{% endif %}

## Limits

{% for text in limits %}
- {{ text }}
{% endfor %}

## How it was made

Each step with its part of the recipe, seed {{ m.seed }}. Equal fingerprints mean equal recipes,
code versions and source files.

{% for link in facts.steps %}
<details><summary><code>{{ link.stage }}</code>, fingerprint \
<code>{{ link.manifest.fingerprint[:16] }}</code>, code version {{ link.manifest.code_version }}\
</summary>

````json
{{ link.manifest.config | shown_config }}
````

</details>

{% endfor %}
"""


@dataclass(frozen=True)
class CardOptions:
    """What a person says that no manifest knows.

    Args:
        title: of the card; absent: the stage's name.
        licence: names for the Hub that replace what the documents state.
        languages: codes; absent: those that the documents state.
        repo: the name on the Hub, for the lines that load it.
        rejects: whether the rejects go with the data.
    """

    title: str | None = None
    licence: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    repo: str | None = None
    rejects: bool = True


@dataclass(frozen=True)
class FullCard:
    """A card, not yet written.

    Args:
        text: the README.
        facts: what the picture is drawn from.
        chain: what the stage was made from.
        warnings: what the publisher should look at first.
    """

    text: str
    facts: Facts
    chain: Chain
    warnings: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> list[Path]:
        """Writes README.md and its picture; returns their paths."""
        written = [folder / CARD_NAME]
        write_text(folder / CARD_NAME, self.text)
        if draw_card(self.facts, folder / PLOT_NAME):
            written.append(folder / PLOT_NAME)
        return written


def make_card(link: Link, options: CardOptions) -> FullCard:
    """Returns the full card of a finished stage. Same manifests and documents, same text.

    Raises:
        InputError: a shard cannot be read.
    """
    chain = follow(link)
    facts = gather(chain)
    model = is_model(link)
    lost = "; ".join(f"{name} {why}" for name, why in sorted(chain.lost.items()))
    text = render(
        _TEMPLATE,
        {
            "front": front_matter(_metadata(link, facts, options)),
            "title": options.title or link.stage,
            "summary": _summary(link, facts),
            "plot": PLOT_NAME if facts.sources or _rejected(facts) else None,
            "usage": _usage(link, options),
            "facts": facts,
            "counted": any(group.tokens is not None for group in facts.sources),
            "lost": f"Not followed further: {lost}." if lost else "",
            "m": link.manifest,
            "metrics": shown_metrics(link.manifest.metrics),
            "columns": _columns(link),
            "notices": notices(facts, model=model),
            "limits": limits(facts, model=model),
        },
        [cell, number, licence_list, on_hub, years, reason_list, shown_config],
    )
    return FullCard(text, facts, chain, _warnings(link, facts, options, lost))


def _rejected(facts: Facts) -> bool:
    return any(link.manifest.rejects for link in facts.steps)


def _metadata(link: Link, facts: Facts, options: CardOptions) -> dict[str, Any]:
    model = is_model(link)
    # The licences of its training data are not those of a model.
    licences = list(options.licence) or ([] if model else facts.hub_licences)
    metadata: dict[str, Any] = {
        "pretty_name": options.title or link.stage,
        "license": licences[0] if len(licences) == 1 else licences,
        "language": list(options.languages) or facts.languages,
        "tags": ["astromill"],
    }
    if OTHER in licences:
        metadata["license_name"] = "as-stated-per-document"
        metadata["license_link"] = f"{CARD_NAME}#licences"
    if model:
        return {**metadata, "library_name": "transformers", "pipeline_tag": "text-generation"}
    columns = set(link.columns())
    task = "question-answering" if "qa_id" in columns else "text-generation"
    files = [f for f in link.manifest.files if options.rejects or f.name.startswith("part-")]
    return {**metadata, "task_categories": [task], **data_metadata(files)}


def _summary(link: Link, facts: Facts) -> str:
    m = link.manifest
    documents = sum(group.documents for group in facts.sources)
    source = ""
    if documents:
        sources = counted(len(facts.sources), "source")
        source = f" from {counted(documents, 'document')} of {sources}"
    if is_model(link):
        trained = f", trained on text{source}" if source else ""
        return f"A language model: step `{m.stage}` of an astromill run{trained}."
    rows = sum(file.rows or 0 for file in m.shards)
    columns = set(link.columns())
    what = counted(rows, "row")
    if "spans" in columns:
        length = m.config.get("sequence_length", "equal")
        what = f"{counted(rows, 'token sequence')} of {length} tokens"
    elif "messages" in columns:
        what = counted(rows, "conversation")
    elif "qa_id" in columns:
        what = counted(rows, "question-answer pair")
    elif {"doc_id", "text", "pages"} <= columns:
        what, source = f"{counted(rows, 'document')} as Markdown", ""
    return f"{what}{source}, step `{m.stage}` of an astromill run."


def _usage(link: Link, options: CardOptions) -> str:
    name = options.repo or "FOLDER"
    if is_model(link):
        return (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{name}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{name}")'
        )
    configs = {c["config_name"] for c in _metadata_configs(link, options)}
    lines = ["from datasets import load_dataset", ""]
    if "default" in configs:
        lines.append(f'rows = load_dataset("{name}", split="train")')
    if "rejects" in configs:
        lines.append(f'rejected = load_dataset("{name}", "rejects", split="train")')
    return "\n".join(lines) if configs else ""


def _metadata_configs(link: Link, options: CardOptions) -> list[dict[str, Any]]:
    files = [f for f in link.manifest.files if options.rejects or f.name.startswith("part-")]
    return list(data_metadata(files).get("configs", []))


def _columns(link: Link) -> list[tuple[str, str]]:
    if not link.shards:
        return []
    return [(f.name, str(f.type)) for f in pq.read_schema(link.shards[0])]


def _warnings(link: Link, facts: Facts, options: CardOptions, lost: str) -> list[str]:
    found = []
    if lost:
        found.append(f"the card's history is not complete: {lost}")
    if is_model(link) and not options.licence:
        found.append("the card names no licence for the model: --license NAME")
    if not is_model(link) and not options.licence and None in facts.stated_licences:
        count = sum(group.documents for group in facts.licences if not group.name)
        found.append(f"documents that state no licence: {count:,}")
    if not options.languages and not facts.languages:
        found.append("the card names no language: --language en")
    return found


def cell(text: object) -> str:
    """Returns a text that is one cell of a Markdown table."""
    plain = " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|")
    plain = plain.replace("<", "&lt;")
    return plain if len(plain) <= _CELL_CHARS else plain[: _CELL_CHARS - 1] + "…"


def number(value: int | None) -> str:
    """Returns a count with commas."""
    return "" if value is None else f"{value:,}"


def licence_list(names: tuple[str | None, ...]) -> str:
    """Returns licences, one after the other."""
    return cell(", ".join(name or "not stated" for name in names))


def on_hub(name: str) -> str:
    """Returns the Hub's name of a licence as a cell."""
    found = hub_licence(name)
    return f"`{found}`" if found else ""


def years(group: Any) -> str:
    """Returns a group's first and last year."""
    if group.first_year is None:
        return ""
    first, last = group.first_year, group.last_year
    return str(first) if first == last else f"{first} to {last}"


def reason_list(rejects: dict[str, int]) -> str:
    """Returns the reasons of rejected rows, most frequent first."""
    ordered = sorted(rejects.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {rows:,}" for reason, rows in ordered)
