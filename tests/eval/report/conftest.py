"""A run in which everything has finished, with text that attacks the page, and a real browser."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from core.atomic import write_json, write_text
from core.hashing import sha256_file, sha256_text
from core.manifest import FileEntry, Manifest
from core.recipe.eval import Benchmark, HeldoutSet
from core.rejects import Reason, Reject, rejects_table
from core.schema import (
    DOCUMENT,
    HELDOUT_SCORE,
    PARAGRAPH_SCORE,
    PREDICTION,
    QA_PAIR,
    SUMMARY,
)
from core.shards import write_shard
from core.stage import StageContext
from eval.report.stage import ReportStage
from eval.scores.stage import ScoresStage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ATTACK = "<script>window.hacked = 1</script></style><img src=x onerror='window.hacked = 1'>"
LINK = "[press](javascript:window.hacked=1)"
MODELS = {"base": "train.base", "cpt": "train.cpt", "sft": "train.sft", "merged": "merge.merged"}
RIGHT = {"base": 19, "cpt": 27, "sft": 43, "merged": 41}
QUESTIONS = 80
NAMES = (
    "corpus.ingest",
    "corpus.perplexity_score",
    "corpus.threshold",
    "corpus.filter",
    "corpus.dedup_clusters",
    "corpus.contamination_report",
    "corpus.tokens",
    "train.cpt",
    "synth.qa",
    "synth.judge_report",
    "synth.pairs",
    "synth.summaries",
    "synth.mixture_plan",
    "train.sft",
    "merge.merged",
    "merge.sweep_figure",
    "eval.mcq",
    "eval.heldout",
    "eval.scores",
    "eval.value",
    "eval.general",
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 300" onload="window.hacked = 1">'
    "<script>window.hacked = 1</script><image href='http://192.0.2.1/x.png'/>"
    '<rect width="640" height="300" fill="#dde"/><text x="20" y="40">Figure</text></svg>'
)


def finish(
    ctx: StageContext,
    name: str,
    table: pa.Table | None = None,
    rejects: Sequence[Reject] = (),
    unit: str = "document",
    config: dict[str, Any] | None = None,
    **metrics: float,
) -> Path:
    """Writes a finished stage's rows, rejects, manifest and timings; keeps files already there."""
    folder = ctx.folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    rows = 0 if table is None else table.num_rows
    if table is not None:
        write_shard(folder / "part-00000.parquet", table)
    if rejects:
        write_shard(folder / "rejects" / "part-00000.parquet", rejects_table(name, rejects))
    reasons = [reject.reason.value for reject in rejects]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    Manifest(
        stage=name,
        code_version=1,
        config=config or {},
        seed=ctx.seed,
        inputs={},
        input_digests={},
        sources_digest="",
        fingerprint=sha256_text(name),
        key=sha256_text(name),
        files=[
            FileEntry(p.relative_to(folder).as_posix(), p.stat().st_size, sha256_file(p))
            for p in files
        ],
        row_unit=unit,
        rows_in=rows + len(reasons),
        rows_out=rows,
        rows_rejected=len(reasons),
        rejects={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        metrics=metrics,
    ).save(folder)
    write_json(folder / "timings.json", {"wall_seconds": 3.2, "worker_seconds": 3.2})
    return folder


def _corpus(ctx: StageContext) -> None:
    documents = [
        {
            "doc_id": f"arxiv:{i:04d}",
            "source": ("arxiv", "wikipedia", ATTACK)[i % 3],
            "text": "A star of mass M cools. " * (40 if i % 3 == 0 else 12),
            "license": ("CC BY 4.0", None, LINK)[i % 3],
            "created": date(2007 + i % 5, 3, 1),
        }
        for i in range(57)
    ]
    bad = [Reject(f"{ATTACK}{i}", Reason.PDF_ENCRYPTED, LINK, ATTACK) for i in range(3)]
    finish(ctx, "corpus.ingest", pa.Table.from_pylist(documents, schema=DOCUMENT), bad)
    values = np.exp(np.random.default_rng(1).normal(4.4, 0.7, 900))
    scores = {"doc_id": ["d"] * 940, "perplexity": [*values.tolist(), *[None] * 40]}
    columns = {field.name: scores.get(field.name, [0] * 940) for field in PARAGRAPH_SCORE}
    finish(ctx, "corpus.perplexity_score", pa.table(columns, schema=PARAGRAPH_SCORE))
    folder = ctx.folder("corpus.threshold")
    own = {"arxiv": {"threshold": 300.5}, ATTACK: {"threshold": 299.0}}
    write_json(folder / "threshold.json", {"threshold": 300.0, "per_source": True, "sources": own})
    sides = {
        side: [{"text": f"{side} {i} {ATTACK}", "doc_id": "a", "perplexity": p} for i, p in at]
        for side, at in (("below", ((0, 120.0), (1, 299.5))), ("above", ((0, 990.0), (1, 301.0))))
    }
    write_json(folder / "preview.json", {"samples": sides})
    finish(ctx, "corpus.threshold")
    cut = [Reject(f"a:{i}", Reason.HIGH_PERPLEXITY, "perplexity 3000", ATTACK) for i in range(9)]
    kept = pa.Table.from_pylist(documents, schema=DOCUMENT)
    finish(ctx, "corpus.filter", kept, cut, unit="paragraph")
    finish(ctx, "corpus.dedup_clusters", exact_duplicates=4, near_duplicates=11)
    found = [{"item_id": f"q{i:03d}", "words": 20, "text": ATTACK} for i in range(12)]
    entry = {"items": QUESTIONS, "items_found": 12, "documents": 5, "found": found}
    report = ctx.folder("corpus.contamination_report") / "report.json"
    write_json(report, {"benchmarks": {"astro": entry}})
    finish(ctx, "corpus.contamination_report")
    finish(ctx, "corpus.tokens", tokens=654_321)


def _training(ctx: StageContext) -> None:
    for name, steps in (("train.cpt", 240), ("train.sft", 30)):
        lines = [
            {
                "step": step,
                "loss": 3 + 3 * float(np.exp(-4 * step / steps)),
                "learning_rate": 1e-3 * (1 - step / steps),
                "grad_norm": 1 + step % 3 / 10,
                "update_norm": 0.5,
            }
            for step in range(1, steps + 1)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        folder = ctx.folder(name)
        write_text(folder / "metrics.jsonl", text + '{"step": 9')
        sets = [{"astronomy": 6 - s / steps, ATTACK: 6.5} for s in (0, steps // 2, steps)]
        evaluated = [
            {"step": i * steps // 2, "evaluation": losses} for i, losses in enumerate(sets)
        ]
        write_text(
            folder / "evaluation.jsonl", "".join(json.dumps(line) + "\n" for line in evaluated)
        )
        write_text(folder / "logs" / "speed.jsonl", '{"step": 1, "tokens_per_s": 3700}\n')
        spike = {"step": 9, "loss": 6.1, "deviations": 8.0, "documents": [ATTACK]}
        write_json(folder / "spikes.json", [spike | {"action": "left out"}])
        finish(ctx, name, unit="sequence")


def _synth(ctx: StageContext) -> None:
    pairs = [
        {
            "qa_id": f"p{i}",
            "doc_id": f"arxiv:{i:04d}",
            "chunk_start_char": 0,
            "chunk_end_char": 99,
            "question": f"What does passage {i} say? {ATTACK}",
            "answer": "Residual heat leaks through the envelope.",
            "model": "rules (no language model)",
            "prompt_sha256": "0" * 64,
        }
        for i in range(40)
    ]
    finish(ctx, "synth.qa", pa.Table.from_pylist(pairs, schema=QA_PAIR), unit="passage")
    text = json.dumps({"question": f"Why? {ATTACK}", "answer": "Because."})
    down = [Reject("p50", Reason.LOW_SCORE, "overall 2 < 5", text)]
    finish(ctx, "synth.pairs", pa.Table.from_pylist(pairs[:30], schema=QA_PAIR), down, unit="pair")
    counts = {"counts": [1, 2, 0, 7, 30], "mean": 4.575}
    criteria = dict.fromkeys(("correctness", "overall", "pertinence", "stand_alone"), counts)
    judges = {"synth.judge": {"criteria": criteria, "kept": 30, "pairs": 40, "scale": 5}}
    write_json(ctx.folder("synth.judge_report") / "scores.json", {"judges": judges})
    finish(ctx, "synth.judge_report", unit="pair")
    summary = {"doc_id": "arxiv:1", "title": ATTACK, "short": "s", "summary": LINK, "model": "m"}
    rows = [summary | {"prompt_sha256": ""}] * 3
    finish(ctx, "synth.summaries", pa.Table.from_pylist(rows, schema=SUMMARY))
    sets = [
        {"name": name, "rows": 10, "rows_in": 12, "tokens": 100, "token_share": share}
        for name, share in (("qa", 0.7), (ATTACK, 0.3))
    ]
    report = {"sets": sets, "total": {"rows": 20, "tokens": 200}}
    write_json(ctx.folder("synth.mixture_plan") / "report.json", report)
    finish(ctx, "synth.mixture_plan", unit="conversation")


def _merge(ctx: StageContext) -> None:
    models = [
        {"model": "train.sft", "weight": 0.85, "density": 0.9},
        {"model": ATTACK, "weight": 0.15, "density": 0.5},
    ]
    config = {"method": "dare_ties", "base": "train.cpt", "models": models, "out_dtype": "bfloat16"}
    finish(ctx, "merge.merged", unit="model", config=config)
    for stage, name in (
        ("merge.sweep_figure", "sweep"),
        ("eval.value", "figure3"),
        ("eval.general", "figure"),
    ):
        write_text(ctx.folder(stage) / f"{name}.svg", SVG)
        finish(ctx, stage)
    write_text(ctx.folder("eval.value") / "wrong.svg", "<html>no drawing</html>")
    row = {"score_percent": 71.4, "relative_cost": 0.0123, "rank_by_value": 1, "rank_by_score": 2}
    models = [
        {"model": name, "own": name == ATTACK, "frontier": True, "value": value, **row}
        for name, value in ((ATTACK, 3.21), ("GPT-4", 0.0), ("unpriced", None))
    ]
    write_json(
        ctx.folder("eval.value") / "value.json",
        {"baseline": "GPT-4", "models": models, "not_placed": {"cpt": LINK}},
    )
    finish(ctx, "eval.value")
    benchmark = {"name": "ifeval", "key": "ifeval", "label": "IFEval", "chance": 0.0}
    write_json(
        ctx.folder("eval.general") / "general.json",
        {
            "models": ["base", "merged", ATTACK],
            "measured": ["base", "merged"],
            "limit": 50,
            "benchmarks": [benchmark],
            "scores": {
                "base": {"ifeval": {"score": 31.25, "stderr": 2.5}},
                ATTACK: {"ifeval": {"score": 77.0, "stderr": None}},
            },
            "average": {"base": 12.5},
        },
    )
    finish(ctx, "eval.general")


def _order(permutation: int) -> list[int]:
    return [(place + permutation) % 4 for place in range(4)]


def _predictions() -> list[dict[str, Any]]:
    modes = [(model, "letter") for model in MODELS] + [("merged", "reasoning")]
    return [
        {
            "item_id": f"q{i:03d}",
            "benchmark": "astro",
            "model": model,
            "mode": mode,
            "permutation": permutation,
            "order": _order(permutation),
            "choice": i % 4 if i < RIGHT[model] - permutation else (i + 1) % 4,
            "correct": i < RIGHT[model] - permutation,
            "logprobs": [-1.0 - abs(i % 4 - place) for place in range(4)]
            if mode == "letter"
            else None,
            "raw_text": f"<think>I weigh {ATTACK}</think>Answer: A {LINK}"
            if mode == "reasoning"
            else "",
            "read_by": "letter" if mode == "reasoning" else None,
        }
        for model, mode in modes
        for permutation in (0, 1)
        for i in range(QUESTIONS)
    ]


def _scores(ctx: StageContext) -> None:
    questions = [
        {
            "item_id": f"q{i:03d}",
            "question": f"What sets the period of Cepheid {i}? {ATTACK}",
            "choices": ["Its mean density", f"Its distance {LINK}", "Its colour", "Its name"],
            "answer": "ABCD"[i % 4],
            "topic": ("Stars", ATTACK)[i % 2],
        }
        for i in range(QUESTIONS)
    ]
    text = "".join(json.dumps(question) + "\n" for question in questions)
    write_text(ctx.root / "astro.jsonl", text)
    config = {"models": [list(pair) for pair in MODELS.items()]}
    rows = pa.Table.from_pylist(_predictions(), schema=PREDICTION)
    finish(ctx, "eval.mcq", rows, unit="question", config=config)
    held = [
        {
            "doc_id": f"held/{i}.md",
            "set": "astronomy",
            "model": model,
            "tokens": 1000,
            "bytes": 4000,
            "negative_log_likelihood": 5200.0 - 100 * place,
        }
        for place, model in enumerate(MODELS)
        for i in range(3)
    ]
    finish(ctx, "eval.heldout", pa.Table.from_pylist(held, schema=HELDOUT_SCORE))
    out = ctx.folder("eval.scores")
    out.mkdir(parents=True)
    stage = ScoresStage(
        MODELS,
        [Benchmark(name="astro", path="astro.jsonl")],
        [HeldoutSet(name="astronomy", paths=["held"])],
        "corpus.contamination_report",
    )
    stage.run(ctx, out)
    finish(ctx, "eval.scores", unit="score")


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """A finished run whose every text from outside tries to act on the page."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "root").mkdir()
    ctx = StageContext(run_dir=folder / "run", root=folder / "root", seed=42)
    for write in (_corpus, _training, _synth, _merge, _scores):
        write(ctx)
    return ctx


@pytest.fixture(scope="session")
def hostile_page(hostile_run: StageContext) -> Path:
    """The page of that run."""
    out = hostile_run.run_dir / "page"
    out.mkdir()
    ReportStage(f"Demo {ATTACK}", NAMES).run(hostile_run, out)
    return out / "index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; without one the tests that need it are skipped.

    Playwright's event loop runs as long as it is open: of other tests in the same process, none
    could run a loop of its own.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the package playwright is not installed (extra: dev)"
    )
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("no Chromium here: install the system package chromium, or set CHROMIUM")
    with playwright.sync_playwright() as driver:
        # Chromium's own sandbox needs rights that containers and root do not have.
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()
