"""The figures: what is drawn where, names without overlaps, same bytes each time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from eval.value.draw import COST, KINDS, Kind, page_svgs, save_figure
from eval.value.equation import Rounded
from eval.value.labels import Box, Label, place_labels
from eval.value.read import Scored, parse_release
from eval.value.style import (
    DARK_FAMILIES,
    LIGHT,
    LIGHT_FAMILIES,
    PAGE,
    family_places,
    marker,
    notable,
    page_variables,
)
from eval.value.table import Own, ValueTable, build_table


@pytest.fixture(scope="module")
def small() -> ValueTable:
    rows = [
        Scored("Base", "OpenAI", "proprietary", Rounded(75.0), Rounded(0.0)),
        Scored("Old & <b>", "Meta", "open", Rounded(60.0), Rounded(-1.0)),
        Scored("New $x$", "Unheard of", "open", Rounded(80.0), Rounded(3.0)),
        Scored("AstroSage-Llama-3.1-8B", "AstroSage", "open", Rounded(82.0), Rounded(4.0)),
        Scored("Unpriced", "Meta", "open", Rounded(70.0)),
    ]
    dates = {
        "base": parse_release("2023-03-14"),
        "old&<b>": parse_release("2023-07"),
        "new$x$": parse_release("2024-06-01"),
        "unpriced": parse_release("2024-07-01"),
    }
    own = [Own("merged", 31, 40, cost_as="New $x$", released=parse_release("2026-11"))]
    return build_table(rows, "Base", {"base": 4.5}, dates, own)


@pytest.fixture
def axes() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4), dpi=100)
    FigureCanvasAgg(figure)
    found = figure.subplots()
    found.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    return found


def boxes(axes: Any) -> list[Box]:
    renderer = axes.figure.canvas.get_renderer()
    extents = [text.get_window_extent(renderer) for text in axes.texts]
    return [Box(e.x0, e.y0, e.x1, e.y1) for e in extents]


def test_names_do_not_overlap(axes: Any) -> None:
    labels = [Label(0.1 + 0.1 * i, 0.5, f"a name {i}", "black") for i in range(8)]
    points = [(label.x, label.y, 3.0) for label in labels]
    left_out = place_labels(axes, labels, points)
    found = boxes(axes)
    assert len(found) + len(left_out) == 8
    assert len(found) >= 6
    assert all(a.overlap(b) == 0 for i, a in enumerate(found) for b in found[i + 1 :])


def test_a_name_without_a_place_is_left_out_and_said(axes: Any) -> None:
    labels = [Label(0.5, 0.5, "far too long a name for such a small drawing " * 3, "black")]
    assert place_labels(axes, labels, [(0.5, 0.5, 3.0)]) == [labels[0].text]
    assert not axes.texts


def test_names_keep_off_texts(axes: Any) -> None:
    # A text as large as the axes takes every place.
    wall = axes.text(0, 0, "X", fontsize=400)
    assert place_labels(axes, [Label(0.3, 0.3, "A", "black")], [], [wall]) == ["A"]


def test_shapes(small: ValueTable) -> None:
    shapes = {entry.name: marker(entry)[0] for entry in small.entries}
    assert shapes == {
        "Base": "o",
        "Old & <b>": "^",
        "New $x$": "^",
        "AstroSage-Llama-3.1-8B": "*",
        "Unpriced": "^",
        "merged": "D",
    }


def test_families_have_colours_of_their_own() -> None:
    known = family_places(["Meta", "OpenAI", "AstroSage"])
    assert list(known) == ["AstroSage", "OpenAI", "Meta"]
    many = family_places([f"family {i}" for i in range(40)])
    assert len(many) == 40
    assert len({many[f"family {i}"] for i in range(2)}) == 2
    assert family_places(["Zed", "Meta"])["Meta"] == known["Meta"]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("colours", "paper"), [(LIGHT_FAMILIES, "#ffffff"), (DARK_FAMILIES, "#1b2026")]
)
def test_colours_are_seen(colours: tuple[str, ...], paper: str) -> None:
    ground = luminance(paper)
    for colour in colours:
        light, dark = max(luminance(colour), ground), min(luminance(colour), ground)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour
    assert len(set(colours)) == len(PAGE.families) == len(LIGHT.families)


def test_the_notable_are_named(paper: ValueTable) -> None:
    names = [entry.name for entry in notable(paper.entries, "GPT-4", 20)]
    assert len(names) == 20
    assert {"AstroSage-Llama-3.1-70B", "AstroSage-Llama-3.1-8B", "GPT-4"} <= set(names[:3])
    assert "Gemini 3.0 Flash" in names


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
def test_drawings_for_a_page(small: ValueTable, kind: Kind) -> None:
    (wide, svg), (narrow, other) = page_svgs(kind, small)
    assert (wide, narrow) == ("wide", "narrow")
    marks = re.findall(r'data-model="(\d+)"', svg)
    # Over cost, models with a cost; over time, those with a date, in each panel with a number.
    assert sorted(marks) == (list("01235") if kind is COST else sorted("0012245" + "15"))
    assert "$x$" in svg
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert not any(colour in svg for colour in page_variables())
    assert "var(--ink)" in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert not set(ids) & set(re.findall(r'\bid="([^"]+)"', other))
    assert all(found in ids for found in re.findall(r'href="#([^"]+)"', svg))
    assert "http://" not in re.sub(r'xmlns[^"]*"[^"]*"', "", svg)


def test_files_are_the_same_each_time(small: ValueTable, tmp_path: Path) -> None:
    for ending, magic in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
        save_figure(COST, small, first)
        save_figure(COST, small, second)
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes().startswith(magic)


def test_the_cost_figure_of_table_1(paper: ValueTable, tmp_path: Path) -> None:
    save_figure(COST, paper, tmp_path / "figure3.svg")
    svg = (tmp_path / "figure3.svg").read_text("utf-8")
    assert svg.count('id="model-') == 123
    for text in ("AstroSage-70B", "AstroSage-8B", "Gemini 3.0 Flash", "astronomers, 67–68%"):
        assert text in svg
    assert "3,846 questions" in svg
    assert "−1.3 +1.2" in svg  # the interval at 80% of 3,846
    assert [f">{text}<" in svg for text in ("value 0", "+5", "−6")] == [True] * 3
    assert "cost of 3 billion tokens" in svg
    assert ">$10,000<" in svg


def test_without_a_price_of_the_baseline_costs_are_relative(tmp_path: Path) -> None:
    rows = [
        Scored("Base", "A", "open", Rounded(75.0), Rounded(0.0)),
        Scored("New", "A", "open", Rounded(80.0), Rounded(3.0)),
    ]
    save_figure(COST, build_table(rows, "Base"), tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text("utf-8")
    assert "cost relative to Base" in svg
    assert "astro-ph" not in svg
