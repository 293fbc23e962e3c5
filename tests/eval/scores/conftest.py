"""Questions and predictions for the statistics, in files as the stages write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest

from core.recipe.eval import Benchmark
from core.schema import PREDICTION
from core.shards import shard_name, write_shard
from core.stage import StageContext
from eval.scores.stage import ScoresStage

Row = dict[str, Any]
RunScores = Callable[..., dict[str, Any]]


def question(number: int, choices: int = 4, key: bool = True) -> Row:
    return {
        "item_id": f"q{number}",
        "question": f"What is question {number} about?",
        "choices": [f"answer {c} of {number}" for c in range(choices)],
        "answer": "ABCDE"[number % choices] if key else None,
        "topic": ["Stars", "Galaxies"][number % 2],
    }


@pytest.fixture
def prediction() -> Callable[..., Row]:
    """Makes a row; question ``number`` of four choices is right with choice ``number % 4``."""

    def make(model: str, number: int, choice: int | None, **other: Any) -> Row:
        row = {
            "item_id": f"q{number}",
            "benchmark": "bench",
            "model": model,
            "mode": "letter",
            "permutation": 0,
            "order": [0, 1, 2, 3],
            "choice": choice,
            "correct": choice == number % 4,
            "logprobs": [],
            "raw_text": "",
            "read_by": None,
        }
        return row | other

    return make


@pytest.fixture
def run_scores(context: StageContext) -> RunScores:
    """Runs the real stage over rows in two shards, and returns ``scores.json``."""

    def run(
        rows: Sequence[Row],
        models: Sequence[str],
        questions: int = 8,
        contamination: str | None = None,
        keyless: int = 0,
    ) -> dict[str, Any]:
        listed = [question(n) for n in range(questions)]
        listed += [question(n, key=False) for n in range(questions, questions + keyless)]
        text = "".join(json.dumps(item) + "\n" for item in listed)
        (context.root / "bench.jsonl").write_text(text, encoding="utf-8")
        half = len(rows) // 2
        folder = context.folder("eval.mcq")
        for index, part in enumerate((rows[:half], rows[half:])):
            table = pa.Table.from_pylist(list(part), schema=PREDICTION)
            write_shard(folder / shard_name(index), table)
        benchmarks = [Benchmark(name="bench", path="bench.jsonl")]
        stage = ScoresStage(dict.fromkeys(models, ""), benchmarks, contamination=contamination)
        out = context.folder("eval.scores")
        result = stage.run(context, out)
        assert result.rows_in == result.rows_out == len(rows)
        scores: dict[str, Any] = json.loads((out / "scores.json").read_text(encoding="utf-8"))
        return scores

    return run
