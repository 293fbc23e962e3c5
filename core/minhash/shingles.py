"""MinHash signatures of texts: how alike two documents are, in 512 bytes each.

A document is the set of its runs of a few words (Broder 1997); two documents are as alike as the
share of runs that they have in common (the Jaccard index). The signature keeps one 32-bit number
per slot, and the share of slots in which two signatures agree estimates the index, with a standard
error of sqrt(J(1-J)/slots): 0.044 at 128 slots and J = 0.5. Words are hashed here in numpy, so that
the numbers depend on no library's hash; ``rensa`` makes the signature from them (in Rust, after
Dahlgaard et al. 2017, "Fast Similarity Sketching").
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import rensa

from core.letters import Letters, letters

Hashes = npt.NDArray[np.uint64]
Signature = npt.NDArray[np.uint32]

_FACTOR = np.uint64(0x9E6C63D0876A9A47)
_POWERS = 1 << 18
"""Letters hashed at once; a longer word is known by as many."""
_SEED = 1


def shingle_hashes(text: str, words: int) -> Hashes:
    """Returns a 64-bit hash of every run of ``words`` words; of a shorter text, of all its words.

    Case, punctuation, accents and spacing do not count.
    """
    hashes = word_hashes(letters(text))
    runs = len(hashes) - words + 1
    if runs < 1:
        runs, words = min(len(hashes), 1), len(hashes)
    total = hashes[:runs].copy()
    for place in range(1, words):
        total *= _FACTOR
        total += hashes[place : place + runs]
    return _mix(total)


def word_hashes(said: Letters) -> Hashes:
    """Returns a 64-bit hash of every word."""
    first, end = said.word_bounds()
    if not len(first):
        return np.zeros(0, dtype=np.uint64)
    powers, inverses = _powers()
    sums = np.empty(len(first), dtype=np.uint64)
    begin = 0
    while begin < len(first):
        # As many words as the table of powers reaches over; at least one.
        origin = first[begin]
        stop = max(int(np.searchsorted(end, origin + _POWERS, side="right")), begin + 1)
        codes = said.codes[origin : min(end[stop - 1], origin + _POWERS)]
        places = first[begin:stop] - origin
        sums[begin:stop] = np.add.reduceat(codes * powers[: len(codes)], places) * inverses[places]
        begin = stop
    return _mix(sums)


def signature(hashes: Hashes, slots: int) -> Signature:
    """Returns the MinHash signature of a set of hashes: one number per slot."""
    bounds = np.array([0, len(hashes)], dtype=np.uint64)
    # One document a call: rensa would spread a batch over all cores, and Ray already does.
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, bounds, slots, _SEED)
    return np.array(matrix.to_rows()[0], dtype=np.uint32)


@cache
def _powers() -> tuple[Hashes, Hashes]:
    """Returns the powers of a random odd number, and their inverses modulo 2^64."""
    inverse = pow(int(_FACTOR), -1, 2**64)
    tables = []
    for base in (int(_FACTOR), inverse):
        factors = np.full(_POWERS, base, dtype=np.uint64)
        factors[0] = 1
        tables.append(np.cumprod(factors))
    return tables[0], tables[1]


def _mix(numbers: Hashes) -> Hashes:
    """Mixes the numbers' bits in place (the finalizer of splitmix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        numbers ^= numbers >> np.uint64(shift)
        numbers *= np.uint64(factor)
    return numbers
