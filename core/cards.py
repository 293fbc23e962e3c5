"""The card of a stage's output: README.md beside the data, written from the manifest.

It opens with the metadata block that the Hugging Face Hub reads, so that a stage folder is also a
data set: ``datasets.load_dataset(folder)`` gives the rows that were kept and
``load_dataset(folder, "rejects")`` those that were not. The fuller card of a data set that is
published, with all it was made from, is :mod:`core.full_card`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from core.atomic import write_text
from core.manifest import FileEntry, Manifest

CARD_NAME = "README.md"

_CONFIGS = {"default": "part-*.parquet", "rejects": "rejects/part-*.parquet"}
_BATCH_ROWS = 256
"""Rows that ``datasets`` reads at once from a data set with an empty shard. By itself it takes as
many as the shard's first row group holds, and fails where that is none.
"""
_THOUSANDS = ("", "K", "M", "B", "T")

_TEMPLATE = """\
{{ front }}
# {{ m.stage }}

{{ description }}

| {{ m.row_unit }}s in | out | rejected | adds up |
|---:|---:|---:|---|
| {{ "{:,}".format(m.rows_in) }} | {{ "{:,}".format(m.rows_out) }} | \
{{ "{:,}".format(m.rows_rejected) }} | \
{{ "yes" if m.rows_in == m.rows_out + m.rows_rejected else "NO" }} |
{% if m.reconcile %}

{{ m.reconcile }}
{% endif %}
{% if m.rejects %}

## Rejected, by reason

Rows in `rejects/`, each with its text. Counts are reject rows.

| reason | rows |
|---|---:|
{% for reason, rows in m.rejects.items() %}
| {{ reason }} | {{ "{:,}".format(rows) }} |
{% endfor %}
{% endif %}
{% if metrics %}

## Measured

| name | value |
|---|---:|
{% for name, value in metrics.items() %}
| {{ name }} | {{ value }} |
{% endfor %}
{% endif %}

## How it was made

Fingerprint `{{ m.fingerprint[:16] }}`, code version {{ m.code_version }}, seed {{ m.seed }}.\
{{ " Reads " ~ (m.inputs | join(", ")) ~ "." if m.inputs else "" }}

```json
{{ config }}
```
"""


def front_matter(metadata: Mapping[str, Any]) -> str:
    """Returns the YAML block that opens a card on the Hub; entries that are empty are left out."""
    filled = {name: value for name, value in metadata.items() if value}
    text = yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n"


def data_metadata(files: Iterable[FileEntry]) -> dict[str, Any]:
    """Returns ``size_categories`` and ``configs`` of a data set.

    Args:
        files: its files; those that are no shard of rows or rejects are passed over.

    Returns:
        Nothing where there is no shard at all. A config is there only where a file is:
        ``load_dataset`` fails on a pattern that matches nothing.
    """
    # One pass, nothing kept: there may be 100,000 shards.
    rows = 0
    has_empty: dict[str, bool] = {}
    for file in files:
        rows += (file.rows or 0) if file.name.startswith("part-") else 0
        for name, pattern in _CONFIGS.items():
            if fnmatch(file.name, pattern):
                has_empty[name] = has_empty.get(name, False) or file.rows == 0
    configs: list[dict[str, Any]] = []
    for name, pattern in _CONFIGS.items():
        if name in has_empty:
            paths = [{"split": "train", "path": pattern}]
            configs.append({"config_name": name, "data_files": paths})
            if has_empty[name]:
                configs[-1]["batch_size"] = _BATCH_ROWS
    if not configs:
        return {}
    return {"size_categories": [size_category(rows)], "configs": configs}


def size_category(rows: int) -> str:
    """Returns the Hub's name for a number of rows: ``n<1K``, ``1K<n<10K``, ... ``n>1T``."""
    if rows < 1000:
        return "n<1K"
    bound = 1000
    while bound * 10 <= rows:
        bound *= 10
    return f"{_short(bound)}<n<{_short(bound * 10)}" if bound < 10**12 else "n>1T"


def _short(bound: int) -> str:
    power = 0
    while bound >= 1000:
        bound, power = bound // 1000, power + 1
    return f"{bound}{_THOUSANDS[power]}"


def shown_metrics(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Returns the numbers among a manifest's metrics as a card shows them, by name."""
    return {
        name: f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        for name, value in sorted(metrics.items())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def shown_config(config: Mapping[str, Any]) -> str:
    """Returns a stage's part of the recipe as a card shows it."""
    return json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)


def render(template: str, values: Mapping[str, Any], filters: Sequence[Any] = ()) -> str:
    """Fills a Markdown template; template marks inside the values stay text.

    Args:
        template: in Jinja's language.
        values: by name.
        filters: functions, usable under their own names.
    """
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update({function.__name__: function for function in filters})
    return environment.from_string(template).render(values)


def write_card(folder: Path, manifest: Manifest, description: str) -> None:
    """Writes ``README.md`` for a finished stage. Same manifest, same bytes."""
    data = data_metadata(manifest.files)
    front = front_matter({"pretty_name": manifest.stage, "tags": ["astromill"], **data})
    text = render(
        _TEMPLATE,
        {
            "front": front,
            "m": manifest,
            "description": description,
            "metrics": shown_metrics(manifest.metrics),
            "config": shown_config(manifest.config),
        },
    )
    write_text(folder / CARD_NAME, text)
