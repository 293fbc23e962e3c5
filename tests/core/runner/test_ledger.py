from __future__ import annotations

import random
from pathlib import Path

import pytest

from core.manifest import FileEntry
from core.runner.commit import Receipt, numbered
from core.runner.ledger import Ledger


def _receipt(index: int) -> Receipt:
    return Receipt(
        index,
        f"key {index}",
        [
            FileEntry(f"part-{index:05d}.parquet", 100 + index, f"{index:064x}", 2),
            FileEntry(f"rejects/part-{index:05d}.parquet", 50, "f" * 64, 1),
        ],
        rows_in=3,
        rows_out=2,
        rows_rejected=1,
        rejects={"empty_text" if index % 2 else "too_short": 1},
        metrics={"seen": 3, "share": 0.1 * index},
        seconds=0.5,
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_the_account_is_the_same_in_whatever_order_units_finish(seed: int) -> None:
    receipts = [_receipt(index) for index in range(50)]
    ledger = Ledger(len(receipts))
    for receipt in random.Random(seed).sample(receipts, len(receipts)):
        assert receipt.index not in ledger
        ledger.add(receipt)
        assert receipt.index in ledger
    share = 0.0
    for receipt in receipts:
        share += receipt.metrics["share"]
    assert ledger.totals() == {
        "files": [entry for receipt in receipts for entry in receipt.files],
        "rows_in": 150,
        "rows_out": 100,
        "rows_rejected": 50,
        "rejects": {"empty_text": 25, "too_short": 25},
        "metrics": {"seen": 150, "share": share},
    }
    assert (ledger.done, len(ledger), ledger.worker_seconds) == (50, 50, 25.0)


def test_a_unit_done_twice_counts_once() -> None:
    ledger = Ledger(2)
    ledger.add(_receipt(1))
    ledger.add(_receipt(1))
    assert ledger.done == 1
    assert ledger.totals()["rows_in"] == 3
    assert 0 not in ledger


def test_only_shards_and_receipts_are_found_by_number(tmp_path: Path) -> None:
    for name in ("part-00002.parquet", "part-123456.parquet", "part-x.parquet", "00003.parquet"):
        (tmp_path / name).touch()
    for name in ("00007.json", "manifest.json", "00008.json.tmp-1-a", "part-00009.json"):
        (tmp_path / name).touch()
    assert sorted(numbered(tmp_path, "part-", ".parquet")) == [
        (2, "part-00002.parquet"),
        (123456, "part-123456.parquet"),
    ]
    assert list(numbered(tmp_path, "", ".json")) == [(7, "00007.json")]
