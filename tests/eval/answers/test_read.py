"""Reading answers: every rule, every trap."""

from __future__ import annotations

import json
import time

import pytest

from eval.answers import read_answer

PLANETS = ("Mercury", "Venus", "Mars", "Mars and Venus")
LONG = (
    "Because the atmosphere scatters short wavelengths.",
    "Because the sea reflects the sky.",
    "The air is blue.",
    "All of the above",
)
SPECTRAL = ("A star", "B star", "K dwarf", "None of these")

READ = [
    # json: whole, fenced, cut off, single quotes, text after it
    ('{"answer": "B"}', "B", "json"),
    (
        '```json\n{"reasoning": "It is hot.", "ideal_choice": "C"}\n```\nI hope this helps.',
        "C",
        "json",
    ),
    ('{"explanation": "Of the two, (A) is wrong", "answer": "B", "confid', "B", "json"),
    ("{'answer': 'B'}", "B", "json"),
    ('{"answer": B}', "B", "json"),
    ('{"final_answer": ["D"]}', "D", "json"),
    ('{"answer": {"letter": "D"}}', "D", "json"),
    ('{"Choice": "b"}', "B", "json"),
    ('{"option": "Option C"}', "C", "json"),
    ('{"answer": "C) Mars"}', "C", "json"),
    ('{"answer": "Venus"}', "B", "json"),
    ('{"answer": "A|B|C|D"} becomes {"answer": "D"}', "D", "json"),
    (json.dumps({"answer": "B", "why": 'not {"answer": "C"} at all'}), "B", "json"),
    # boxed
    (r"So the result is $\boxed{B}$.", "B", "boxed"),
    (r"First \boxed{A}, on reflection \boxed{\text{(C)}}", "C", "boxed"),
    (r"\boxed{\textbf{D. Mars and Venus}}", "D", "boxed"),
    (r"The answer is \boxed{Venus}", "B", "boxed"),
    # statements; the last one counts
    ("The answer is (B).", "B", "statement"),
    ("The answer is B", "B", "statement"),
    ("the correct answer is: **C**", "C", "statement"),
    ("The correct option is C because it is red.", "C", "statement"),
    ("**Answer: B**", "B", "statement"),
    ("Answer: B. Venus", "B", "statement"),
    ("ANSWER: $C$", "C", "statement"),
    ("### Final Answer\nThe final answer is:\n\n**D) Mars and Venus**", "D", "statement"),
    ("The answer is A. No, wait, the answer is B.", "B", "statement"),
    ("It looks like A at first ... no, B.", "B", "statement"),
    ("I would choose option C, as it is red.", "C", "statement"),
    ("The best choice is therefore (d).", "D", "statement"),
    ("The answer to this question is B.", "B", "statement"),
    ("The answer is not A. The answer is B.", "B", "statement"),
    ("If the answer is A, then it has no air. So it is B.", "B", "statement"),
    ("Answer: B Venus", "B", "statement"),
    ("The answer is B because the others are not hot.", "B", "statement"),
    ("Therefore, option D, which names two, is also incorrect. The answer is C.", "C", "statement"),
    ("B\n\nQuestion: What is red?\nAnswer: C", "B", "letter"),
    ("The answer is B.\n\nHuman: And why not C?\nThe answer is C.", "B", "statement"),
    ("B\nWhich is the largest?\nA. Io\nB. Europa\nC. Titan\nAnswer: C", "B", "letter"),
    ("<answer>\nB\n</answer>", "B", "tag"),
    ("Final answer: b)", "B", "statement"),
    ("Answer: a", "A", "statement"),
    ("Hence, C.", "C", "statement"),
    ("Select option B.", "B", "statement"),
    ("It's B.", "B", "statement"),
    ("The hottest one is Venus, which matches choice B.", "B", "judgement"),
    # bold, lines, lone letters
    ("All in all **B**.", "B", "bold"),
    ("After all this: **(C) Mars**", "C", "bold"),
    ("B) Venus, the hottest of all", "B", "line"),
    ("B. Venus", "B", "line"),
    ("B: the hottest of all", "B", "line"),
    ("Option B\nIt is the hottest.", "B", "line"),
    ("C. The planet is red.", "C", "line"),
    ("(C)\n", "C", "letter"),
    (" B", "B", "letter"),
    ("b.", "B", "letter"),
    ("<|start_header_id|>\n\nD<|eot_id|>", "D", "letter"),
    ("B is correct, the others are not.", "B", "judgement"),
    # words
    ("Venus.", "B", "text"),
    ("Answer: Venus", "B", "text"),
    ("Mars and Venus", "D", "text"),
    ("I am sure that Venus has the hottest surface.", "B", "contained"),
    ("Both of them: Mars and Venus are meant.", "D", "contained"),
]


@pytest.mark.parametrize(("text", "letter", "rule"), READ)
def test_answers_are_read(text: str, letter: str, rule: str) -> None:
    found = read_answer(text, PLANETS)
    assert (found.choice, found.read_by) == ("ABCD".index(letter), rule), found.detail


UNREAD = [
    # a letter that is a word or a name
    "A star is born from gas.",
    "I think so.",
    "Vitamin B",
    "The answer is a planet.",
    "The answer is a",
    "It is A star.",
    "Hence, A star is hot.",
    "The answer is A star of the main sequence.",
    "Answer: A planet with air",
    "The answer is B-type stars.",
    "The answer is U.S. property.",
    "A. Einstein proposed this in 1915.",
    "To",
    "A planet such as this is rare.",
    "Planet B orbits star A.",
    "So, a dwarf planet.",
    "There is no B.",
    "Star C is correct about nothing.",
    # doubt, questions, other people's answers
    "I do not think the answer is A.",
    "The answer is not A.",
    "If the answer is A, we would see a ring.",
    "The wrong answer is B.",
    "Is the answer B?",
    "Therefore, option D, which names two, is also incorrect.",
    "It is not Venus.",
    "Mercury is too small, Venus is too hot.",
    # left open
    "The answer is A or B.",
    "The answer is A, B and C.",
    "A or B",
    "AB",
    "Both **A** and **B** are possible.",
    "A) Mercury\nB) Venus\nC) Mars\nD) Mars and Venus",
    "The correct answer is:\nA) Mercury\nB) Venus\nC) Mars\nD) Mars and Venus",
    "A is correct. B is correct, too.",
    "**A**: too small. **B**: too hot. **C**: red.",
    '{"answer": "A or B"}',
    '{"answer": "<letter>"}',
    '{"answer": 2}',
    '{"answer": null}',
    r"\boxed{42}",
    # a letter with another choice's words
    "The answer is A. Venus",
    "Answer with A, B, C or D.",
    "",
    "   \n ",
    "...",
]


@pytest.mark.parametrize("text", UNREAD)
def test_nothing_is_read_into_a_text(text: str) -> None:
    found = read_answer(text, PLANETS)
    assert found.choice is None, found
    assert found.read_by in {"empty", "several", "conflict", "unread"}


@pytest.mark.parametrize(
    "text", ["E", "The answer is E.", '{"answer": "Z"}', r"\boxed{E}", "**F**"]
)
def test_letters_beyond_the_choices_are_none(text: str) -> None:
    found = read_answer(text, PLANETS)
    assert (found.choice, found.read_by) == (None, "out_of_range")
    assert read_answer("E", (*PLANETS, "Pluto")).choice == 4


def test_thoughts_do_not_count() -> None:
    thought = '<think>The answer is A. Or is it {"answer": "C"}?</think>'
    assert read_answer(f"{thought}\n\nB", PLANETS, reasoning=True).choice == 1
    # The prompt opened the thoughts, so the text has only their end.
    assert read_answer("The answer is A, no.</think>**D**", PLANETS, reasoning=True).choice == 3
    assert read_answer(f"{thought}The answer is D.", PLANETS).choice == 3
    for text, reasoning in (("The answer is A.", True), ("<think>The answer is A.", False)):
        found = read_answer(text, PLANETS, reasoning=reasoning)
        assert (found.choice, found.read_by) == (None, "truncated")
    again = read_answer("<think>x</think>A<think>The answer is B", PLANETS, reasoning=True)
    assert (again.choice, again.read_by) == (None, "truncated")
    assert read_answer("so</think>  ", PLANETS, reasoning=True).read_by == "empty"


def test_long_choices_are_read_by_their_words() -> None:
    assert read_answer("Because the sea reflects the sky", LONG).choice == 1
    assert read_answer("A. Because the atmosphere scatters short wavelengths.", LONG).choice == 0
    assert read_answer("It is this: the air is blue, I am sure.", LONG).choice == 2
    assert read_answer("The answer is B. Because the sea reflects the sky.", LONG).choice == 1
    far = "Words. " * 200 + "The air is blue."
    assert read_answer(far, LONG).choice is None


def test_choices_that_look_like_letters() -> None:
    assert read_answer("K dwarf", SPECTRAL).choice == 2
    assert read_answer("Answer: A star", SPECTRAL).choice == 0
    assert read_answer("Answer: B. A star", SPECTRAL).read_by == "conflict"
    assert read_answer("B", ("O", "B", "A", "M")).choice == 1
    assert read_answer("So the answer is d.", ("p", "b", "d", "q")).read_by == "conflict"


@pytest.mark.parametrize(
    "piece",
    ["{", "*", "\\boxed{", '{"answer": "', "answer is ", " ", "A ", "A\n", "<think>", "Venus ",
     "B is correct ", '"answer": "\\', "Answer: A, B ", "**A** "],
)  # fmt: skip
def test_hostile_text_takes_time_in_proportion(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    start = time.process_time()
    read_answer(text, PLANETS)
    # A tenth of a second or so; anything quadratic takes minutes.
    assert time.process_time() - start < 5
