"""The line against a sort, alone and per source; what the preview says about it."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from rich.console import Console

from core.errors import InputError
from core.recipe.corpus import Perplexity
from core.schema import PARAGRAPH_SCORE
from core.shards import shard_name, write_shard
from core.stage import StageContext
from corpus.documents import Document, documents_table
from corpus.quantiles import ScoredCorpus, exact_thresholds
from corpus.threshold import ThresholdStage, read_thresholds
from corpus.threshold_preview import SAMPLE_CHARS, preview_table

Floats = npt.NDArray[np.float64]
Paragraphs = list[tuple[str, float | None, int]]
"""Source, perplexity and tokens of each paragraph."""


def put(context: StageContext, paragraphs: Paragraphs, per_shard: int = 50) -> ScoredCorpus:
    """Writes documents of one paragraph each, and their scores, as shards."""
    for shard in range(max(1, -(-len(paragraphs) // per_shard))):
        documents, rows = [], []
        part = paragraphs[shard * per_shard : (shard + 1) * per_shard]
        for number, (source, perplexity, tokens) in enumerate(part):
            doc_id = f"{source}:{shard}-{number}"
            text = f"<b>paragraph</b> {shard}-{number}"
            documents.append(Document(doc_id, source, title="A & B", text=text))
            rows.append(
                {"doc_id": doc_id, "paragraph": 0, "start_char": 0, "end_char": len(text)}
                | {"tokens": tokens, "perplexity": perplexity}
            )
        name = shard_name(shard)
        write_shard(context.folder("corpus.normalize") / name, documents_table(documents))
        scores = pa.Table.from_pylist(rows, schema=PARAGRAPH_SCORE)
        write_shard(context.folder("corpus.scores") / name, scores)
    return ScoredCorpus(context.folder("corpus.scores"), context.folder("corpus.normalize"))


def by_sorting(values: Floats, quantile: float) -> float:
    dropped = math.floor(quantile * len(values))
    return float(np.sort(values)[len(values) - dropped - 1])


@pytest.mark.parametrize("seed", range(8))
def test_the_threshold_equals_one_found_by_sorting(context: StageContext, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 400))
    values: Floats = [
        np.exp(rng.normal(3, 1, size).clip(0)),
        np.exp(rng.normal(3, 1, size).clip(0)).round(),  # ties
        rng.choice([1.0, 2.0, 1e9, 1e300, math.exp(709.0)], size),  # huge
        1 + rng.random(size) * 1e-9,  # all in one bin
    ][seed % 4]
    sources = rng.choice(["papers", "wiki"], size)
    corpus = put(context, [(str(s), float(v), 9) for s, v in zip(sources, values, strict=True)])
    quantiles = [0.0, 0.02, 0.05, 0.5, 0.999]
    found = exact_thresholds(corpus, quantiles)
    for column, quantile in enumerate(quantiles):
        assert found[-1, column] == by_sorting(values, quantile)
        assert (values > found[-1, column]).sum() <= math.floor(quantile * size)
        for row, source in enumerate(corpus.sources):
            own = values[sources == source]
            assert found[row, column] == by_sorting(own, quantile)


def test_by_tokens_no_more_than_the_share_of_tokens_is_cut(context: StageContext) -> None:
    rng = np.random.default_rng(3)
    values = np.exp(rng.normal(3, 1, 300)).round(1).clip(1)
    tokens = rng.integers(8, 400, 300)
    corpus = put(context, [("a", float(v), int(t)) for v, t in zip(values, tokens, strict=True)])
    for quantile in (0.0, 0.02, 0.3):
        ((threshold,), _) = exact_thresholds(corpus, [quantile], "tokens")
        budget = math.floor(quantile * tokens.sum())
        assert tokens[values > threshold].sum() <= budget
        # The next lower line would cut too many.
        lower = values[values < threshold].max()
        assert tokens[values > lower].sum() > budget


@pytest.mark.parametrize("per_source", [False, True])
def test_two_percent_of_the_paragraphs_lie_above(context: StageContext, per_source: bool) -> None:
    rng = np.random.default_rng(0)
    paragraphs: Paragraphs = [
        (source, float(value), 9)
        for source, shift in (("papers", 4.0), ("wiki", 2.0))
        for value in np.exp(rng.normal(shift, 1, 2000).clip(0))
    ]
    put(context, paragraphs, per_shard=1000)
    out = context.run_dir / "out"
    stage = ThresholdStage(Perplexity(), "corpus.scores", "corpus.normalize", per_source=per_source)
    result = stage.run(context, out)
    assert result.metrics["paragraphs_above"] == 80
    limits = read_thresholds(out)
    written = json.loads((out / "threshold.json").read_text())
    for source in ("papers", "wiki"):
        values = np.array([v for s, v, _ in paragraphs if s == source])
        own = by_sorting(values, 0.02)
        assert written["sources"][source]["threshold"] == own
        assert limits.of(source) == (own if per_source else written["threshold"])
        above = int((values > limits.of(source)).sum())
        assert written["sources"][source]["paragraphs_above"] == above
        assert not per_source or above == 40
    assert limits.of("another") == written["threshold"]


@pytest.mark.parametrize(
    ("config", "values", "expected"),
    [
        ({"drop_quantile": 0.25}, (1.0, 4.0, None, 2.0, 3.0), (3.0, 4, 1)),
        ({"drop_quantile": 0.0}, (1.0, 4.0), (4.0, 2, 0)),
        ({"max_perplexity": 2.0}, (1.0, 4.0, None, 2.0, 3.0), (2.0, 4, 2)),
        ({}, (None, None), (None, 0, 0)),
        ({}, (), (None, 0, 0)),
        ({"max_perplexity": 2.0}, (), (2.0, 0, 0)),
    ],
)
@pytest.mark.parametrize("per_source", [False, True])
def test_threshold_stage(
    context: StageContext,
    config: dict[str, Any],
    values: tuple[float | None, ...],
    expected: tuple[float | None, int, int],
    per_source: bool,
) -> None:
    put(context, [("a", value, 10) for value in values])
    stage = ThresholdStage(
        Perplexity(**config), "corpus.scores", "corpus.normalize", per_source=per_source
    )
    out = context.run_dir / "out"
    result = stage.run(context, out)
    written = json.loads((out / "threshold.json").read_text())
    names = ("threshold", "paragraphs_scored", "paragraphs_above")
    assert tuple(written[name] for name in names) == expected
    assert tuple(result.metrics[name] for name in names) == expected
    assert result.metrics["tokens_above"] == 10 * expected[2]
    assert result.rows_in == result.rows_out == expected[1]
    line = math.inf if expected[0] is None else expected[0]
    assert read_thresholds(out).of("a") == line
    assert "Perplexity threshold" in (out / "preview.html").read_text()
    preview_table(out)


def test_scores_of_other_documents_are_refused(context: StageContext) -> None:
    corpus = put(context, [("a", 2.0, 9)])
    write_shard(corpus.documents[0], documents_table([Document("b:1", "b", text="x")]))
    with pytest.raises(InputError, match="not there"):
        list(ScoredCorpus(context.folder("corpus.scores"), context.folder("corpus.normalize")))
    write_shard(corpus.documents[0].with_name(shard_name(1)), documents_table([]))
    with pytest.raises(InputError, match="1 shards of scores beside 2"):
        ScoredCorpus(context.folder("corpus.scores"), context.folder("corpus.normalize"))


@pytest.fixture
def preview(context: StageContext) -> Path:
    """A finished threshold stage over two sources, each with its own line."""
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(4, 1.5, 600).clip(0))
    sources = rng.choice(["papers", "wiki <i>"], 600)
    put(context, [(str(s), float(v), 9) for s, v in zip(sources, values, strict=True)])
    out = context.run_dir / "out"
    ThresholdStage(Perplexity(), "corpus.scores", "corpus.normalize", per_source=True).run(
        context, out
    )
    return out


def test_the_preview_counts_what_each_line_cuts(context: StageContext, preview: Path) -> None:
    found = json.loads((preview / "preview.json").read_text())
    corpus = ScoredCorpus(context.folder("corpus.scores"), context.folder("corpus.normalize"))
    values = np.concatenate([s.perplexity for s in corpus])
    sources = np.concatenate([s.source for s in corpus])
    for step in found["grid"]:
        dropped = 0
        for row, name in enumerate(corpus.sources):
            own = values[sources == row]
            above = own > by_sorting(own, step["quantile"])
            assert step["sources"][name]["paragraphs"] == above.sum()
            dropped += int(above.sum())
        assert (step["paragraphs"], step["tokens"]) == (dropped, 9 * dropped)
    total = sum(sum(s["histogram"]) for s in found["sources"].values())
    assert total == found["scored"]["paragraphs"] == 600
    for name, gone in (("above", True), ("highest", True), ("below", False), ("lowest", False)):
        samples = found["samples"][name]
        assert len(samples) == 5
        for sample in samples:
            assert (sample["perplexity"] > sample["line"]) == gone
            assert sample["text"] == f"<b>paragraph</b> {sample['doc_id'].split(':')[1]}"
    assert found["samples"]["highest"][0]["perplexity"] == values.max()
    assert found["samples"]["lowest"][-1]["perplexity"] == values.min()


def test_the_same_seed_gives_the_same_files(context: StageContext, preview: Path) -> None:
    again = context.run_dir / "again"
    ThresholdStage(Perplexity(), "corpus.scores", "corpus.normalize", per_source=True).run(
        context, again
    )
    for path in preview.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_long_samples_are_clipped_in_the_middle(context: StageContext) -> None:
    text = "start " + "x" * 5000 + " end"
    table = documents_table([Document("a:1", "a", text=text)])
    row = {"doc_id": "a:1", "paragraph": 0, "start_char": 0, "end_char": len(text), "tokens": 9}
    write_shard(context.folder("corpus.normalize") / shard_name(0), table)
    scores = pa.Table.from_pylist([row | {"perplexity": 7.0}], schema=PARAGRAPH_SCORE)
    write_shard(context.folder("corpus.scores") / shard_name(0), scores)
    out = context.run_dir / "out"
    ThresholdStage(Perplexity(), "corpus.scores", "corpus.normalize").run(context, out)
    (sample,) = json.loads((out / "preview.json").read_text())["samples"]["below"]
    assert sample["text"].startswith("start x")
    assert sample["text"].endswith("x end")
    assert sample["chars"] == len(text) > len(sample["text"]) > SAMPLE_CHARS


def test_the_terminal_shows_every_step(preview: Path) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(preview_table(preview))
    shown = console.export_text()
    assert shown.count("%") > 20
    assert "the worst 2% of each source's paragraphs" in " ".join(shown.split())


def test_text_from_documents_is_escaped_and_nothing_is_fetched(preview: Path) -> None:
    page = (preview / "preview.html").read_text()
    assert "<b>paragraph" not in page
    assert "&lt;b&gt;paragraph" in page
    assert "wiki &lt;i&gt;" in page
    assert "<script" not in page
    assert "http" not in page
    assert page.count("<svg") == 3


def test_a_browser_shows_the_page_without_complaint(preview: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]
    page = (preview / "preview.html").as_uri()
    arguments += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", "--window-size=390,800"]
    done = subprocess.run([chromium, *arguments, page], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<blockquote") == 20
