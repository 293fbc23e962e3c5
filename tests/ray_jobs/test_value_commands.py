"""Group ``value`` at the command line, on the paper's table and on one's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from core.errors import UsageError
from ray_jobs.value_commands import add_value_commands

app = typer.Typer()
app.callback()(lambda: None)
add_value_commands(app)


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["value", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_check() -> None:
    text = said("check")
    assert "20 claims; holds: 15, holds to rounding: 2, does not hold: 3" in text
    assert "Claude 4.5 Opus / AstroSage-Llama-3.1-70B: 74.1 times (67.8 to 81.0): holds" in text
    result = CliRunner().invoke(app, ["value", "check", "--strict"])
    assert result.exit_code == 1


def test_table(tmp_path: Path) -> None:
    out = tmp_path / "all.csv"
    text = said("table", "--top", "3", "--out", str(out))
    assert "Gemini 3.0 Flash *" in text
    assert "GPT-5.2" not in text
    assert "of 35 listed prices, 31 are the implied ones" in text
    assert len(list(csv.DictReader(out.open()))) == 123
    assert "GPT-5.2" in said("table", "--top", "3", "--sort", "score")
    with pytest.raises(UsageError, match="'name'"):
        said("table", "--sort", "name")


def test_own_table_without_prices(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("model;score\nBase;75,0\nA;80,5\n")
    text = said("table", "--table", str(path), "--baseline", "base")
    assert "80.5" in text
    figures = tmp_path / "figures"
    text = said("figure", "--table", str(path), "--baseline", "Base", "--out", str(figures))
    assert "figure3 needs costs" in text
    assert list(figures.iterdir()) == []
    with pytest.raises(UsageError, match="in dollars is not known"):
        said("archive", "A", "--table", str(path), "--baseline", "Base")


def test_archive() -> None:
    text = said("archive", "gemini 3.0 flash", "AstroSage-Llama-3.1-70B")
    assert "3,000,000,000 tokens" in text
    assert "5,269" in text
    assert "603" in text
    with pytest.raises(UsageError, match="not a number of tokens"):
        said("archive", "GPT-4", "--tokens", "-1")


def test_figure(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("model,score,value\nBase,75.0,0\nA,80.5,3.2\n")
    out = tmp_path / "figures"
    text = said("figure", "--table", str(table), "--baseline", "Base", "--out", str(out))
    assert "figure4 needs release dates" in text
    assert {path.name for path in out.iterdir()} == {f"figure3.{e}" for e in ("png", "svg", "html")}
