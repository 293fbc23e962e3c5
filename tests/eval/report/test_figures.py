"""Figures of other stages: shown as images, or said why not."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from eval.report.figures import MAX_BYTES, read_figure

HEAD = b'<svg xmlns="http://www.w3.org/2000/svg" '
ENTITY = (
    b'<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + HEAD + b'width="9" height="9"/>'
)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (HEAD + b'width="640" height="480"/>', (640, 480)),
        (HEAD + b'width="460.8pt" height="72pt" viewBox="0 0 1 1"/>', (614, 96)),
        (HEAD + b'viewBox="0 0 300.4 200"/>', (300, 200)),
        (HEAD + b'width="100%" viewBox="0 0 30 20"/>', (30, 20)),
    ],
)
def test_size_is_known_before_it_is_drawn(
    tmp_path: Path, content: bytes, size: tuple[int, int]
) -> None:
    path = tmp_path / "some-figure.svg"
    path.write_bytes(content)
    figure = read_figure("eval.value", path)
    assert (figure.width, figure.height) == size
    assert base64.b64decode(figure.uri.removeprefix("data:image/svg+xml;base64,")) == content
    assert figure.title == "Some figure"
    assert not figure.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html></html>", "the root element is 'html', not svg"),
        (b"<svg width='9' height='9'/>", "the root element is 'svg', not svg"),
        (HEAD + b"/>", "it states no size"),
        (HEAD + b'viewBox="0 0 9e9 9"/>', "it states no size"),
        (ENTITY, "it defines entities"),
        (b"", "Document is empty"),
        (b"\x89PNG", "Start tag expected"),
        (HEAD + b'width="9" height="9">' + b" " * MAX_BYTES + b"</svg>", "bytes"),
    ],
)
def test_what_is_no_drawing_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "x.svg"
    path.write_bytes(content)
    figure = read_figure("eval.value", path)
    assert figure.uri == ""
    assert problem in figure.problem


def test_absent_file_does_not_show_its_place(tmp_path: Path) -> None:
    figure = read_figure("eval.value", tmp_path / "x.svg")
    assert figure.problem == "the file cannot be read"


def test_a_figure_says_what_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    path.write_bytes(HEAD + b'width="9" height="9"><title>Bars of\n three models</title></svg>')
    assert read_figure("eval.value", path).alt == "Bars of three models"
    path.write_bytes(HEAD + b'width="9" height="9"/>')
    assert read_figure("eval.value", path).alt == "X"


def test_figures_with_colours_for_dark_pages(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    path.write_bytes(
        HEAD + b'width="9" height="9"><style>@media (prefers-color-scheme: dark) {}</style></svg>'
    )
    assert read_figure("eval.value", path).adaptive
