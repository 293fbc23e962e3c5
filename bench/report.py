"""What the report costs: seconds and memory to write it, bytes, and seconds to open it.

The page is written over corpora of growing size, each in a process of its own: its memory must not
grow with them. Then the largest page, or that of a finished run, is opened in headless Chromium.
Run with ``python -m bench.report [--run runs/demo --picture docs/report.png]``.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from bench.memory import measured
from core.manifest import MANIFEST_NAME, Manifest
from core.rejects import Reason, Reject, rejects_table
from core.schema import DOCUMENT, PARAGRAPH_SCORE
from core.shards import shard_name, write_shard
from core.stage import StageContext
from eval.report.stage import PAGE, ReportStage

STAGES = ("corpus.ingest", "corpus.perplexity_score")
_DOCUMENTS_PER_SHARD = 2000
_PARAGRAPHS = 40
_TEXT = "The spectrum of the quasar shows broad emission lines of hydrogen and carbon. " * 60


def make_corpus(ctx: StageContext, shards: int) -> None:
    """Writes documents, rejects and paragraph scores of ``shards`` shards."""
    documents, scores = (ctx.folder(name) for name in STAGES)
    table = pa.Table.from_pylist(
        [
            {
                "doc_id": f"made:{n}",
                "source": f"source {n % 4}",
                "text": f"{n} {_TEXT}",
                "created": date(2000 + n % 24, 1, 1),
            }
            for n in range(_DOCUMENTS_PER_SHARD)
        ],
        schema=DOCUMENT,
    )
    rows = _DOCUMENTS_PER_SHARD * _PARAGRAPHS
    columns = {
        field.name: pa.array([float(1 + n % 5000) for n in range(rows)]).cast(field.type)
        if field.name != "doc_id"
        else pa.array(["made"] * rows)
        for field in PARAGRAPH_SCORE
    }
    bad = [Reject(f"made:{n}", Reason.REPETITION, "loop", _TEXT) for n in range(200)]
    for index in range(shards):
        write_shard(documents / shard_name(index), table)
        write_shard(documents / "rejects" / shard_name(index), rejects_table(STAGES[0], bad))
        write_shard(scores / shard_name(index), pa.table(columns, schema=PARAGRAPH_SCORE))
    for name in STAGES:
        _manifest(ctx, name)


def _manifest(ctx: StageContext, name: str) -> None:
    Manifest(
        stage=name,
        code_version=1,
        config={},
        seed=1,
        inputs={},
        input_digests={},
        sources_digest="",
        fingerprint="",
        key="",
        files=[],
        row_unit="document",
        rows_in=1,
        rows_out=1,
        rows_rejected=0,
        rejects={"repetition": 1} if name == STAGES[0] else {},
    ).save(ctx.folder(name))


def write_page(run: Path, names: tuple[str, ...], out: Path) -> None:
    """Writes a run's page."""
    ReportStage(run.name, names).run(StageContext(run_dir=run, root=run, seed=1), out)


def stage_names(run: Path) -> tuple[str, ...]:
    """Returns the stages that a run has finished, oldest first."""
    found = sorted(run.glob(f"*/*/{MANIFEST_NAME}"), key=lambda path: path.stat().st_mtime)
    names = [".".join(path.parts[-3:-1]) for path in found]
    return tuple(name for name in names if name != "eval.report")


@contextmanager
def chromium() -> Iterator[Any]:
    """Opens headless Chromium; gives None where it or playwright is missing."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        browser = None
    if browser is None:
        yield None
        return
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield opened
        opened.close()


def load_seconds(page: Path, times: int = 5) -> tuple[float, float] | None:
    """Returns median seconds from request to load, and to first paint; None without Chromium."""
    loads, paints = [], []
    with chromium() as opened:
        if opened is None:
            return None
        for _ in range(times):
            tab = opened.new_page()
            tab.goto(page.as_uri())
            tab.screenshot()  # nothing is painted in a page that nobody looks at
            loads.append(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
            paints.append(
                tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            )
            tab.close()
    return statistics.median(loads) / 1000, statistics.median(paints) / 1000


def take_picture(page: Path, out: Path) -> None:
    """Writes the top of a page as a PNG, as the documentation shows it."""
    with chromium() as opened:
        if opened is None:
            raise SystemExit("a picture needs Chromium and the package playwright")
        tab = opened.new_page(viewport={"width": 1120, "height": 1530}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.screenshot(path=out)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a finished run")
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--picture", type=Path, help="PNG to write of that run's page")
    options = parser.parse_args()
    table = Table(title="report", title_justify="left")
    for header in ("corpus", "seconds", "peak MiB", "page kB", "load s", "first paint s"):
        table.add_column(header, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        cases: list[tuple[str, Path, tuple[str, ...]]] = []
        for shards in options.shards:
            run = Path(folder) / f"run-{shards}"
            make_corpus(StageContext(run_dir=run, root=run, seed=1), shards)
            cases.append((f"{shards * _DOCUMENTS_PER_SHARD:,} documents", run, STAGES))
        if options.run:
            path = options.run.resolve()
            cases.append((options.run.name, path, stage_names(path)))
        for place, (name, run, names) in enumerate(cases):
            out = Path(folder) / f"page-{place}"
            out.mkdir()
            done = measured(write_page, run, names, out)
            loaded = load_seconds(out / PAGE)
            shown = [f"{s:.2f}" for s in loaded] if loaded else ["-", "-"]
            kilobytes = f"{(out / PAGE).stat().st_size / 1000:.0f}"
            if options.picture and place == len(cases) - 1:
                take_picture(out / PAGE, options.picture)
            table.add_row(name, f"{done.seconds:.1f}", f"{done.peak_mib:.0f}", kilobytes, *shown)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
