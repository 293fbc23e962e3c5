"""Scores of a small ARPA model against sums done by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from core.errors import EngineError
from core.llm import Engine, GenerateRequest, ScoreRequest, open_engine
from core.recipe.engine import Engine as EngineConfig

pytest.importorskip("kenlm", reason="the extra 'kenlm' is not installed: it needs a C++ compiler")

ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.0\t<unk>\t0
-99\t<s>\t-0.3
-0.7\t</s>\t0
-0.5\tthe\t-0.2
-0.9\tstar\t-0.1

\\2-grams:
-0.1\t<s> the
-0.2\tthe star
-0.4\tstar </s>

\\end\\
"""
CONFIG = EngineConfig(kind="kenlm", model="model.arpa")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    path = tmp_path_factory.mktemp("kenlm") / "model.arpa"
    path.write_text(ARPA)
    return open_engine(CONFIG, str(path))


@pytest.mark.parametrize(
    ("text", "prefix", "logs"),
    [
        ("the star", "", [-0.1, -0.2, -0.4]),
        ("  the\n\nstar\t", "", [-0.1, -0.2, -0.4]),
        # Unseen pairs back off: the first word's back-off weight and the second's own logarithm.
        ("star the", "", [-0.3 - 0.9, -0.1 - 0.5, -0.2 - 0.7]),
        ("comet", "", [-0.3 - 1.0, -0.7]),
        ("star", "the", [-0.2, -0.4]),
        ("star", "comet the", [-0.2, -0.4]),
        ("the\0star", "", [-0.1, -0.2, -0.4]),
        ("", "the", []),
        (" \n", "", []),
    ],
)
def test_scores_equal_sums_by_hand(
    engine: Engine, text: str, prefix: str, logs: list[float]
) -> None:
    (score,) = engine.score([ScoreRequest(text, prefix=prefix)])
    assert score.error is None
    assert score.logprobs == pytest.approx([x * math.log(10) for x in logs], rel=1e-6)


def test_it_scores_and_does_nothing_else(engine: Engine) -> None:
    chat = ({"role": "user", "content": "Which star?"},)
    (score,) = engine.score([ScoreRequest("star", messages=chat)])
    assert "no chat" in str(score.error)
    (answer,) = engine.generate([GenerateRequest(chat)])
    assert "does not generate" in str(answer.error)


def test_a_missing_or_broken_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no n-gram model here"):
        open_engine(CONFIG, str(tmp_path / "absent.arpa"))
    for number, content in enumerate(("", "hello\n", ARPA[:90], "\\data\\\nngram 1=9999999\n")):
        path = tmp_path / f"broken{number}.arpa"
        path.write_text(content)
        with pytest.raises(EngineError, match="cannot read this model") as caught:
            open_engine(CONFIG, str(path))
        assert caught.value.where == str(path)
