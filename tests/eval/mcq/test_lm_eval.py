"""The same predictions as lm-eval on its own task ``mmlu_astronomy``, in the same prompts.

The data is ours, in the layout of MMLU's: lm-eval's task definition, prompt, few-shot choice and
Hugging Face backend are its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.mcq import LmEval, Ours, sample_questions, write_questions, write_task

QUESTIONS = 40


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of questions, five solved ones and lm-eval's task about them."""
    folder = tmp_path_factory.mktemp("mmlu")
    items, dev = sample_questions(QUESTIONS)
    write_questions(folder / "test.jsonl", items)
    write_questions(folder / "dev.jsonl", dev)
    write_task(folder, folder / "test.jsonl", folder / "dev.jsonl")
    return folder


def test_five_shot_predictions_agree_with_lm_eval(asked: Path, model_folder: Path) -> None:
    theirs = LmEval(model_folder, asked)
    found = theirs.predict()
    assert len(found) == QUESTIONS
    # The model has opinions: agreement on one letter for all would say little.
    assert len(set(found)) >= 3
    assert Ours(model_folder, asked).predict() == found


def test_a_context_too_short_is_cut_as_lm_eval_cuts(asked: Path, model_folder: Path) -> None:
    # The last of the five solved questions and the question are what is left.
    found = LmEval(model_folder, asked, context_tokens=160).predict()
    assert len(set(found)) >= 2
    assert Ours(model_folder, asked, context_tokens=160).predict() == found


def test_letters_of_two_tokens_agree_with_lm_eval(asked: Path, tiny_folder: Path) -> None:
    # Its vocabulary of 400 has no " A".
    found = LmEval(tiny_folder, asked).predict()
    assert Ours(tiny_folder, asked).predict() == found
