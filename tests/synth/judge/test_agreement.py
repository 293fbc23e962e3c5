"""Cohen's kappa against statsmodels and a published example; two judged folders; the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from statsmodels.stats.inter_rater import cohens_kappa

from core.errors import UsageError
from core.recipe.judge import Judge
from core.stage import StageContext
from synth.judge.agreement import Agreement, agreement, agreement_record, confusion, kappa
from synth.judge.judged import Judged, open_judged
from synth.judge.report import PLOT_NAME, REPORT_NAME, JudgeReportStage, distribution
from tests.synth.judge.conftest import PERFECT, MakeJudged


def test_kappa_of_a_textbook_table() -> None:
    # Fleiss, Levin & Paik, "Statistical methods for rates and proportions", 3rd ed., table 18.1.
    counts = np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]])
    assert kappa(counts) == pytest.approx(0.68, abs=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_statsmodels(seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 40, (5, 5))
    assert kappa(counts) == pytest.approx(cohens_kappa(counts, return_results=False))
    weighted = cohens_kappa(counts, wt="quadratic", return_results=False)
    assert kappa(counts, quadratic=True) == pytest.approx(weighted)


def test_kappa_at_its_ends() -> None:
    assert kappa(np.diag([3, 4, 0, 1, 2])) == 1
    assert kappa(np.array([[0, 5], [5, 0]])) == -1
    assert kappa(np.array([[4, 4], [4, 4]])) == 0
    # Both judges always say the same thing: chance would agree as well.
    assert kappa(np.array([[7, 0], [0, 0]])) is None
    assert kappa(np.zeros((5, 5), dtype=np.int64)) is None


def test_confusion_counts_places() -> None:
    assert confusion([0, 0, 1], [0, 1, 1], 2).tolist() == [[1, 1], [0, 1]]
    assert confusion([], [], 2).tolist() == [[0, 0], [0, 0]]


def test_folders_are_matched_by_pair(tmp_path: Path, make_judged: MakeJudged) -> None:
    one = make_judged(tmp_path / "a", [PERFECT, (4, 5, 5, 5), (1, 1, 1, 1), (5, 5, 5, 4)])
    two = make_judged(tmp_path / "b", [PERFECT, PERFECT, (2, 1, 1, 1)])
    found = {one.name: one for one in agreement(open_judged(one), open_judged(two))}
    assert list(found) == ["correctness", "stand_alone", "pertinence", "overall", "kept"]
    correctness: Agreement = found["correctness"]
    assert (correctness.pairs, correctness.same) == (3, 1)
    assert correctness.counts[3, 4] == 1
    assert correctness.counts[0, 1] == 1
    assert found["stand_alone"].kappa == 1
    assert found["kept"].counts.tolist() == [[1, 1], [0, 1]]
    assert found["kept"].kappa == pytest.approx(0.4)
    json.dumps(agreement_record(list(found.values())))


def test_other_scales_are_compared_by_what_they_keep(
    tmp_path: Path, make_judged: MakeJudged
) -> None:
    one = open_judged(make_judged(tmp_path / "a", [PERFECT, (1, 1, 1, 1)]))
    folder = make_judged(tmp_path / "b", [(None, None, None, 10), (None, None, None, 3)])
    two = Judged(folder, 10, dict.fromkeys(one.least, 9.0))
    (only,) = agreement(one, two)
    assert (only.name, only.kappa) == ("kept", 1)


def test_nothing_in_common(tmp_path: Path, make_judged: MakeJudged) -> None:
    one = open_judged(make_judged(tmp_path / "a", [PERFECT, PERFECT]))
    two = open_judged(make_judged(tmp_path / "b", []))
    with pytest.raises(UsageError, match="no pair in common"):
        agreement(one, two)
    with pytest.raises(UsageError, match="no judged pairs here"):
        open_judged(tmp_path)


def test_the_distribution(tmp_path: Path, make_judged: MakeJudged) -> None:
    folder = make_judged(tmp_path / "a", [PERFECT, (4, 5, 5, 5), (1, 1, 1, 1), (5, 5, 5, 4)])
    given = distribution(open_judged(folder))
    assert (given["pairs"], given["kept"], given["scale"]) == (4, 1, 5)
    assert given["criteria"]["correctness"] == {
        "counts": [1, 0, 0, 1, 2],
        "mean": 3.75,
        "expected_mean": None,
    }


def test_the_report_of_two_judges(
    context: StageContext, make_judged: MakeJudged, tmp_path: Path
) -> None:
    section = {"engine": {"kind": "rules"}, "second": {"engine": {"kind": "rules"}}}
    make_judged(context.folder("synth.judge"), [PERFECT, (4, 5, 5, 5), (1, 1, 1, 1), PERFECT])
    make_judged(context.folder("synth.judge_second"), [PERFECT, PERFECT, (2, 1, 1, 1), PERFECT])
    judge = Judge.model_validate(section)
    stage = JudgeReportStage(judge, "synth.judge", "synth.judge_second")
    for out in (tmp_path / "x", tmp_path / "y"):
        out.mkdir()
        done = stage.run(context, out)
    assert (done.rows_in, done.rows_out, done.metrics["kept"]) == (4, 4, 2)
    assert done.metrics["kappa_kept"] == pytest.approx(0.5)
    for name in (REPORT_NAME, PLOT_NAME):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
    report = json.loads((tmp_path / "x" / REPORT_NAME).read_text())
    assert set(report["judges"]) == {"synth.judge", "synth.judge_second"}
    assert report["agreement"]["overall"]["pairs"] == 4
    with Image.open(tmp_path / "x" / PLOT_NAME) as image:
        assert image.width > 1000


def test_the_report_of_no_pairs(
    context: StageContext, make_judged: MakeJudged, tmp_path: Path
) -> None:
    make_judged(context.folder("synth.judge"), [])
    judge = Judge.model_validate({"engine": {"kind": "rules"}})
    done = JudgeReportStage(judge, "synth.judge", None).run(context, tmp_path)
    assert (done.rows_in, done.metrics) == (0, {"kept": 0})
    assert (tmp_path / PLOT_NAME).stat().st_size > 0
