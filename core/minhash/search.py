"""Near duplicates among signatures that lie in shards, in bounded memory.

Signatures and band hashes lie in files of fixed-size rows, mapped into memory, so the system may
drop their pages. Documents are numbered by rank, as in :mod:`core.minhash.bands`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from core.minhash.bands import NearDuplicates, Ranks, band_hashes, near_duplicates, plan_bands


def find_near(
    batches: Iterable[tuple[Ranks, Any]],
    active: Ranks,
    count: int,
    slots: int,
    similarity: float,
    work: Path,
) -> NearDuplicates:
    """Finds near duplicates.

    Args:
        batches: ranks, and an Arrow array of their signatures (``4 * slots`` bytes each,
            little-endian; null: resembles nothing); all documents, in any order.
        active: ranks of the documents to look at, ascending.
        count: documents in all.
        slots: numbers in a signature.
        similarity: estimated Jaccard index from which on two are duplicates.
        work: folder for the files; made here, the caller's to remove.
    """
    bands, rows = plan_bands(slots, similarity)
    work.mkdir(parents=True)
    signatures = np.memmap(work / "signatures", np.uint32, "w+", shape=(count, slots))
    hashes = np.memmap(work / "bands", np.uint64, "w+", shape=(bands, count))
    signed = np.zeros(count, dtype=np.bool_)
    for ranks, column in batches:
        ranks = ranks[column.is_valid().to_numpy(zero_copy_only=False)]
        packed = b"".join(column.drop_null().to_pylist())
        part = np.frombuffer(packed, dtype="<u4").reshape(-1, slots)
        signatures[ranks] = part
        hashes[:, ranks] = band_hashes(part, bands, rows)
        signed[ranks] = True
    return near_duplicates(signatures, hashes, active[signed[active]], similarity)
