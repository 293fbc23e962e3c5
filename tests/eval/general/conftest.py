"""The six data sets in the Hub's layout, a few questions each, all written for these tests."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.recipe.general import General, GeneralTask
from eval.general.tasks import BENCHMARKS

FOLDERS = {benchmark.name: f"data/{benchmark.key}" for benchmark in BENCHMARKS}

BBH_ANSWERS = {
    "boolean_expressions": "True",
    "causal_judgement": "Yes",
    "formal_fallacies": "valid",
    "navigate": "No",
    "object_counting": "7",
    "sports_understanding": "yes",
    "web_of_lies": "No",
}

IFEVAL = [
    {
        "key": 1000,
        "prompt": "Write three words about rivers. Use no commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    },
    {
        "key": 1001,
        "prompt": "Describe a bridge in less than 3 sentences and more than one capital word.",
        "instruction_id_list": [
            "length_constraints:number_sentences",
            "change_case:capital_word_frequency",
        ],
        "kwargs": [
            {"relation": "less than", "num_sentences": 3},
            {"capital_frequency": 1, "capital_relation": "at least"},
        ],
    },
    {
        "key": 1002,
        "prompt": "Name the bone of the upper leg; mention the word femur.",
        "instruction_id_list": ["keywords:existence"],
        "kwargs": [{"keywords": ["femur"]}],
    },
]


def write_lines(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def bbh_rows(name: str) -> list[dict[str, Any]]:
    return [
        {"input": f"Question {n} of {name}, with options (A) and (B)?", "target": target}
        for n, target in enumerate([BBH_ANSWERS.get(name, "(A)"), BBH_ANSWERS.get(name, "(B)")])
    ]


def math_rows(kind: str) -> list[dict[str, Any]]:
    rows = [("Level 5", "$2+2$", "4"), ("Level 3", "$1+1$", "2"), ("Level 5", "$6/3$", "2")]
    return [
        {
            "problem": f"In {kind}, what is {asked}?",
            "level": level,
            "type": kind,
            "solution": f"It is $\\boxed{{{answer}}}$.",
        }
        for level, asked, answer in rows
    ]


def gpqa_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "Pre-Revision Question": "unused",
            "Question": f"Which salt is number {n},\nif any?",
            "Correct Answer": "Sodium chloride",
            "Incorrect Answer 1": "Iron [title] oxide",
            "Incorrect Answer 2": "Water, of all things",
            "Incorrect Answer 3": "Methane",
            "Record ID": f"rec{n}",
        }
        for n in range(count)
    ]


def musr_rows(choices: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "narrative": f"A vase broke in the hall, part {n}.\n\nSomebody laughed.",
            "question": "Who is most likely to have done it?",
            "choices": str(choices),
            "answer_index": n,
            "answer_choice": choices[n],
        }
        for n in range(2)
    ]


def mmlu_pro_rows(count: int, options: int) -> list[dict[str, Any]]:
    return [
        {
            "question_id": n,
            "question": f"Which number comes after {n}?",
            "options": [str(n + 1 + k) for k in range(options)],
            "answer": "A",
            "answer_index": 0,
            "cot_content": "",
            "category": "math",
            "src": "self-made",
        }
        for n in range(count)
    ]


def write_data(root: Path) -> None:
    """Writes all six as their repositories have them."""
    data = root / "data"
    write_lines(data / "ifeval" / "ifeval_input_data.jsonl", IFEVAL)
    for benchmark in BENCHMARKS:
        for task in benchmark.tasks:
            name = task.config or ""
            if benchmark.key == "bbh":
                write_table(data / "bbh" / name / "test-00000-of-00001.parquet", bbh_rows(name))
            elif benchmark.key == "math":
                for split in ("train", "test"):
                    path = data / "math" / name / f"{split}-00000-of-00001.parquet"
                    write_table(path, math_rows(name))
            elif benchmark.key == "gpqa":
                write_csv(data / "gpqa" / f"{name}.csv", gpqa_rows(3))
    names = ["Anna", "Bea O'Neill", "Cem", "Dora", "Eli"]
    write_csv(data / "musr" / "murder_mystery.csv", musr_rows(names[:2]))
    write_csv(data / "musr" / "object_placements.csv", musr_rows(names))
    write_csv(data / "musr" / "team_allocation.csv", musr_rows(names[:3]))
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    card += "".join(
        f"  - split: {split}\n    path: {path}\n"
        for split, path in (
            ("murder_mysteries", "murder_mystery.csv"),
            ("object_placements", "object_placements.csv"),
            ("team_allocation", "team_allocation.csv"),
        )
    )
    (data / "musr" / "README.md").write_text(card + "---\n\n# MuSR\n", encoding="utf-8")
    mmlu = data / "mmlu_pro" / "data"
    write_table(mmlu / "test-00000-of-00001.parquet", mmlu_pro_rows(3, 10) + mmlu_pro_rows(1, 4))
    write_table(mmlu / "validation-00000-of-00001.parquet", mmlu_pro_rows(6, 10))


def write_punkt(root: Path) -> str:
    """Writes the smallest sentence splitter that nltk loads, and returns its folder."""
    folder = root / "nltk_data" / "tokenizers" / "punkt_tab" / "english"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collocations.tab").write_text("a\tb\n")
    (folder / "sent_starters.txt").write_text("the\n")
    (folder / "abbrev_types.txt").write_text("dr\nmr\n")
    (folder / "ortho_context.tab").write_text("the\t46\n")
    return "nltk_data"


@pytest.fixture(scope="session")
def general_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``data/<key>`` of all six benchmarks and ``nltk_data``."""
    root = tmp_path_factory.mktemp("general")
    write_data(root)
    write_punkt(root)
    return root


def section(*names: str, **more: Any) -> General:
    """Returns a recipe section for the tiny model; all six benchmarks unless named."""
    listed = names or tuple(FOLDERS)
    values: dict[str, Any] = {
        "tasks": [GeneralTask(name=name, path=FOLDERS[name]) for name in listed],
        "max_answer_tokens": 12,
        "batch_size": 4,
        "nltk_data": "nltk_data",
        "dtype": "float32",
        **more,
    }
    return General(**values)
