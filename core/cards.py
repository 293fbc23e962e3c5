"""The card of a stage's output: README.md beside the data, written from the manifest."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from core.atomic import write_text
from core.manifest import Manifest

_TEMPLATE = """\
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


def write_card(folder: Path, manifest: Manifest, description: str) -> None:
    """Writes ``README.md`` for a finished stage. Same manifest, same bytes."""
    environment = Environment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, keep_trailing_newline=True
    )
    metrics = {
        name: f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
        for name, value in sorted(manifest.metrics.items())
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    text = environment.from_string(_TEMPLATE).render(
        m=manifest,
        description=description,
        metrics=metrics,
        config=json.dumps(manifest.config, indent=2, sort_keys=True, ensure_ascii=False),
    )
    write_text(folder / "README.md", text)
