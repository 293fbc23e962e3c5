from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import DatasetDict, load_dataset

from core.cards import data_metadata, front_matter, size_category, write_card
from core.front_matter import split_front_matter
from core.manifest import FileEntry, Manifest
from core.rejects import Reason, Reject, rejects_table
from core.schema import DOCUMENT, QA_PAIR, REJECT, token_sequence
from core.shards import shard_name, write_shard

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
---
pretty_name: corpus.ocr
tags:
- astromill
---

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


DOCUMENTS = pa.Table.from_pylist(
    [
        {
            "doc_id": "a",
            "source": "notes",
            "text": "Größe {{ 1 }}",
            "pages": [
                {"page": 1, "start_char": 0, "end_char": 3, "method": "nougat", "quality": None}
            ],
        },
        {"doc_id": "b", "source": "notes", "text": None},
    ],
    schema=DOCUMENT,
)
PAIRS = pa.Table.from_pylist(
    [{"qa_id": "qa:1", "doc_id": "a", "question": "Who?", "answer": "He."}], schema=QA_PAIR
)
SEQUENCES = pa.Table.from_pylist(
    [
        {
            "input_ids": [1, 2, 3],
            "loss_mask": [0, 1, 1],
            "position_ids": [0, 1, 2],
            "spans": [{"doc_id": "a", "doc_start_token": 0, "start": 0, "length": 3}],
        }
    ],
    schema=token_sequence(3),
)
REJECTS = rejects_table("corpus.filter", [Reject("c", Reason.HIGH_PERPLEXITY, "9 > 5", "debris")])


def dataset_folder(
    folder: Path, tables: Sequence[pa.Table], rejects: Sequence[pa.Table] = ()
) -> Path:
    """A stage's folder with its card."""
    files = []
    for below, shards in (("", tables), ("rejects/", rejects)):
        for number, table in enumerate(shards):
            name = f"{below}{shard_name(number)}"
            write_shard(folder / name, table)
            files.append(FileEntry(name, 1, "s", table.num_rows))
    write_card(folder, replace(MANIFEST, files=files), "Rows.")
    (folder / "receipts").mkdir()
    (folder / "receipts/00000.json").write_text("{}")
    (folder / "manifest.json").write_text("{}")
    return folder


def load(folder: Path, cache: Path, config: str | None = None) -> DatasetDict:
    return load_dataset(str(folder), config, cache_dir=str(cache))


@pytest.mark.parametrize("table", [DOCUMENTS, PAIRS, SEQUENCES], ids=["documents", "pairs", "ids"])
def test_a_stage_folder_is_a_data_set(tmp_path: Path, table: pa.Table) -> None:
    folder = dataset_folder(tmp_path / "stage", [table, table], [REJECTS])
    rows = load(folder, tmp_path / "cache")["train"]
    assert rows.to_list() == table.to_pylist() * 2
    rejects = load(folder, tmp_path / "cache", "rejects")["train"]
    assert rejects.column_names == REJECT.names
    assert rejects["text"] == ["debris"]


def test_a_stage_without_rejects_loads(tmp_path: Path) -> None:
    folder = dataset_folder(tmp_path / "stage", [DOCUMENTS])
    assert load(folder, tmp_path / "cache")["train"].num_rows == 2
    with pytest.raises(ValueError, match="rejects"):
        load(folder, tmp_path / "cache", "rejects")


@pytest.mark.parametrize("empty", [0, 1], ids=["first", "second"])
def test_an_empty_shard_among_others_loads(tmp_path: Path, empty: int) -> None:
    tables = [DOCUMENTS, DOCUMENTS]
    tables[empty] = DOCUMENT.empty_table()
    folder = dataset_folder(tmp_path / "stage", tables)
    assert load(folder, tmp_path / "cache")["train"]["doc_id"] == ["a", "b"]


def test_a_data_set_without_any_row_streams(tmp_path: Path) -> None:
    """Without streaming, ``datasets`` itself refuses a split of no rows."""
    folder = dataset_folder(tmp_path / "stage", [DOCUMENT.empty_table()])
    assert list(load_dataset(str(folder), split="train", streaming=True)) == []
    with pytest.raises(ValueError, match="corresponds to no data"):
        load(folder, tmp_path / "cache")


def test_a_stage_without_shards_has_no_configs(tmp_path: Path) -> None:
    model = [FileEntry("model/config.json", 3, "s"), FileEntry("metrics.jsonl", 3, "s")]
    assert data_metadata(model) == {}
    write_card(tmp_path, replace(MANIFEST, files=model), "A model.")
    front, _ = split_front_matter((tmp_path / "README.md").read_text(encoding="utf-8"))
    assert front == {"pretty_name": "corpus.ocr", "tags": ["astromill"]}


def test_size_categories_are_the_hubs() -> None:
    rows = [0, 999, 1000, 9999, 10_000, 10**5, 10**6, 10**9, 10**12 - 1, 10**12]
    assert [size_category(n) for n in rows] == [
        "n<1K",
        "n<1K",
        "1K<n<10K",
        "1K<n<10K",
        "10K<n<100K",
        "100K<n<1M",
        "1M<n<10M",
        "1B<n<10B",
        "100B<n<1T",
        "n>1T",
    ]


def test_front_matter_reads_back() -> None:
    metadata = {"pretty_name": "a: b # c", "license": ["cc-by-4.0", "other"], "language": []}
    front, rest = split_front_matter(front_matter(metadata) + "text")
    assert front == {"pretty_name": "a: b # c", "license": ["cc-by-4.0", "other"]}
    assert rest == "text"
