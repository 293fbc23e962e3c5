"""The reference pages are those that the code gives, and say what they should."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

from core.recipe import Recipe
from ray_jobs.cli import app
from ray_jobs.reference import pages
from tests.docs.markdown import ROOT

FRESH = pages()


@pytest.mark.parametrize("name", FRESH)
def test_the_page_is_up_to_date(name: str) -> None:
    """Write them anew with ``python -m ray_jobs.reference``."""
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == FRESH[name]


def test_every_key_is_there() -> None:
    schema = Recipe.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = {key for section in sections for key in section.get("properties", {})}
    assert len(keys) > 250
    for key in keys:
        assert f"| `{key}` |" in FRESH["recipe.md"], key


def test_a_section_tells_types_limits_and_defaults() -> None:
    page = FRESH["recipe.md"]
    for row in (
        "| `drop_quantile` | number, at least 0, below 1; default `0.02` | Share of paragraphs cut",
        "| `sources` | list of [section `corpus.sources[] (kind: arxiv)`]",
        "| `dedup` | [section `corpus.dedup`](#corpusdedup), or `null` |",
        "| `run_dir` | text; **required** | Folder of everything this recipe makes. |",
    ):
        assert row in page, row
    assert "At `train.scorer`, `train.cpt`, `train.sft`" in page
    assert "``" not in page.replace("```", "")


def test_every_command_is_there() -> None:
    page = FRESH["commands.md"]

    def look(command: object, name: str) -> int:
        below = getattr(command, "commands", {})
        for short, one in below.items():
            assert f"`{name} {short}`" in page or one.hidden, f"{name} {short}"
        return 1 + sum(look(one, f"{name} {short}") for short, one in below.items())

    assert look(get_command(app), "astromill") > 80
    assert "\x1b" not in page
    assert not set("╭│─") & set(page)


def test_they_do_not_depend_on_terminal_or_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    assert pages() == FRESH
    for text in FRESH.values():
        assert str(ROOT) not in text
        assert str(Path.home()) not in text
