"""Engine ``kenlm``: an n-gram model read by KenLM, the cheap scorer of CCNet (Wenzek et al. 2020).

Tokens are the words between white space, and the end of the text is one more; ``P`` is the model's
own (modified Kneser-Ney where it was built with ``lmplz``), a word it does not know has the
probability of ``<unk>``. The model's training text must have been split the same way: punctuation
belongs to its word in both or in neither.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import EngineError
from core.llm.engine import Engine, GenerateRequest, Generation, Score, ScoreRequest

_NATS = math.log(10.0)
"""KenLM gives base-10 logarithms."""


class NgramEngine(Engine):
    """An n-gram model; it scores and does not generate.

    Args:
        model_path: an ARPA file or a binary made by KenLM's ``build_binary``. A binary is mapped
            into memory as it is: take one only from whom you would take a program.

    Raises:
        EngineError: KenLM is not installed, or the file is missing or not such a model.
    """

    def __init__(self, model_path: str) -> None:
        self.label = Path(model_path).name
        if not Path(model_path).is_file():
            raise EngineError(
                "there is no n-gram model here",
                where=model_path,
                remedy="name an .arpa file, or a binary made from one with KenLM's build_binary",
            )
        self._kenlm = _kenlm()
        config = self._kenlm.Config()
        # Nothing is printed; an ARPA file is told apart from a binary by KenLM itself.
        config.show_progress = False
        config.arpa_complain = self._kenlm.ARPALoadComplain.NONE
        try:
            self._model = self._kenlm.Model(model_path, config)
        except (OSError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"KenLM cannot read this model: {str(error).splitlines()[0]}",
                where=model_path,
                remedy="build it again with lmplz (and build_binary), orders 2 to 6",
            ) from error

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        """Refuses: an n-gram model answers nothing."""
        error = "the engine 'kenlm' scores text; it does not generate"
        return [Generation("", "error", error=error) for _ in requests]

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        """Scores texts; see :class:`core.llm.engine.Engine`. A text of no words scores ``()``."""
        return [self._score(request) for request in requests]

    def _score(self, request: ScoreRequest) -> Score:
        if request.messages:
            return Score((), "the engine 'kenlm' knows no chat turns")
        # A null byte would end the word early in C.
        words = request.text.replace("\0", " ").split()
        if not words:
            return Score(())
        state, after = self._kenlm.State(), self._kenlm.State()
        self._model.BeginSentenceWrite(state)
        for word in request.prefix.replace("\0", " ").split():
            self._model.BaseScore(state, word, after)
            state, after = after, state
        logprobs = []
        for word in [*words, "</s>"]:
            logprobs.append(self._model.BaseScore(state, word, after) * _NATS)
            state, after = after, state
        return Score(tuple(logprobs))


def _kenlm() -> Any:
    try:
        return importlib.import_module("kenlm")
    except ImportError as error:
        raise EngineError(
            "n-gram scores need the package kenlm",
            where="engine kind 'kenlm'",
            remedy="pip install 'astromill[kenlm]' (it is compiled: a C++ compiler is needed)",
        ) from error


__all__ = ["NgramEngine"]
