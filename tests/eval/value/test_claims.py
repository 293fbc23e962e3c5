"""What the paper says of its Table 1, worked out; verdicts; files of claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InputError
from eval.value.claim_kinds import read_claims
from eval.value.claims import Finding, Verdict, check_claims, judged
from eval.value.equation import Rounded
from eval.value.read import Scored
from eval.value.table import ValueTable, build_table
from eval.value.trend import best_so_far


@pytest.fixture(scope="module")
def findings(paper: ValueTable, samples: Path) -> list[Finding]:
    return check_claims(read_claims(samples / "claims.yaml"), paper)


def about(findings: list[Finding], *words: str) -> Finding:
    (found,) = [f for f in findings if all(word in f.says for word in words)]
    return found


def test_35_to_75_times_cheaper(findings: list[Finding]) -> None:
    found = about(findings, "35-75 times")
    assert found.verdict is Verdict.TO_ROUNDING
    assert found.lines == (
        "GPT-5.2 / AstroSage-Llama-3.1-70B: 37.5 times (34.3 to 41.0): holds",
        "Claude 4.5 Opus / AstroSage-Llama-3.1-70B: 74.1 times (67.8 to 81.0): holds",
        "Gemini 3.0 Pro / AstroSage-Llama-3.1-70B: 34.0 times (31.1 to 37.2): holds to rounding",
    )


def test_the_archive(findings: list[Finding]) -> None:
    assert "8.74 times (8.00 to 9.55)" in about(findings, "whole astro-ph").lines[0]
    assert "$5,269" in about(findings, "$10,000 with Gemini 3.0 Flash", "the astro-ph").lines[0]
    assert "$603" in about(findings, "for approximately $1,000").lines[0]


def test_each_astrosage_at_the_cost_of_its_llama(findings: list[Finding]) -> None:
    small = about(findings, "AstroSage-8B is taken to cost")
    assert small.verdict is Verdict.TO_ROUNDING
    assert "1.03 times (0.94 to 1.12)" in small.lines[0]
    large = about(findings, "AstroSage-70B is taken to cost")
    assert large.verdict is Verdict.FAILS
    assert "0.81 times (0.74 to 0.88)" in large.lines[0]
    assert "Llama 3.3 70B" in large.lines[0]


def test_gains_over_the_base(findings: list[Finding]) -> None:
    assert about(findings, "6.2 points more").verdict is Verdict.HOLDS
    assert about(findings, "6.5 points more").verdict is Verdict.HOLDS
    assert "59.1 times" in about(findings, "lead of AstroSage-8B").lines[0]
    assert "72.0 times" in about(findings, "lead of AstroSage-70B").lines[0]


def test_sentences_that_the_table_contradicts(findings: list[Finding]) -> None:
    only = about(findings, "is the only model to surpass")
    assert only.verdict is Verdict.FAILS
    assert only.lines[1].startswith("GPT-5.2 is ahead, too, by 0.4 points")
    failed = [f.says for f in findings if f.verdict is Verdict.FAILS]
    assert len(failed) == 3
    assert about(findings, "119 models").lines == ("the table has 123: does not hold",)


def test_the_rest_holds(findings: list[Finding]) -> None:
    assert sum(f.verdict is Verdict.HOLDS for f in findings) == 15
    assert about(findings, "every six months").lines[0].startswith("0.90 decades per six months")


def test_verdicts() -> None:
    assert judged(Rounded(10.0, 0.1), 10, 20) is Verdict.HOLDS
    assert judged(Rounded(9.95, 0.1), 10, 20) is Verdict.TO_ROUNDING
    assert judged(Rounded(9.8, 0.1), 10, 20) is Verdict.FAILS


def small_table() -> ValueTable:
    rows = [
        Scored("Base", "Us", "open", Rounded(75.0), Rounded(0.0)),
        Scored("A", "Us", "open", Rounded(80.0)),
    ]
    return build_table(rows, "Base")


@pytest.mark.parametrize(
    "claim",
    [
        "{kind: cost_ratio, of: [A], to: Base, between: [1, 2]}",
        "{kind: corpus_usd, of: [Base], tokens: 1000, between: [1, 2]}",
        "{kind: value, values: {A: 1}}",
        "{kind: best_value, model: A}",
        "{kind: trend, between: [0, 1]}",
    ],
)
def test_what_is_not_known_cannot_be_checked(tmp_path: Path, claim: str) -> None:
    path = tmp_path / "claims.yaml"
    body = claim[1:-1]
    path.write_text(f"source: me\nclaims:\n  - {{says: x, where: y, {body}}}\n")
    (found,) = check_claims(read_claims(path), small_table())
    assert found.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("claims: [", "cannot be read"),
        ("source: me\nclaims: []\n", "do not fit"),
        ("source: me\nclaims: [{says: x, where: y, kind: guess}]\n", "do not fit"),
        (
            "source: me\nclaims: [{says: x, where: y, kind: trend, between: [2, 1]}]\n",
            "lower end comes first",
        ),
    ],
)
def test_refused_files(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=what):
        read_claims(path)


def test_a_claim_on_a_model_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text("source: me\nclaims: [{says: x, where: y, kind: best_value, model: Bass}]\n")
    with pytest.raises(InputError, match="'Bass'") as caught:
        check_claims(read_claims(path), small_table())
    assert caught.value.where == "claim 1"


def test_steps_of_the_best(paper: ValueTable) -> None:
    steps = best_so_far(
        [e for e in paper.entries if e.access == "proprietary"], lambda e: e.score.value
    )
    assert [entry.name for _, entry in steps][:3] == ["GPT-3.5", "GPT-4", "Gemini 1.5 Pro"]
    scores = [entry.score.value for _, entry in steps]
    assert scores == sorted(set(scores))
    assert steps[-1][1].name == "Gemini 3.0 Flash"
    # Value 0 counts as a number: it beats what is below.
    below = [e for e in paper.entries if e.name in ("Qwen 7B", "GPT-4")]
    steps = best_so_far(below, lambda e: e.value.value if e.value else None)
    assert [entry.name for _, entry in steps] == ["GPT-4"]
