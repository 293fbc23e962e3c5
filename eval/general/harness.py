"""Runs one of lm-eval's tasks on local data and reads off what it measured.

A task is a YAML file that includes lm-eval's own and names a Parquet file in its data set's place:
prompts, few-shot examples, generation settings and scoring stay lm-eval's, to the letter. All that
it writes (prepared data, caches) lies in a folder that goes when the task is done; data sets'
caches hold Arrow files, and lm-eval's own cache of requests, which is pickled, stays off.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import InputError, StageError
from core.recipe.general import General
from core.rejects import Reject
from core.storage.inputs import locate
from eval.general.files import split_files
from eval.general.rows import Split, read_split, write_rows
from eval.general.tasks import Benchmark, Task

_SEEDS = (0, 1234)
"""lm-eval's own, of Python's ``random`` (which shuffles GPQA's choices) and of the rest."""

_MODEL_LOGGERS = ("models.huggingface", "models.vllm_causallms", "models.api_models", "utils")
"""Of lm-eval's modules that say that a prompt is too long."""

_ASKED_CHARS, _ANSWER_CHARS = 1200, 2000
"""Of a sample: the end of the prompt, where the question is, and the answer's beginning."""


@dataclass(frozen=True)
class Measured:
    """What a task gave.

    Args:
        values: metric to value from 0 to 1.
        errors: metric to standard error, where lm-eval knows one.
        per_question: the score of each question, in order; the mean where metrics are several.
        samples: the first questions: ``question, target, answer, score``.
        rejects: rows that could not be asked.
        truncations: how often lm-eval said that prompts were longer than the context and lost
            their beginning: once a prompt, or once a batch where answers are written.
    """

    values: dict[str, float]
    errors: dict[str, float]
    per_question: list[float]
    samples: list[dict[str, Any]]
    rejects: list[Reject]
    truncations: int


class _Truncations(logging.Filter):
    """Counts what lm-eval says of prompts that are too long, instead of showing each."""

    count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if "runcat" not in record.getMessage():
            return True
        self.count += 1
        return False


def run_task(
    lm: Any,
    root: Path,
    path: str,
    benchmark: Benchmark,
    task: Task,
    section: General,
    scratch: Path,
    chat: bool,
) -> Measured:
    """Asks a model one task's questions.

    Args:
        lm: from :func:`eval.general.lm.open_lm`.
        root: what ``path`` is relative to.
        path: the benchmark's data.
        benchmark: the benchmark.
        task: the task.
        section: how to ask.
        scratch: an empty folder.
        chat: ask under the chat template.

    Raises:
        InputError: the data are missing or not this benchmark's, or nltk's are.
        StageError: lm-eval cannot ask this model.
    """
    index = builtin_tasks()
    known = known_answers(index, benchmark, task, section.nltk_data, root)
    split = _prepare(root, path, benchmark, task, section.limit, known, scratch)
    _write_task(index[task.name].yaml_path, task, scratch)
    with _quiet() as truncations:
        results = _evaluate(lm, task.name, section, scratch, chat)
    found = results["results"][task.name]
    values = {metric: float(found[f"{metric},none"]) for metric in benchmark.metrics}
    errors = {
        metric: float(error)
        for metric in benchmark.metrics
        if isinstance(error := found.get(f"{metric}_stderr,none"), int | float)
        and math.isfinite(error)
    }
    logged = sorted(results["samples"][task.name], key=lambda sample: sample["doc_id"])
    scores = [_score(sample, benchmark) for sample in logged]
    if len(logged) != len(split.rows):
        raise StageError(
            f"lm-eval answered {len(logged)} of {len(split.rows)} questions",
            where=task.name,
            remedy="this lm-eval takes other rows of the data than 0.4.13, which is tested",
        )
    samples = [
        _sample(one, score) for one, score in zip(logged[: section.samples], scores, strict=False)
    ]
    return Measured(values, errors, scores, samples, split.rejects, truncations.count)


def _prepare(
    root: Path,
    path: str,
    benchmark: Benchmark,
    task: Task,
    limit: int | None,
    known: Collection[str],
    scratch: Path,
) -> Split:
    """Writes the task's data and returns the questions that are asked."""
    asked = Split()
    for name in task.splits:
        files = split_files(root, path, benchmark, task, name)
        is_asked = name == task.split
        split = read_split(files, benchmark, task, limit if is_asked else None, known)
        write_rows(split.rows, benchmark, _data_file(scratch, name))
        asked = split if is_asked else asked
    return asked


def _data_file(scratch: Path, split: str) -> Path:
    return scratch / "data" / f"{split}.parquet"


def builtin_tasks() -> Any:
    """Returns lm-eval's index of its own tasks: name to entry."""
    from importlib.resources import files

    from lm_eval.tasks import TaskManager

    builtin = str(files("lm_eval") / "tasks" / "leaderboard")
    return TaskManager(include_path=builtin, include_defaults=False).task_index


def known_answers(
    index: Any, benchmark: Benchmark, task: Task, nltk_data: str | None, root: Path
) -> Collection[str]:
    """Returns what rows are checked against: BBH's choices, IFEval's instructions.

    Raises:
        InputError: IFEval's sentence splitter is not on this machine.
    """
    if benchmark.key == "ifeval":
        return _instructions(nltk_data, root)
    choices: list[str] = index[task.name].cfg["doc_to_choice"] if benchmark.key == "bbh" else []
    return choices


def _write_task(builtin: Path, task: Task, scratch: Path) -> None:
    config = {
        "include": str(builtin),
        "task": task.name,
        "dataset_path": "parquet",
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {name: str(_data_file(scratch, name)) for name in task.splits},
            "cache_dir": str(scratch / "cache"),
        },
    }
    folder = scratch / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{task.name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _evaluate(lm: Any, name: str, section: General, scratch: Path, chat: bool) -> dict[str, Any]:
    """Does what ``lm_eval.simple_evaluate`` does, short of its account of the machine.

    That account runs ``pip list`` and the like, for three seconds a task; a test holds that
    results are the same.
    """
    import numpy as np
    import torch
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager

    random.seed(_SEEDS[0])
    np.random.seed(_SEEDS[1])
    torch.manual_seed(_SEEDS[1])
    manager = TaskManager(include_path=str(scratch / "tasks"), include_defaults=False)
    loaded = manager.load([name])
    (task,) = loaded["tasks"].values()
    if section.max_answer_tokens is not None and task.OUTPUT_TYPE == "generate_until":
        most = {"max_gen_toks": section.max_answer_tokens}
        task.set_config(key="generation_kwargs", value=most, update=True)
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=_SEEDS[1])
    try:
        results: dict[str, Any] | None = evaluate(
            lm=lm,
            task_dict=loaded,
            log_samples=True,
            system_instruction=section.system_prompt,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )
    except AssertionError as error:
        raise StageError(
            f"lm-eval cannot ask this model: {error}",
            where=name,
            remedy="set eval.general.max_answer_tokens below the model's context",
        ) from error
    except Exception as error:
        if not hasattr(lm, "base_url"):
            raise
        # Whatever client, retries and parser raise; none of them says which server it was.
        raise StageError(
            f"the server gave no answer: {type(error).__name__}: {error}"[:400],
            where=f"{name} at {lm.base_url}",
            remedy="check that it runs, takes the key, and gives log-probabilities of a prompt "
            "(echo with logprobs)",
        ) from error
    assert results is not None, "only other ranks get nothing"
    return results


def _score(sample: dict[str, Any], benchmark: Benchmark) -> float:
    values = []
    for metric in benchmark.metrics:
        value = sample[metric]
        # IFEval's accuracy by instruction: one answer has several instructions.
        values.append(sum(value) / len(value) if isinstance(value, list) else float(value))
    return sum(values) / len(values)


def _sample(sample: dict[str, Any], score: float) -> dict[str, Any]:
    said = sample["filtered_resps"]
    first = said[0] if isinstance(said, list) and said else said
    if isinstance(first, str):
        answer = first
    else:
        # A log-likelihood for each choice: the likeliest is what the model would say.
        chances = [float(each[0]) for each in said]
        answer = str(sample["arguments"][chances.index(max(chances))][1]).strip()
    return {
        "question": str(sample["arguments"][0][0])[-_ASKED_CHARS:],
        "target": str(sample["target"])[:_ASKED_CHARS],
        "answer": answer[:_ANSWER_CHARS],
        "score": score,
    }


def _instructions(nltk_data: str | None, root: Path) -> Collection[str]:
    """Returns the names of IFEval's instructions.

    Raises:
        InputError: nltk's sentence splitter is not on this machine; importing the task without it
            would try to fetch it.
    """
    import nltk

    if nltk_data is not None and (folder := str(locate(root, nltk_data))) not in nltk.data.path:
        nltk.data.path.insert(0, folder)
    try:
        nltk.data.find("tokenizers/punkt_tab/english")
    except LookupError as error:
        raise InputError(
            "IFEval needs nltk's 'punkt_tab', which is not on this machine",
            where="key eval.general.nltk_data",
            remedy="where there is a network, python -m nltk.downloader -d data/nltk_data "
            "punkt_tab; copy the folder here and set nltk_data: data/nltk_data",
        ) from error
    from langdetect import DetectorFactory
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    # It draws at random which of an answer's letters it looks at.
    DetectorFactory.seed = 0
    return frozenset(INSTRUCTION_DICT)


@contextlib.contextmanager
def _quiet() -> Iterator[_Truncations]:
    """Keeps lm-eval's progress bars and its word on every long prompt out of the run's own."""
    counted = _Truncations()
    loggers = [logging.getLogger(f"lm_eval.{name}") for name in _MODEL_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addFilter(counted)
        # What is not logged is not counted, and LMEVAL_LOG_LEVEL may ask for less.
        logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield counted
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeFilter(counted)
            logger.setLevel(level)
