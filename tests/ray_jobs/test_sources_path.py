"""One recipe with every kind of source, through the real runner: nothing lost, same bytes."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from PIL import Image
from rich.console import Console

from core.progress import Reporter
from core.recipe import load_recipe
from core.runner import run_pipeline
from core.shards import shard_paths
from ray_jobs.pipeline import build_pipeline
from tests.corpus.pdf import block, make_pdf
from tests.corpus.wiki import Wiki, write_multistream
from tests.ray_jobs.conftest import data_bytes

BODY = ["Stars form in cold clouds of gas and dust", "that fall in under their own weight."]
PAPERS = {"0704.0001": "astro-ph.GA", "0704.0002": "gr-qc hep-th", "0704.0003": "math.CO"}


def _arxiv(folder: Path) -> dict[str, Any]:
    records = [{"id": i, "title": f"Paper {i}", "categories": c} for i, c in PAPERS.items()]
    records.append({"id": "0704.0004", "categories": "astro-ph", "doi": "10.1146/annurev-astro-1"})
    (folder / "meta.json.gz").write_bytes(gzip.compress(json.dumps(records, indent=1).encode()))
    make_pdf(folder / "pdf/0704/0704.0001v2.pdf", block(72, 740, *BODY))
    make_pdf(folder / "pdf/0704.0002.pdf", block(72, 740, *BODY))
    (folder / "src").mkdir()
    (folder / "src" / "0704.0001.tex").write_text(
        "\\documentclass{article}\\begin{document}\\section{Intro} The mass is $M_\\odot$."
        "\\end{document}"
    )
    return {"kind": "arxiv", "metadata": "meta.json.gz", "pdfs": "pdf", "latex": "src"}


def _wikipedia(folder: Path) -> dict[str, Any]:
    wiki = Wiki()
    wiki.category("Astronomy")
    wiki.category("Stars", "Astronomy")
    wiki.add("Sirius", "Stars", text="'''Sirius''' is [[star]] {{val|8.6|u=ly}} away.<ref>x</ref>")
    wiki.add("Dog Star", "Stars", redirect="Sirius")
    wiki.add("Elsewhere", "Other")
    dump, _, _ = write_multistream(folder, wiki.pages)
    tables = wiki.write_tables(folder, "new")
    return {"kind": "wikipedia", "dump": dump.name, "roots": ["Astronomy"], **tables}


def _files(folder: Path) -> list[dict[str, Any]]:
    (folder / "book.md").write_text("# One\n\nFirst chapter.\n\n# Two\n\nSecond chapter.\n")
    (folder / "old.txt").write_bytes(
        "Le caf\xe9 des étoiles est à l'Observatoire.".encode("cp1252")
    )
    (folder / "page.html").write_text(
        "<html><body><h1>Comets</h1><p>They are icy.</p></body></html>"
    )
    (folder / "paper.mmd").write_text(
        "## Abstract\n\nWe read it by eye.\n\n[MISSING_PAGE_FAIL:2]\n"
    )
    (folder / "star.wikitext").write_text("A '''star''' shines.")
    (folder / "scan").mkdir()
    Image.new("L", (60, 80), 255).save(folder / "scan" / "p1.png")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4")
    return [
        {"kind": "books", "name": "book", "paths": ["book.md"], "title": "Two chapters"},
        {"kind": "text", "name": "text", "paths": ["old.txt"]},
        {"kind": "html", "name": "html", "paths": ["page.html"]},
        {"kind": "nougat", "name": "nougat", "paths": ["paper.mmd"]},
        {"kind": "wikitext", "name": "wikitext", "paths": ["star.wikitext"]},
        {"kind": "images", "name": "scan", "paths": ["scan"]},
        {"kind": "pdf", "name": "pdf", "paths": ["broken.pdf"]},
    ]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "pdf" / "0704").mkdir(parents=True)
    corpus = {
        "sources": [_arxiv(tmp_path), _wikipedia(tmp_path), *_files(tmp_path)],
        "documents_per_shard": 3,
        "perplexity": None,
        "normalize": {"min_chars": 5},
    }
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump({"name": "all", "run_dir": "run", "corpus": corpus}))
    return path


def _run(recipe: Path, run_dir: Path, workers: int) -> None:
    pipeline = build_pipeline(load_recipe(recipe, [f"run_dir={run_dir}"]))
    run_pipeline(pipeline, pipeline.select(), Reporter(Console(quiet=True)), workers=workers)


@pytest.mark.usefixtures("ray_session")
def test_every_kind_of_source_in_one_recipe(recipe: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "one"
    _run(recipe, run_dir, workers=2)
    documents = pl.read_parquet(shard_paths(run_dir / "corpus/normalize"))
    assert dict(documents.group_by("source").len().iter_rows()) == {
        "arxiv": 2,
        "wikipedia": 1,
        "book": 2,
        "text": 1,
        "html": 1,
        "nougat": 1,
        "wikitext": 1,
    }
    text = dict(documents.select("doc_id", "text").iter_rows())
    assert "$M_\\odot$" in text["arxiv:0704.0001"]
    assert text["arxiv:0704.0002"] == " ".join(BODY)
    sirius = next(t for i, t in text.items() if i.startswith("wikipedia:en:"))
    assert "8.6 ly away." in sirius.replace("\N{NO-BREAK SPACE}", " ")
    assert any("café des étoiles" in t for t in text.values())
    rejects = pl.read_parquet(sorted(run_dir.glob("corpus/*/rejects/*.parquet")))
    assert Counter(rejects["reason"]) == {
        "excluded_category": 1,
        "excluded_review": 1,
        "pdf_corrupt": 1,
        "pdf_no_text": 1,
        "redirect": 1,
    }
    other = tmp_path / "two"
    _run(recipe, other, workers=1)
    assert data_bytes(other) == data_bytes(run_dir)
