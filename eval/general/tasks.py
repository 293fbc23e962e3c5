"""The six benchmarks: their tasks, the columns of their data, and how their scores are read.

Names, splits and choices are those of lm-eval's frozen ``leaderboard_*`` tasks (a test compares
them with the installed files). A score is normalised as the Open LLM Leaderboard v2 does
(huggingface.co/docs/leaderboards/open_llm_leaderboard/normalization): 0 for what guessing gives
(1 / number of choices) and less, 100 for all right. BBH and MuSR, whose tasks differ in the number
of choices, are the mean of their tasks' normalised scores; GPQA and MATH are normalised as a whole;
IFEval is the mean of its strict accuracies by prompt and by instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Task:
    """One of lm-eval's tasks.

    Args:
        name: its name there.
        config: the data set's configuration on the Hub, None where it has one only.
        split: where the questions are.
        choices: answers to choose from, 0 where the answer is written.
        shots_split: where few-shot examples come from, None where the task brings its own.
    """

    name: str
    config: str | None
    split: str
    choices: int
    shots_split: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that are read."""
        return (self.split,) if self.shots_split is None else (self.split, self.shots_split)

    @property
    def chance(self) -> float:
        """Score of guessing, from 0 to 1."""
        return 1 / self.choices if self.choices else 0.0


@dataclass(frozen=True)
class Benchmark:
    """A group of tasks that gives one score.

    Args:
        name: lm-eval's.
        key: short name, of CSV columns.
        label: in tables and figures.
        data: the data set on the Hub.
        metrics: whose mean is a task's score.
        columns: what a row of the data must have.
        tasks: in lm-eval's order.
        by_task: normalised task by task, then averaged.
    """

    name: str
    key: str
    label: str
    data: str
    metrics: tuple[str, ...]
    columns: tuple[str, ...]
    tasks: tuple[Task, ...]
    by_task: bool = False


_BBH = {
    "boolean_expressions": 2,
    "causal_judgement": 2,
    "date_understanding": 6,
    "disambiguation_qa": 3,
    "formal_fallacies": 2,
    "geometric_shapes": 11,
    "hyperbaton": 2,
    "logical_deduction_five_objects": 5,
    "logical_deduction_seven_objects": 7,
    "logical_deduction_three_objects": 3,
    "movie_recommendation": 6,
    "navigate": 2,
    "object_counting": 19,
    "penguins_in_a_table": 5,
    "reasoning_about_colored_objects": 18,
    "ruin_names": 6,
    "salient_translation_error_detection": 6,
    "snarks": 2,
    "sports_understanding": 2,
    "temporal_sequences": 4,
    "tracking_shuffled_objects_five_objects": 5,
    "tracking_shuffled_objects_seven_objects": 7,
    "tracking_shuffled_objects_three_objects": 3,
    "web_of_lies": 2,
}
_MATH = {
    "algebra": "algebra",
    "counting_and_prob": "counting_and_probability",
    "geometry": "geometry",
    "intermediate_algebra": "intermediate_algebra",
    "num_theory": "number_theory",
    "prealgebra": "prealgebra",
    "precalculus": "precalculus",
}
_MUSR = {"murder_mysteries": 2, "object_placements": 5, "team_allocation": 3}

BENCHMARKS = (
    Benchmark(
        "leaderboard_ifeval",
        "ifeval",
        "IFEval",
        "wis-k/instruction-following-eval",
        ("prompt_level_strict_acc", "inst_level_strict_acc"),
        ("key", "prompt", "instruction_id_list", "kwargs"),
        (Task("leaderboard_ifeval", None, "train", 0),),
    ),
    Benchmark(
        "leaderboard_bbh",
        "bbh",
        "BBH",
        "SaylorTwift/bbh",
        ("acc_norm",),
        ("input", "target"),
        tuple(Task(f"leaderboard_bbh_{name}", name, "test", n) for name, n in _BBH.items()),
        by_task=True,
    ),
    Benchmark(
        "leaderboard_math_hard",
        "math",
        "MATH",
        "DigitalLearningGmbH/MATH-lighteval",
        ("exact_match",),
        ("problem", "level", "solution"),
        tuple(
            Task(f"leaderboard_math_{name}_hard", config, "test", 0)
            for name, config in _MATH.items()
        ),
    ),
    Benchmark(
        "leaderboard_gpqa",
        "gpqa",
        "GPQA",
        "Idavidrein/gpqa",
        ("acc_norm",),
        (
            "Question",
            "Correct Answer",
            "Incorrect Answer 1",
            "Incorrect Answer 2",
            "Incorrect Answer 3",
        ),
        tuple(
            Task(f"leaderboard_gpqa_{name}", f"gpqa_{name}", "train", 4)
            for name in ("diamond", "extended", "main")
        ),
    ),
    Benchmark(
        "leaderboard_musr",
        "musr",
        "MuSR",
        "TAUR-Lab/MuSR",
        ("acc_norm",),
        ("narrative", "question", "choices", "answer_choice"),
        tuple(Task(f"leaderboard_musr_{name}", None, name, n) for name, n in _MUSR.items()),
        by_task=True,
    ),
    Benchmark(
        "leaderboard_mmlu_pro",
        "mmlu_pro",
        "MMLU-Pro",
        "TIGER-Lab/MMLU-Pro",
        ("acc",),
        ("question", "options", "answer"),
        # One in six questions has fewer than ten options; the leaderboard took ten for all.
        (Task("leaderboard_mmlu_pro", None, "test", 10, shots_split="validation"),),
    ),
)
_BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}


def benchmark_named(name: str) -> Benchmark:
    """Returns the benchmark with lm-eval's name."""
    return _BY_NAME[name]


def normalized(score: float, chance: float) -> float:
    """Returns a score from 0 (guessing, or worse) to 100.

    Args:
        score: a share, from 0 to 1.
        chance: what guessing gives, below 1.
    """
    return 100 * max(0.0, score - chance) / (1 - chance)


def task_score(values: dict[str, float], benchmark: Benchmark) -> float:
    """Returns a task's score from 0 to 1: the mean of the metrics that count."""
    return fmean(values[metric] for metric in benchmark.metrics)


def pooled(scores: Sequence[float], counts: Sequence[int]) -> float:
    """Returns the mean over all questions of several tasks, as lm-eval's groups have it."""
    return sum(s * n for s, n in zip(scores, counts, strict=True)) / sum(counts)


def pooled_error(errors: Sequence[float], counts: Sequence[int]) -> float:
    """Returns the standard error of :func:`pooled`, the tasks being independent strata."""
    squares = sum((e * n) ** 2 for e, n in zip(errors, counts, strict=True))
    return float(squares**0.5 / sum(counts))
