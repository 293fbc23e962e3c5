"""``astromill corpus sources`` and ``astromill corpus ocr FILE.pdf``."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from core.stage import StageContext
from corpus.summary import Summary, summarize
from ray_jobs.show_sources import plot_sources
from tests.corpus.pdf import block, make_pdf
from tests.ray_jobs.test_cli import three_lines

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_sources_are_counted_and_drawn(
    cli: Cli, write_recipe: Callable[[Path], Path], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    done = cli("corpus", "sources", str(write_recipe(run_dir)))
    assert done.returncode == 0, done.stderr
    out = done.stdout
    for title in ("sources", "documents by year", "documents by category", "documents by licence"):
        assert title in out
    ctx = StageContext(run_dir, tmp_path, 0)
    summary = summarize(ctx, ["arxiv", "notes", "absent"])
    papers, notes, absent = summary.sources
    assert papers.documents + notes.documents == sum(n for _, _, n in summary.years)
    assert papers.documents == sum(n for source, _, n in summary.categories if source == "arxiv")
    assert notes.documents == sum(n for source, _, n in summary.licenses if source == "notes")
    assert absent.documents == 0
    assert "catalog: excluded_review" in papers.rejects
    assert f"{papers.documents:,}" in out
    plot = run_dir / "corpus" / "sources.png"
    assert str(plot) in out.replace("\n", "")
    with Image.open(plot) as image:
        assert image.width > 1000
    # Nothing is read a second time.
    again = cli("corpus", "sources", str(write_recipe(run_dir)), "--plot", str(tmp_path / "x.png"))
    assert "0 stages ran" in again.stderr
    assert (tmp_path / "x.png").read_bytes() == plot.read_bytes()


def test_a_corpus_of_nothing_can_be_drawn(tmp_path: Path) -> None:
    plot_sources(Summary([], [], [], []), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 0


def test_one_pdf_is_printed(here: Cli, tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "x.pdf", block(72, 740, "Stars form in cold clouds of gas and dust."))
    done = here("corpus", "ocr", str(pdf))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Stars form in cold clouds of gas and dust.\n"


@pytest.mark.parametrize("content", [b"%PDF-1.4", None])
def test_a_pdf_that_cannot_be_read_is_three_lines(
    here: Cli, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "x.pdf").write_bytes(content)
    done = here("corpus", "ocr", str(tmp_path / "x.pdf"))
    assert done.returncode == 1
    assert str(tmp_path / "x.pdf") in three_lines(done)["where"]


def test_nougat_without_a_model_says_which_to_name(here: Cli, tmp_path: Path) -> None:
    pdf = make_pdf(tmp_path / "x.pdf", block(72, 740, "Stars."))
    done = here("corpus", "ocr", str(pdf), "--backend", "nougat")
    assert done.returncode in (1, 2)
    assert "nougat" in three_lines(done)["do"]
