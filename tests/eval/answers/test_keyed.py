"""Answers of several models joined with a key of another file, as HELM's are: exact accuracies."""

from __future__ import annotations

import csv
from pathlib import Path

from eval.answers import read_answer
from eval.items import load_items

KEY = '''question,choice0,choice1,choice2,choice3,answer
"What is a type-Ia (""type one-a"") supernova?",Binary,Young,Gamma,High,0
Why is the sky blue?,Earth's air is blue,Oceans,It scatters,It absorbs,2
How many?,1,2,4,8,2
Which?,"the ""first""",it's,"a, b",D,3
'''
GIVEN = """question,choices,model_a,model_b,model_c
"What is a type-Ia (""type one-a"") supernova?","['Binary', 'Young', 'Gamma', 'High']",A, A,To
Why is the sky blue?,"[""Earth's air is blue"", 'Oceans', 'It scatters', 'It absorbs']",C, B,C
Which?,"['the ""first""', ""it's"", 'a, b', 'D']",D, D,C
How many?,"['1', '2', '4', '8']",B, C,
"""


def test_accuracies_of_a_predictions_file(tmp_path: Path) -> None:
    (tmp_path / "key.csv").write_text(KEY, encoding="utf-8")
    (tmp_path / "given.csv").write_text(GIVEN, encoding="utf-8")
    keyed, no_rejects = load_items(tmp_path / "key.csv")
    asked, none_either = load_items(tmp_path / "given.csv")
    assert no_rejects == none_either == []
    answers = {(item.question, item.choices): item.answer for item in keyed}
    assert [answers[item.question, item.choices] for item in asked] == [0, 2, 3, 2]
    with (tmp_path / "given.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    correct = {
        name: [
            read_answer(row[name], item.choices).choice == answers[item.question, item.choices]
            for item, row in zip(asked, rows, strict=True)
        ]
        for name in ("model_a", "model_b", "model_c")
    }
    assert correct == {
        "model_a": [True, True, True, False],
        "model_b": [True, False, True, True],
        "model_c": [False, True, False, False],
    }
