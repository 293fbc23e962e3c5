"""Near duplicates among signatures, by bands (locality-sensitive hashing), and who survives.

Documents are numbered by rank: 0 is the one to keep before all others. Three steps:

1. **Bands.** A signature is cut into bands of a few slots; two documents alike enough agree in all
   slots of some band with a chance of 99%. One band at a time is sorted, so that memory holds one
   number per document.
2. **Clusters.** In each group of equal bands the best document is compared with all others; those
   alike join its cluster and leave the group; then the best of the rest, and so on. No group costs
   the square of its size.
3. **Survivors.** A chain A-B-C may join documents that are not alike. In each cluster, best rank
   first, a document is removed only if it is like one that stays.

Nothing depends on the order in which documents were read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]
"""(documents, slots)."""

FOUND_SHARE = 0.99
"""Chance that two documents exactly at the threshold meet in some band."""

_ROUNDS = 64
"""Leaders per group and band; what is left then meets in another band or not at all."""
_COMPARED_AT_ONCE = 32_768
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class NearDuplicates:
    """What near duplicates there are; arrays by rank.

    Args:
        survivor: the document that stays instead; itself where it stays.
        similarity: to the survivor, as estimated; 1 where it stays.
        cluster: the best rank in its cluster; its own where it is alone.
        compared: pairs of signatures compared.
        left: times that a document was left uncompared with some of its group.
    """

    survivor: Ranks
    similarity: npt.NDArray[np.float64]
    cluster: Ranks
    compared: int
    left: int


def plan_bands(slots: int, similarity: float) -> tuple[int, int]:
    """Returns (bands, slots per band): the fewest chance meetings that still find enough."""
    for rows in range(slots, 1, -1):
        if 1 - (1 - similarity**rows) ** (slots // rows) >= FOUND_SHARE:
            return slots // rows, rows
    return slots, 1


def band_hashes(signatures: Signatures, bands: int, rows: int) -> Hashes:
    """Returns a hash of each band of each signature, (bands, documents)."""
    hashes = np.zeros((bands, len(signatures)), dtype=np.uint64)
    for band in range(bands):
        for slot in range(band * rows, (band + 1) * rows):
            hashes[band] = (hashes[band] ^ signatures[:, slot]) * _FACTOR
            hashes[band] ^= hashes[band] >> np.uint64(29)
    return hashes


def near_duplicates(
    signatures: Signatures, bands: Iterable[Hashes], active: Ranks, similarity: float
) -> NearDuplicates:
    """Finds the near duplicates.

    Args:
        signatures: of all documents, by rank; may be a memory map.
        bands: for each band the hashes of all documents, by rank.
        active: the documents to look at, ascending.
        similarity: estimated Jaccard index from which on two are duplicates.
    """
    cluster = np.arange(len(signatures))
    compared = left = 0
    for hashes in bands:
        members, group = _groups(hashes[active], active)
        for _ in range(_ROUNDS):
            if not len(members):
                break
            leaders, others, group = _lead(members, group)
            known = cluster[leaders] == cluster[others]
            alike = known.copy()
            alike[~known] = agreement(signatures, leaders[~known], others[~known]) >= similarity
            compared += int((~known).sum())
            _join(cluster, leaders[alike & ~known], others[alike & ~known])
            members, group = _without_single(others[~alike], group[~alike])
        left += len(members)
    survivor, similarities = _survivors(signatures, cluster, similarity)
    return NearDuplicates(survivor, similarities, cluster, compared, left)


def agreement(signatures: Signatures, one: Ranks, other: Ranks) -> npt.NDArray[np.float64]:
    """Returns the share of slots in which documents agree, pair by pair."""
    shares = np.empty(len(one))
    for begin in range(0, len(one), _COMPARED_AT_ONCE):
        part = slice(begin, begin + _COMPARED_AT_ONCE)
        shares[part] = (signatures[one[part]] == signatures[other[part]]).mean(axis=1)
    return shares


def _groups(hashes: Hashes, active: Ranks) -> tuple[Ranks, Ranks]:
    """Returns the documents that share their band with another, and the number of their group.

    Groups are contiguous, best rank first.
    """
    order = np.argsort(hashes, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(hashes[order]) != 0)])[: len(order)]
    return _without_single(active[order], group)


def _without_single(members: Ranks, group: Ranks) -> tuple[Ranks, Ranks]:
    if not len(members):
        return members, group
    change = np.diff(group) != 0
    single = np.append(True, change) & np.append(change, True)
    return members[~single], group[~single]


def _lead(members: Ranks, group: Ranks) -> tuple[Ranks, Ranks, Ranks]:
    """Returns, for all but the first of each group: its leader, itself, its group."""
    first = np.append(True, np.diff(group) != 0)
    leaders = members[first][np.cumsum(first) - 1]
    return leaders[~first], members[~first], group[~first]


def _join(cluster: Ranks, one: Ranks, other: Ranks) -> None:
    """Joins the clusters of pairs, in place; each keeps its best rank as its number."""
    while len(one):
        low, high = cluster[one], cluster[other]
        apart = low != high
        one, other = one[apart], other[apart]
        low, high = np.minimum(low, high)[apart], np.maximum(low, high)[apart]
        np.minimum.at(cluster, high, low)
        while True:
            rooted = cluster[cluster]
            if (rooted == cluster).all():
                break
            cluster[:] = rooted


def _survivors(
    signatures: Signatures, cluster: Ranks, similarity: float
) -> tuple[Ranks, npt.NDArray[np.float64]]:
    survivor, similarities = np.arange(len(cluster)), np.ones(len(cluster))
    joined = np.flatnonzero(cluster != survivor)
    sizes = np.bincount(cluster[joined], minlength=len(cluster)) + 1
    # Two joined documents are alike, and most clusters are two.
    pairs = joined[sizes[cluster[joined]] == 2]
    survivor[pairs] = cluster[pairs]
    similarities[pairs] = agreement(signatures, cluster[pairs], pairs)
    rest = joined[sizes[cluster[joined]] > 2]
    rest = rest[np.argsort(cluster[rest], kind="stable")]
    for members in np.split(rest, np.flatnonzero(np.diff(cluster[rest])) + 1):
        if not len(members):
            continue
        stays = [int(cluster[members[0]])]
        for member in members.tolist():
            shares = agreement(signatures, np.array(stays), np.full(len(stays), member))
            best = int(shares.argmax())
            if shares[best] >= similarity:
                survivor[member], similarities[member] = stays[best], shares[best]
            else:
                stays.append(member)
    return survivor, similarities
