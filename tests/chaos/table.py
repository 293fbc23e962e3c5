"""What each fault did, as a table for whoever reads the run's output."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One fault at one stage."""

    fault: str
    stage: str
    outcome: str = "the test failed"
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"| {self.fault} | `{self.stage}` | {self.outcome} | {self.seconds:.0f} |"


@dataclass
class Table:
    """All of them, in the order they were tried."""

    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def row(self, fault: str, stage: str) -> Iterator[Row]:
        """Adds a fault at a stage; the block fills in what came of it."""
        found = Row(fault, stage)
        self.rows.append(found)
        started = time.monotonic()
        try:
            yield found
        finally:
            found.seconds = time.monotonic() - started
            print(f"\n{found}", flush=True)

    def write(self, path: Path) -> None:
        """Writes it as Markdown, and to the terminal."""
        lines = ["| fault | stage | outcome | seconds |", "|---|---|---|---|"]
        lines += [str(row) for row in self.rows]
        path.write_text("\n".join(lines) + "\n")
        print(f"\n{path}\n" + "\n".join(lines))
