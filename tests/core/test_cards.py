from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.cards import write_card
from core.manifest import Manifest

MANIFEST = Manifest(
    stage="corpus.ocr",
    code_version=3,
    config={"max_pages": 5, "title": "Größe"},
    seed=42,
    inputs={"corpus.ingest": "f0"},
    input_digests={"corpus.ingest": "d0"},
    sources_digest="s0",
    fingerprint="0123456789abcdef0123",
    key="k",
    files=[],
    row_unit="document",
    rows_in=12345,
    rows_out=12000,
    rows_rejected=345,
    rejects={"pdf_corrupt": 340, "pdf_no_text": 5},
    metrics={"pages": 1234567, "seconds": 0.123456789, "done": True, "note": "text"},
    reconcile="Documents are counted.",
)

CARD = """\
# corpus.ocr

PDFs to text.

| documents in | out | rejected | adds up |
|---:|---:|---:|---|
| 12,345 | 12,000 | 345 | yes |

Documents are counted.

## Rejected, by reason

Rows in `rejects/`, each with its text. Counts are reject rows.

| reason | rows |
|---|---:|
| pdf_corrupt | 340 |
| pdf_no_text | 5 |

## Measured

| name | value |
|---|---:|
| pages | 1,234,567 |
| seconds | 0.123457 |

## How it was made

Fingerprint `0123456789abcdef`, code version 3, seed 42. Reads corpus.ingest.

```json
{
  "max_pages": 5,
  "title": "Größe"
}
```
"""


def test_a_full_card(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_card(tmp_path / name, MANIFEST, "PDFs to text.")
    assert (tmp_path / "a" / "README.md").read_text(encoding="utf-8") == CARD
    assert (tmp_path / "a" / "README.md").read_bytes() == (tmp_path / "b/README.md").read_bytes()


def test_a_card_with_nothing_but_the_account(tmp_path: Path) -> None:
    bare = replace(MANIFEST, rejects={}, metrics={}, reconcile="", inputs={}, rows_rejected=7)
    write_card(tmp_path, bare, "PDFs to text.")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| 12,345 | 12,000 | 7 | NO |" in text
    for absent in ("Rejected, by reason", "Measured", "Reads", "\n\n\n"):
        assert absent not in text


def test_text_with_template_marks_stays_text(tmp_path: Path) -> None:
    write_card(tmp_path, replace(MANIFEST, config={"p": "{{ m.seed }} <b>"}), "{{ 1 + 1 }}")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "{{ 1 + 1 }}" in text
    assert '"p": "{{ m.seed }} <b>"' in text
