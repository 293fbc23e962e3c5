"""The account of a stage under way: what each finished unit made, in a few bytes a unit.

A stage may have 100,000 units, so receipts are not kept as they come: each is packed as short
text until the account is drawn up, in the order of the units, whatever order they finished in.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from core.file_list import FileEntry, FileList
from core.hashing import canonical_json
from core.runner.commit import Receipt


class Ledger:
    """Finished units by their number."""

    def __init__(self, units: int) -> None:
        """Opens an account of ``units`` units, none of them done."""
        self._packed: list[bytes | None] = [None] * units
        self.done = 0
        self.worker_seconds = 0.0

    def __contains__(self, index: int) -> bool:
        return self._packed[index] is not None

    def __len__(self) -> int:
        return len(self._packed)

    def add(self, receipt: Receipt) -> None:
        """Takes down what a unit made."""
        self.done += receipt.index not in self
        self.worker_seconds += receipt.seconds
        files = [[file.name, file.bytes, file.sha256, file.rows] for file in receipt.files]
        rows = [receipt.rows_in, receipt.rows_out, receipt.rows_rejected]
        text = canonical_json([files, rows, receipt.rejects, receipt.metrics])
        self._packed[receipt.index] = text.encode("utf-8", "surrogatepass")

    def totals(self) -> dict[str, Any]:
        """Returns the manifest's account of the finished units: files, rows, rejects, metrics."""
        rows = [0, 0, 0]
        rejects: Counter[str] = Counter()
        metrics: Counter[str] = Counter()

        def entries() -> Iterator[FileEntry]:
            for packed in self._packed:
                if packed is None:
                    continue
                files, counts, reasons, measured = json.loads(packed.decode(errors="surrogatepass"))
                rows[:] = [total + count for total, count in zip(rows, counts, strict=True)]
                # In the order of the units: a sum of floats depends on it.
                rejects.update(reasons)
                metrics.update(measured)
                yield from (FileEntry(*file) for file in files)

        return {
            "files": FileList(entries()),
            **dict(zip(("rows_in", "rows_out", "rows_rejected"), rows, strict=True)),
            "rejects": dict(sorted(rejects.items())),
            "metrics": dict(sorted(metrics.items())),
        }
