"""Which set is whose, and how much of each is taken."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pydantic import ValidationError

from core.errors import InputError, RecipeError
from core.recipe.mixture import Mixture, MixtureSet
from synth.mixture.sets import entry_of_sets, times_taken


def _mixture(*entries: MixtureSet, **values: int) -> Mixture:
    return Mixture(sets=list(entries), **values)


def _taken(section: Mixture, entry: list[int], sizes: list[int]) -> list[int]:
    ok = np.ones(len(entry), dtype=np.bool_)
    return times_taken(np.array(entry), ok, np.array(sizes), section).tolist()


def test_a_full_name_goes_before_patterns_and_those_in_order() -> None:
    section = _mixture(
        MixtureSet(name="n/*"),
        MixtureSet(name="n/math"),
        MixtureSet(name="*a*"),
        MixtureSet(name="qa"),
    )
    names = ["qa", "n/math", "n/science", "alpaca", "other"]
    assert entry_of_sets(names, section) == [3, 1, 0, 2, -1]


def test_without_entries_all_sets_are_taken_domain_first() -> None:
    names = ["openhermes", "metadata", "qa", "summaries"]
    assert entry_of_sets(names, Mixture()) == [3, 2, 0, 1]
    assert [e.without_near for e in Mixture().entries] == [True, True, False, True]


def test_an_entry_that_names_no_set_is_an_error_with_the_nearest_name() -> None:
    section = _mixture(MixtureSet(name="nemotron/scince"), MixtureSet(name="qa"))
    with pytest.raises(RecipeError, match="nemotron/scince") as caught:
        entry_of_sets(["nemotron/science", "nemotron/math"], section)
    assert "did you mean nemotron/science" in caught.value.remedy
    # A stage's own set may be empty; a pattern whose sets have entries of their own is right.
    assert entry_of_sets(["x"], _mixture(MixtureSet(name="qa"), MixtureSet(name="x"))) == [1]
    both = _mixture(MixtureSet(name="x"), MixtureSet(name="*"))
    assert entry_of_sets(["x"], both) == [0]


def test_a_dot_or_bracket_in_a_name_is_no_pattern() -> None:
    with pytest.raises(RecipeError):
        entry_of_sets(["abc"], _mixture(MixtureSet(name="a.c")))
    assert entry_of_sets(["a[b]"], _mixture(MixtureSet(name="a[b]"))) == [0]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (1.0, [1, 1, 1, 1]),
        (0.5, [1, 1, 0, 0]),
        (2.0, [2, 2, 2, 2]),
        (1.5, [2, 2, 1, 1]),
        (0.01, [1, 0, 0, 0]),
    ],
)
def test_weights_are_epochs(weight: float, expected: list[int]) -> None:
    section = _mixture(MixtureSet(name="a", weight=weight))
    assert _taken(section, [0] * 4, [9] * 4) == expected


def test_a_count_is_rows_or_all_there_are(caplog: pytest.LogCaptureFixture) -> None:
    section = _mixture(MixtureSet(name="a", count=2), MixtureSet(name="b", count=9))
    with caplog.at_level(logging.WARNING):
        assert _taken(section, [0, 1, 0, 0, 1, -1], [5] * 6) == [1, 1, 1, 0, 1, 0]
    assert "'b' has 2 rows, 9 are asked for" in caplog.text


def test_byte_shares_are_bound_by_the_scarcest_set() -> None:
    section = _mixture(MixtureSet(name="a", byte_share=0.25), MixtureSet(name="b", byte_share=0.75))
    entry = [0] * 100 + [1] * 100
    sizes = [100] * 100 + [30] * 100
    times = np.array(_taken(section, entry, sizes))
    # b has 3,000 bytes, three quarters: all of it, and 1,000 bytes of a.
    assert times[:100].tolist() == [1] * 10 + [0] * 90
    assert times[100:].all()
    half = Mixture(sets=section.sets, total_bytes=2_000)
    times = np.array(_taken(half, entry, sizes))
    assert (times[:100].sum() * 100, times[100:].sum() * 30) == (500, 1_500)
    more = Mixture(sets=section.sets, total_bytes=10**9)
    assert np.array(_taken(more, entry, sizes)).sum() == 110


def test_byte_shares_beside_a_weight_are_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    section = _mixture(MixtureSet(name="a"), MixtureSet(name="b", byte_share=0.25))
    entry, sizes = [0] * 30 + [1] * 50, [10] * 80
    assert np.array(_taken(section, entry, sizes))[30:].sum() == 10
    with caplog.at_level(logging.WARNING):
        assert np.array(_taken(section, entry[:33], sizes[:33]))[30:].sum() == 3
    assert "'b' has 30 bytes, its share is 100" in caplog.text


def test_a_set_without_rows_has_no_share() -> None:
    section = _mixture(MixtureSet(name="a", byte_share=0.5), MixtureSet(name="b", byte_share=0.5))
    with pytest.raises(InputError, match="'b' has no row"):
        _taken(section, [0, 0], [1, 1])


def test_shares_as_printed_may_be_off_by_rounding() -> None:
    shares = (0.227, 0.22, 0.25, 0.299)
    section = _mixture(*(MixtureSet(name=str(n), byte_share=s) for n, s in enumerate(shares)))
    entry = [number for number in range(4) for _ in range(1000)]
    times = np.array(_taken(section, entry, [10] * 4000)).reshape(4, 1000).sum(axis=1)
    assert times[3] == 1000
    assert np.allclose(times / times.sum(), np.array(shares) / sum(shares), atol=1e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sets": [{"name": "a", "weight": 1.0, "count": 3}]}, "both weight and count"),
        ({"sets": [{"name": "a"}, {"name": "a"}]}, "listed twice"),
        ({"sets": [{"name": "a", "byte_share": 0.5}]}, "add up to 0.500"),
        ({"sets": [{"name": "a", "byte_share": 1.0}, {"name": "b"}]}, "leaves nothing"),
        ({"sets": [{"name": "a"}], "total_bytes": 5}, "needs sets with byte_share"),
        ({"sets": [{"name": "a", "weight": 0.0}]}, "greater than 0"),
        ({"sets": [{"name": ""}]}, "at least 1 character"),
    ],
)
def test_recipe_faults_are_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Mixture.model_validate(values)
