"""Prompts: what they hold, how their styles are drawn, and what a broken file says."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from core.errors import RecipeError
from core.recipe.qa import Qa
from synth.qa_prompt import (
    PROMPT_FILE,
    STYLES_FILE,
    Passage,
    QaPrompt,
    draw_styles,
    open_prompt,
    pairs_schema,
    read_styles,
)

PASSAGE = Passage("a:1", "Giants", 10, 40, "Jupiter is big.", ("Planets", "Gas"), "On planets.", 3)
STYLES = {f"s{n}": f"Style {n}." for n in range(12)}
GOOD = {"question": "Which planet is the largest?", "answer": "Jupiter."}


def section(**changes: object) -> Qa:
    return Qa.model_validate({"engine": {"kind": "rules"}, **changes})


@pytest.fixture(scope="module")
def prompt() -> QaPrompt:
    return open_prompt(PROMPT_FILE, STYLES_FILE)


def _text(prompt: QaPrompt, passage: Passage, seed: int = 5, **changes: object) -> str:
    (message,) = prompt.request(passage, section(**changes), seed).messages
    assert message["role"] == "user"
    return message["content"]


def test_the_prompt_holds_title_summary_section_passage_and_number(prompt: QaPrompt) -> None:
    text = _text(prompt, PASSAGE)
    for part in (
        "\nTitle: Giants\n",
        "\nSummary: On planets.\n",
        "\nSection: Planets > Gas\n",
        "\nPassage:\nJupiter is big.\n",
        "up to 3 question-answer pairs as JSON",
    ):
        assert part in text
    bare = _text(prompt, Passage("a:2", "", 0, 9, "Text.", pairs=1), styles_per_chunk=0)
    assert "Title: (not known)\n" in bare
    assert "Summary" not in bare
    assert "Section" not in bare
    assert bare.rstrip().endswith("Write up to 1 question-answer pair as JSON.")


def test_what_all_share_comes_first_then_what_a_document_shares(prompt: QaPrompt) -> None:
    other = Passage("b:1", "Stars", 0, 9, "Sirius.", ("Stars",), "On stars.", 8)
    one, two = _text(prompt, PASSAGE), _text(prompt, other)
    common = one[: one.index("Giants")]
    assert two.startswith(common)
    assert len(common) > 1000
    assert one.index("On planets.") < one.index("Planets > Gas") < one.index("Jupiter is big.")
    assert one.index("Jupiter is big.") < one.index("prefer questions of these kinds")


def test_texts_are_not_templates(prompt: QaPrompt) -> None:
    passage = Passage("a:1", "T & {{ title }}", 0, 9, "x < y & {{ passage }} {% raw %}", pairs=2)
    text = _text(prompt, passage)
    assert passage.title in text
    assert passage.text in text


def test_the_request_of_a_passage_is_always_the_same(prompt: QaPrompt) -> None:
    request = prompt.request(PASSAGE, section(), 5)
    assert request == open_prompt(PROMPT_FILE, STYLES_FILE).request(PASSAGE, section(), 5)
    assert (request.seed, request.task) == (5, "qa")
    assert request.inputs == {"title": "Giants", "passage": "Jupiter is big.", "pairs": "3"}
    assert request.schema == pairs_schema(3, 500, 2000)


def test_another_language_is_asked_for(prompt: QaPrompt) -> None:
    assert "ISO 639" not in _text(prompt, PASSAGE)
    assert "ISO 639" not in _text(prompt, PASSAGE, language=None)
    assert 'ISO 639 code "de"' in _text(prompt, PASSAGE, language="de")


# --- Styles


def test_styles_depend_on_seed_document_and_place_alone() -> None:
    def drawn(doc_id: str, start: int, seed: int) -> list[str]:
        return draw_styles(STYLES, 3, Passage(doc_id, "", start, 0, ""), seed)

    assert drawn("a", 0, 1) == drawn("a", 0, 1)
    assert draw_styles(dict(reversed(STYLES.items())), 3, PASSAGE, 1) == draw_styles(
        STYLES, 3, PASSAGE, 1
    )
    draws = [drawn("a", 0, 1), drawn("b", 0, 1), drawn("a", 1, 1), drawn("a", 0, 2)]
    assert len({tuple(draw) for draw in draws}) == 4
    # All styles come up, about equally often.
    many = [line for n in range(400) for line in drawn("a", n, 1)]
    counts = [many.count(line) for line in STYLES.values()]
    assert min(counts) > 70
    assert max(counts) < 130


def test_no_more_styles_than_there_are() -> None:
    assert sorted(draw_styles(STYLES, 50, PASSAGE, 1)) == sorted(STYLES.values())
    assert draw_styles(STYLES, 0, PASSAGE, 1) == []


def test_our_styles_are_many_and_different() -> None:
    styles = read_styles(STYLES_FILE)
    assert len(styles) >= 12
    assert len(set(styles.values())) == len(styles)


# --- Files of the user's own


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text(
        "{{ pairs }}: {{ passage }}{% for s in styles %}|{{ s }}{% endfor %}"
    )
    (tmp_path / "s.yaml").write_text("one: First.\n")
    own = open_prompt(tmp_path / "p.md", tmp_path / "s.yaml")
    assert _text(own, PASSAGE) == "3: Jupiter is big.|First."


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ passage", "unexpected end of template"),
        ("Line\n{% if %}", "line 2"),
        ("{{ chapter }}", "'chapter' is undefined"),
        ("{{ passage.__class__.__mro__ }}", "unsafe"),
        ("Ask about this: {passage}", "never shows the passage"),
        ("{{ passage }}{{ title / 2 }}", "unsupported operand"),
    ],
)
def test_a_broken_prompt_says_where(tmp_path: Path, template: str, told: str) -> None:
    (tmp_path / "p.md").write_text(template)
    with pytest.raises(RecipeError) as caught:
        open_prompt(tmp_path / "p.md", STYLES_FILE)
    assert told in f"{caught.value.what} {caught.value.where}"
    assert "p.md" in caught.value.where
    assert "passage" in caught.value.remedy


@pytest.mark.parametrize("styles", ["", "- a\n", "a: 1\n", "a: ''\n", "a: [", "1: b\n", "\xff"])
def test_broken_styles_say_where(tmp_path: Path, styles: str) -> None:
    (tmp_path / "s.yaml").write_bytes(styles.encode("latin-1"))
    with pytest.raises(RecipeError) as caught:
        open_prompt(PROMPT_FILE, tmp_path / "s.yaml")
    assert "s.yaml" in caught.value.where


def test_a_missing_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.md"):
        open_prompt(tmp_path / "none.md", STYLES_FILE)


# --- The schema


def test_the_schema_accepts_pairs_and_nothing_else() -> None:
    schema = pairs_schema(2, 50, 100)
    jsonschema.Draft202012Validator.check_schema(schema)
    accepts = jsonschema.Draft202012Validator(schema).is_valid
    assert accepts({"pairs": []})
    assert accepts({"pairs": [GOOD, GOOD]})
    assert not accepts({"pairs": [GOOD] * 3})
    assert not accepts({"pairs": [{"question": "", "answer": "x"}]})
    assert not accepts({"pairs": [{"question": "x" * 51, "answer": "x"}]})
    assert not accepts({"pairs": [{"question": "x"}]})
    assert not accepts({"pairs": [{**GOOD, "more": 1}]})
    assert not accepts([])
