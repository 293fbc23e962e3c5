from __future__ import annotations

import pickle

import pytest

from core.errors import (
    AstromillError,
    EngineError,
    InputError,
    RecipeError,
    StageError,
    UsageError,
)


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (AstromillError, 1),
        (InputError, 1),
        (StageError, 1),
        (EngineError, 1),
        (RecipeError, 2),
        (UsageError, 2),
    ],
)
def test_an_error_says_what_where_and_remedy_and_survives_pickling(
    kind: type[AstromillError], exit_code: int
) -> None:
    error = kind("no metadata", where="corpus.sources.0", remedy="check the path")
    copy = pickle.loads(pickle.dumps(error))
    for one in (error, copy):
        assert type(one) is kind
        assert (one.what, one.where, one.remedy) == (
            "no metadata",
            "corpus.sources.0",
            "check the path",
        )
        assert str(one) == "no metadata [corpus.sources.0]"
        assert one.exit_code == exit_code
