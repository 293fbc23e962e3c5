"""Which file is which split, and which rows can be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.errors import InputError
from core.rejects import Reason
from eval.general.files import split_files
from eval.general.rows import read_split, write_rows
from eval.general.tasks import BENCHMARKS, Benchmark, Task, benchmark_named


def _named(key: str, config: str | None = None) -> tuple[Benchmark, Task]:
    benchmark = next(b for b in BENCHMARKS if b.key == key)
    return benchmark, next(t for t in benchmark.tasks if config in (None, t.config))


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


SHARD = "00000-of-00001.parquet"

# Benchmark, configuration, split, its file, and neighbours that are not meant.
BY_NAME = [
    ("ifeval", None, "train", "ifeval_input_data.jsonl", ["README.md"]),
    ("bbh", "navigate", "test", f"navigate/test-{SHARD}", [f"snarks/test-{SHARD}"]),
    ("bbh", "navigate", "test", "navigate.json", ["snarks.json"]),
    (
        "math",
        "algebra",
        "test",
        f"algebra/test-{SHARD}",
        [f"algebra/train-{SHARD}", f"intermediate_algebra/test-{SHARD}", "prealgebra/test.parquet"],
    ),
    ("math", "number_theory", "test", "number_theory/test.jsonl", ["number_theory/train.jsonl"]),
    ("gpqa", "gpqa_main", "train", "gpqa_main.csv", ["gpqa_diamond.csv", "gpqa_experts.csv"]),
    ("musr", None, "murder_mysteries", "murder_mystery.csv", ["team_allocation.csv"]),
    ("mmlu_pro", None, "validation", f"data/validation-{SHARD}", [f"data/test-{SHARD}"]),
    ("mmlu_pro", None, "validation", "dev.jsonl", ["test.jsonl"]),
    ("mmlu_pro", None, "test", f"data/test-{SHARD}", [f".cache/huggingface/data/test-{SHARD}"]),
]


@pytest.mark.parametrize(("key", "config", "split", "name", "others"), BY_NAME)
def test_files_are_found_by_name(
    tmp_path: Path, key: str, config: str | None, split: str, name: str, others: list[str]
) -> None:
    benchmark, task = _named(key, config)
    _touch(tmp_path, *(f"d/{each}" for each in [name, *others]))
    assert split_files(tmp_path, "d", benchmark, task, split) == [tmp_path / "d" / name]


def test_a_data_sets_card_comes_first(tmp_path: Path) -> None:
    benchmark, task = _named("gpqa", "gpqa_main")
    _touch(tmp_path, "d/gpqa_main.csv", "d/v2/main.csv")
    card = {
        "configs": [
            {"config_name": "gpqa_main", "data_files": "v2/main.csv"},
            {"config_name": "gpqa_diamond", "data_files": "../../secret.csv"},
        ]
    }
    (tmp_path / "d" / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n# GPQA\n")
    assert split_files(tmp_path, "d", benchmark, task, "train") == [tmp_path / "d/v2/main.csv"]
    # A path out of the folder is nobody's split.
    _, diamond = _named("gpqa", "gpqa_diamond")
    with pytest.raises(InputError, match="no file for the split 'train' of 'gpqa_diamond'"):
        split_files(tmp_path, "d", benchmark, diamond, "train")


def test_a_missing_split_names_the_data_set(tmp_path: Path) -> None:
    benchmark, task = _named("mmlu_pro")
    _touch(tmp_path, "d/test.jsonl")
    with pytest.raises(InputError, match="no file for the split 'validation'") as caught:
        split_files(tmp_path, "d", benchmark, task, "validation")
    assert "TIGER-Lab/MMLU-Pro" in caught.value.remedy


GOOD: dict[str, dict[str, Any]] = {
    "ifeval": {"key": 1, "prompt": "p", "instruction_id_list": ["a:b"], "kwargs": [{}]},
    "bbh": {"input": "i", "target": "Yes"},
    "math": {"problem": "p", "level": "Level 5", "solution": "$\\boxed{1}$"},
    "gpqa": {
        "Question": "q", "Correct Answer": "c", "Incorrect Answer 1": "1",
        "Incorrect Answer 2": "2", "Incorrect Answer 3": "3",
    },
    "musr": {"narrative": "n", "question": "q", "choices": "['a', 'b']", "answer_choice": "b"},
    "mmlu_pro": {"question": "q", "options": ["x", "y"], "answer": "B"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "change", "fault"),
    [
        ("ifeval", {"kwargs": []}, "1 instructions and 0 sets of arguments"),
        ("ifeval", {"kwargs": "none"}, "must be lists"),
        ("ifeval", {"kwargs": ["none"]}, "not an object"),
        ("ifeval", {"instruction_id_list": ["x:y"]}, "unknown instruction 'x:y'"),
        ("ifeval", {"prompt": " "}, "'prompt' is missing"),
        ("bbh", {"target": "(Z)"}, "the answer '(Z)' is none of the choices"),
        ("bbh", {"target": None}, "'target' is missing"),
        ("math", {"solution": 4}, "'solution' is not text"),
        ("gpqa", {"Incorrect Answer 2": ""}, "'Incorrect Answer 2' is missing"),
        ("musr", {"choices": "__import__('os')"}, "not a list of texts"),
        ("musr", {"choices": "[" * 9000}, "not a list of texts"),
        ("musr", {"choices": "[1, 2]"}, "not a list of texts"),
        ("musr", {"answer_choice": "c"}, "the answer 'c' is none of the choices"),
        ("mmlu_pro", {"answer": "C"}, "the answer 'C' is none of AB"),
        ("mmlu_pro", {"answer": "AB"}, "the answer 'AB' is none of AB"),
        ("mmlu_pro", {"options": ["x"]}, "1 options"),
        ("mmlu_pro", {"options": "x, y"}, "not a list of texts"),
    ],
)
def test_a_bad_row_is_a_reject(
    tmp_path: Path, key: str, change: dict[str, Any], fault: str
) -> None:
    benchmark, task = _named(key)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(GOOD[key] | change) + "\nno json\n" + json.dumps(GOOD[key]) + "\n")
    known = {"ifeval": ["a:b"], "bbh": ["Yes", "No"]}.get(key, [])
    split = read_split([file], benchmark, task, known=known)
    assert split.rows == [GOOD[key]]
    first, second = split.rejects
    assert first.reason == Reason.MALFORMED_RECORD
    assert fault in first.detail
    assert first.doc_id == "rows.jsonl:0"
    assert (second.doc_id, second.detail) == ("rows.jsonl:1", "not an object")


def test_only_the_hardest_of_math_and_no_more_than_the_limit(tmp_path: Path) -> None:
    benchmark, task = _named("math", "algebra")
    rows = [GOOD["math"] | {"level": f"Level {1 + n % 5}", "problem": str(n)} for n in range(30)]
    (tmp_path / "a.json").write_text(json.dumps({"examples": rows}))
    assert len(read_split([tmp_path / "a.json"], benchmark, task).rows) == 6
    split = read_split([tmp_path / "a.json"], benchmark, task, limit=2)
    assert [row["problem"] for row in split.rows] == ["4", "9"]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("x.parquet", b"no parquet", "cannot read this file"),
        ("x.jsonl", b'{"a": "\xff"}', "cannot read this file"),
        ("x.csv", b"other,columns\n1,2\n", "the columns Correct Answer, Incorrect"),
        ("x.jsonl", b"", "the columns Correct Answer"),
    ],
)
def test_a_file_of_something_else(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    benchmark, task = _named("gpqa", "gpqa_main")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=what):
        read_split([tmp_path / name], benchmark, task)


def test_arguments_of_all_instructions_make_one_struct(tmp_path: Path) -> None:
    benchmark = benchmark_named("leaderboard_ifeval")
    none = GOOD["ifeval"]
    some = none | {"kwargs": [{"num_words": 3, "relation": None}]}
    write_rows([none, some], benchmark, tmp_path / "a.parquet")
    found = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["kwargs"] for row in found] == [
        [{"num_words": None, "relation": None}],
        [{"num_words": 3, "relation": None}],
    ]
    write_rows([none], benchmark, tmp_path / "b.parquet")
    assert pq.read_table(tmp_path / "b.parquet").num_rows == 1
