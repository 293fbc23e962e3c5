"""The page's colours: enough contrast in both schemes (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import eval.report.page
from eval.report.plots.base import SERIES

CSS = (Path(eval.report.page.__file__).parent / "templates" / "report.css").read_text("utf-8")
PALETTE = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS
    )
}
TEXT = 4.5
GRAPHIC = 3.0


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_on_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        *((text, back, TEXT) for text in ("ink", "muted", "accent") for back in ("bg", "panel")),
        *(("alarm", back, TEXT) for back in ("bg", "panel", "bad-bg")),
        *(("good", back, TEXT) for back in ("bg", "panel", "good-bg")),
        *(("ink", back, TEXT) for back in ("good-bg", "bad-bg")),
        *((f"s{i}", "bg", GRAPHIC) for i in range(1, len(SERIES) + 1)),
        *((f"s{i}", "panel", GRAPHIC) for i in range(1, len(SERIES) + 1)),
        ("line", "bg", GRAPHIC),
    ],
)
def test_contrast(front: str, back: str, least: float, scheme: int) -> None:
    found = contrast(PALETTE[front][scheme], PALETTE[back][scheme])
    assert found >= least, f"{front} on {back}: {found:.2f}"


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_of_models_differ(scheme: int) -> None:
    shades = [PALETTE[f"s{i}"][scheme] for i in range(1, len(SERIES) + 1)]
    for place, one in enumerate(shades):
        for other in shades[place + 1 :]:
            parts = [int(one[i : i + 2], 16) - int(other[i : i + 2], 16) for i in (1, 3, 5)]
            assert sum(part * part for part in parts) ** 0.5 > 45, f"{one} and {other}"


def test_every_variable_is_defined() -> None:
    used = set(re.findall(r"var\(--([\w-]+)", CSS))
    assert used <= set(PALETTE) | {"mono", "mine"}
