"""Rows that left the data, by stage and reason, with a few of each to read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core.manifest import Manifest
from core.shards import shard_paths, stream_batches
from core.stage import StageContext
from eval.report.gather.files import clip

SAMPLES_PER_REASON = 2
SHOWN_CHARS = 260
_BATCHES, _BATCH_ROWS = 512, 32
"""Rejects of a stage that are read at most: a reason rarer than that is counted, not shown. A row
may hold a whole book, so few are read at once."""


@dataclass
class Rejected:
    """What one stage rejected.

    Args:
        stage: its name.
        row_unit: what its rows are.
        reasons: rows by reason, the most frequent first.
        samples: some rows of each reason: doc_id, detail, text.
    """

    stage: str
    row_unit: str
    reasons: dict[str, int]
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all reasons."""
        return sum(self.reasons.values())


def gather_rejects(ctx: StageContext, done: dict[str, Manifest]) -> list[Rejected]:
    """Returns what every finished stage rejected, in running order."""
    found = []
    for name, manifest in done.items():
        if not manifest.rejects:
            continue
        reasons = dict(sorted(manifest.rejects.items(), key=lambda item: (-item[1], item[0])))
        entry = Rejected(name, manifest.row_unit, reasons)
        entry.samples = read_samples(ctx.folder(name) / "rejects", set(reasons))
        found.append(entry)
    return found


def read_samples(folder: Path, reasons: set[str]) -> dict[str, list[dict[str, str]]]:
    """Returns the first rows of each reason; stops reading once it has them all."""
    samples: dict[str, list[dict[str, str]]] = {}
    if not shard_paths(folder):
        return samples
    batches = stream_batches(folder, ["doc_id", "reason", "detail", "text"], _BATCH_ROWS)
    for _, batch in zip(range(_BATCHES), batches, strict=False):
        for row in batch.to_pylist():
            kept = samples.setdefault(row["reason"], [])
            if len(kept) < SAMPLES_PER_REASON:
                kept.append(
                    {
                        "doc_id": clip(row["doc_id"], 120),
                        "detail": clip(row["detail"] or "", SHOWN_CHARS),
                        "text": clip(row["text"] or "", SHOWN_CHARS),
                    }
                )
        if all(len(samples.get(reason, ())) >= SAMPLES_PER_REASON for reason in reasons):
            break
    return samples
