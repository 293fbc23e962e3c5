from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.minhash.bands import agreement, band_hashes, near_duplicates, plan_bands
from core.minhash.shingles import shingle_hashes, signature
from corpus.dedup.repeats import ENTRY, ParagraphBuckets

HASHES = [16245875126641202706, 16561613822157265538]
SLOTS = [3239764820, 2775127397, 3238967909, 2615447383]
WORDS = [f"{a}{b}{c}" for a, b, c in itertools.product("bcdfghklmnprst", "aeiou", "lmnrst")]


def _words(count: int, seed: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=count)


def _edited(words: list[str], rate: float, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [generator.choice(WORDS) if generator.random() < rate else word for word in words]


def _jaccard(one: str, other: str, words: int) -> float:
    """The Jaccard index of word runs, computed the plain way."""
    sets = []
    for text in (one.split(), other.split()):
        sets.append({tuple(text[at : at + words]) for at in range(len(text) - words + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.mark.parametrize("words", [1, 3, 5, 32])
def test_equal_runs_of_words_have_equal_hashes_and_others_differ(words: int) -> None:
    text = _words(5_000, 0)
    hashes = shingle_hashes(" ".join(text), words)
    runs = [tuple(text[at : at + words]) for at in range(len(text) - words + 1)]
    assert len(hashes) == len(runs)
    assert len(set(zip(hashes.tolist(), runs, strict=True))) == len(set(runs))
    assert len(set(hashes.tolist())) == len(set(runs))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Sun, a star.", "the  sun:\n a STAR"),
        ("**Schrödinger** star", "Schrodinger star"),
        ("ﬁrst light", "first light"),
        ("$\\alpha$ line", "α line"),
    ],
)
def test_typography_does_not_count(one: str, other: str) -> None:
    assert shingle_hashes(one, 2).tolist() == shingle_hashes(other, 2).tolist()


def test_short_and_odd_texts() -> None:
    assert len(shingle_hashes("", 3)) == 0
    assert len(shingle_hashes("?!", 3)) == 0
    assert len(shingle_hashes("two words", 3)) == 1
    assert shingle_hashes("two words", 3)[0] != shingle_hashes("words two", 3)[0]
    assert len(set(shingle_hashes("日本語の星", 1).tolist())) == 5
    # Longer than the table of powers, as one word and as many.
    assert len(shingle_hashes("a" * 600_000 + " b", 1)) == 2
    long = shingle_hashes("ab cd " * 200_000, 1)
    assert set(long.tolist()) == set(shingle_hashes("ab cd", 1).tolist())


def test_signatures_are_the_same_everywhere() -> None:
    # Signatures of two runs must compare: a change here needs a new code version.
    hashes = shingle_hashes("The planets move around the Sun in ellipses.", 3)
    assert hashes[:2].tolist() == HASHES
    assert signature(hashes, 16)[:4].tolist() == SLOTS


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.1, 0.2])
@pytest.mark.parametrize("count", [60, 2_000])
def test_agreement_estimates_the_jaccard_index(count: int, rate: float) -> None:
    errors = []
    for seed in range(40):
        one = _words(count, seed)
        texts = [" ".join(one), " ".join(_edited(one, rate, seed))]
        signatures = np.stack([signature(shingle_hashes(text, 3), 128) for text in texts])
        estimate = agreement(signatures, np.array([0]), np.array([1]))[0]
        errors.append(estimate - _jaccard(*texts, 3))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.055  # 0.044 in theory at the worst


def test_bands_find_what_is_at_the_threshold_with_99_percent() -> None:
    for slots, similarity in itertools.product((64, 128, 256), (0.3, 0.5, 0.8, 0.95, 1.0)):
        bands, rows = plan_bands(slots, similarity)
        assert bands * rows <= slots
        assert 1 - (1 - similarity**rows) ** bands >= 0.99
    assert plan_bands(128, 0.5) == (42, 3)


def _planted(count: int, seed: int) -> np.ndarray:
    """Signatures in families of up to 6, of which members share 40% to 100% of their slots."""
    generator = np.random.default_rng(seed)
    rows: list[np.ndarray] = []
    while len(rows) < count:
        head = generator.integers(0, 2**32, 128, dtype=np.uint32)
        for _ in range(generator.integers(1, 7)):
            other = generator.integers(0, 2**32, 128, dtype=np.uint32)
            rows.append(np.where(generator.random(128) < generator.uniform(0.4, 1), head, other))
    return np.stack(rows)[generator.permutation(count)]


def test_near_duplicates_against_all_pairs() -> None:
    signatures = _planted(600, 0)
    found = near_duplicates(signatures, band_hashes(signatures, 42, 3), np.arange(600), 0.5)
    every = np.stack([(signatures == row).mean(axis=1) for row in signatures])
    gone = found.survivor != np.arange(600)
    for member in np.flatnonzero(gone):
        survivor = found.survivor[member]
        assert survivor < member
        assert not gone[survivor]
        assert found.similarity[member] == every[member, survivor] >= 0.5
        assert found.cluster[member] == found.cluster[survivor]
    # No two that stay are alike, but for the few that shared no band.
    stay = np.flatnonzero(~gone)
    alike = np.triu(every[np.ix_(stay, stay)] >= 0.5, k=1)
    assert gone.sum() > 200
    assert alike.sum() <= 3
    assert (found.similarity[~gone] == 1).all()


def test_a_chain_removes_only_what_is_like_a_survivor() -> None:
    generator = np.random.default_rng(0)
    chain = [generator.integers(0, 2**32, 128, dtype=np.uint32)]
    for step in range(1, 4):  # each shares two thirds of its slots with the one before
        following = chain[-1].copy()
        at = slice((step - 1) * 42, step * 42)
        following[at] = generator.integers(0, 2**32, 42, dtype=np.uint32)
        chain.append(following)
    signatures = np.stack(chain)
    found = near_duplicates(signatures, band_hashes(signatures, 42, 3), np.arange(4), 0.6)
    assert found.cluster.tolist() == [0, 0, 0, 0]
    assert found.survivor.tolist() == [0, 0, 2, 2]


def test_inactive_documents_are_left_alone() -> None:
    signatures = np.zeros((4, 128), dtype=np.uint32)
    found = near_duplicates(signatures, band_hashes(signatures, 42, 3), np.array([1, 3]), 0.5)
    assert found.survivor.tolist() == [0, 1, 2, 1]
    none = near_duplicates(signatures, band_hashes(signatures, 42, 3), np.array([], int), 0.5)
    assert none.survivor.tolist() == [0, 1, 2, 3]


def test_a_large_group_costs_no_square() -> None:
    signatures = np.random.default_rng(0).integers(0, 2**32, (4_000, 128), dtype=np.uint32)
    signatures[:, :3] = 7  # one band in common, nothing else
    found = near_duplicates(signatures, band_hashes(signatures, 42, 3), np.arange(4_000), 0.5)
    assert (found.survivor == np.arange(4_000)).all()
    assert found.compared < 64 * 4_000
    assert found.left > 0


@pytest.mark.parametrize("bucket_rows", [10, 300, 100_000])
def test_repeats_against_a_dictionary(tmp_path: Path, bucket_rows: int) -> None:
    generator = np.random.default_rng(1)
    entries = np.zeros(5_000, dtype=ENTRY)
    values = generator.integers(0, 2**64, 2_000, dtype=np.uint64)
    entries["hash"] = generator.choice(values, 5_000)
    entries["rank"] = generator.integers(0, 50, 5_000)
    entries["place"] = np.arange(5_000)
    buckets = ParagraphBuckets(tmp_path / "b", len(entries), bucket_rows)
    for part in np.array_split(generator.permutation(entries), 7):
        buckets.add(part)
    found = {
        (int(e["rank"]), int(e["place"])): int(k)
        for part, keeper in buckets.repeats()
        for e, k in zip(part, keeper, strict=True)
    }
    first: dict[int, tuple[int, int]] = {}
    for entry in entries:
        place = (int(entry["rank"]), int(entry["place"]))
        first[int(entry["hash"])] = min(first.get(int(entry["hash"]), place), place)
    expected = {
        (int(e["rank"]), int(e["place"])): first[int(e["hash"])][0]
        for e in entries
        if first[int(e["hash"])] != (int(e["rank"]), int(e["place"]))
    }
    assert found == expected
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    [(0.0, 1, 1), (0.05, 1, 1), (0.1, 0.85, 1), (0.2, 0, 0.05), (0.3, 0, 0)],
)
def test_share_of_planted_near_duplicates_that_is_found(
    rate: float, low: float, high: float, sign: Callable[[str], np.ndarray]
) -> None:
    originals = [_words(400, seed) for seed in range(100)]
    copies = [_edited(words, rate, seed) for seed, words in enumerate(originals)]
    signatures = np.stack([sign(" ".join(words)) for words in [*originals, *copies]])
    found = near_duplicates(signatures, band_hashes(signatures, 42, 3), np.arange(200), 0.5)
    hits = found.survivor[100:] == np.arange(100)
    assert low <= hits.mean() <= high
    wrong = (found.survivor != np.arange(200)) & ~np.append(np.zeros(100, bool), hits)
    assert not wrong.any()


@pytest.fixture
def sign() -> Callable[[str], np.ndarray]:
    return lambda text: signature(shingle_hashes(text, 3), 128)
