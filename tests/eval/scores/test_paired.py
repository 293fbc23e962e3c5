"""McNemar and Holm against statsmodels; what is compared with what."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference
from statsmodels.stats.multitest import multipletests

from eval.scores.paired import (
    compare,
    compare_pairs,
    holm,
    mark_of,
    marks,
    mcnemar,
    pairs_of,
    with_holm,
)


@pytest.mark.parametrize(
    ("a_only", "b_only"), [(0, 0), (0, 1), (4, 26), (26, 4), (5, 5), (300, 240), (1, 9)]
)
def test_mcnemar_equals_statsmodels(a_only: int, b_only: int) -> None:
    expected = reference([[7, a_only], [b_only, 3]], exact=True).pvalue
    assert mcnemar(a_only, b_only) == pytest.approx(min(expected, 1.0), abs=1e-12)


def test_holm_equals_statsmodels() -> None:
    values = [0.04, 0.001, 0.04, 0.3, 0.012, 0.9]
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])
    assert holm([]) == []


def test_counts_of_the_questions_that_both_were_asked() -> None:
    a = np.array([1, 1, 1, 0, 0, -1, 1, -1], dtype=np.int8)
    b = np.array([1, 0, 0, 1, 0, 1, -1, -1], dtype=np.int8)
    found = compare(a, b)
    assert found is not None
    counts = [found[key] for key in ("total", "both_right", "a_only", "b_only", "both_wrong")]
    assert counts == [5, 1, 2, 1, 1]
    assert (found["accuracy_a"], found["accuracy_b"]) == (0.6, 0.4)
    assert found["difference"] == pytest.approx(-0.2)
    assert found["low"] < -0.2 < found["high"]
    assert found["p_value"] == 1.0
    assert compare(a[5:], b[5:] * 0 - 1) is None


def test_pairs() -> None:
    names = ["base", "cpt", "sft", "merged"]
    assert pairs_of(names) == [
        ("base", "cpt"), ("base", "sft"), ("base", "merged"), ("cpt", "merged"), ("sft", "merged")
    ]  # fmt: skip
    assert len(pairs_of(names, every=True)) == 6
    assert pairs_of(["one"]) == []
    assert pairs_of(["a", "b"]) == [("a", "b")]


def test_marks_leave_out_what_has_no_key() -> None:
    rows = pl.DataFrame({"place": [4, 0, 2], "correct": [True, False, None]})
    assert marks(rows, 6).tolist() == [0, -1, -1, -1, 1, -1]


def test_a_family_of_pairs() -> None:
    base = np.zeros(40, dtype=np.int8)
    good, same = base.copy(), base.copy()
    good[:30] = 1
    same[0] = 1
    everywhere = np.ones(40, dtype=np.bool_)
    found = compare_pairs(
        {"base": base, "same": same, "good": good}, everywhere, pairs_of(["base", "same", "good"])
    )
    assert [(entry["a"], entry["b"], mark_of(entry)) for entry in found] == [
        ("base", "same", ""), ("base", "good", "+"), ("same", "good", "+")
    ]  # fmt: skip
    assert found[1]["p_holm"] == pytest.approx(3 * found[1]["p_value"])
    nowhere = np.zeros(40, dtype=np.bool_)
    assert compare_pairs({"base": base, "good": good}, nowhere, [("base", "good")]) == []


def test_a_difference_that_one_topic_of_many_shows_by_chance_gets_no_mark() -> None:
    lucky = {"p_value": 0.03, "difference": 0.5}
    family = with_holm([lucky] + [{"p_value": 0.6, "difference": 0.1}] * 9)
    assert mark_of(with_holm([lucky])[0]) == "+"
    assert mark_of(with_holm([lucky | {"difference": -0.5}])[0]) == "-"
    assert [mark_of(entry) for entry in family] == [""] * 10
