"""A finished run made through the real writers, and tiny models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.atomic import write_json
from core.hashing import sha256_file, sha256_text
from core.manifest import FileEntry, Manifest
from core.recipe.eval import Benchmark, HeldoutSet
from core.rejects import Reason, Reject, rejects_table
from core.schema import DOCUMENT, HELDOUT_SCORE, PARAGRAPH_SCORE, PREDICTION, QA_PAIR
from core.shards import write_shard
from core.stage import StageContext
from eval.scores.stage import ScoresStage

STAGES = (
    "corpus.ingest",
    "corpus.ocr",
    "corpus.normalize",
    "corpus.perplexity_score",
    "corpus.threshold",
    "corpus.filter",
    "train.cpt",
    "synth.qa",
    "train.sft",
    "merge.instruct",
    "eval.mcq",
    "eval.heldout",
    "eval.scores",
)
MODELS = {
    "base": "train.base",
    "cpt": "train.cpt",
    "sft": "train.sft",
    "merged": "merge.instruct",
}
HELD = [
    HeldoutSet(name="astronomy", paths=["held"]),
    HeldoutSet(name="web", paths=["web"], group="general"),
]


def write_stage(
    ctx: StageContext,
    name: str,
    table: pa.Table | None = None,
    rejects: list[Reject] | None = None,
    unit: str = "document",
    metrics: dict[str, Any] | None = None,
    seconds: float = 3.2,
) -> Path:
    """Writes a finished stage: one shard, its rejects, manifest and timings."""
    folder = ctx.folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    rows = 0 if table is None else table.num_rows
    rejects = rejects or []
    if table is not None:
        write_shard(folder / "part-00000.parquet", table)
    if rejects:
        write_shard(folder / "rejects" / "part-00000.parquet", rejects_table(name, rejects))
    reasons: dict[str, int] = {}
    for reject in rejects:
        reasons[reject.reason.value] = reasons.get(reject.reason.value, 0) + 1
    entries = [
        FileEntry(p.relative_to(folder).as_posix(), p.stat().st_size, sha256_file(p))
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    ]
    Manifest(
        stage=name,
        code_version=1,
        config={},
        seed=ctx.seed,
        inputs={},
        input_digests={},
        sources_digest="",
        fingerprint=sha256_text(name),
        key=sha256_text(name + "key"),
        files=entries,
        row_unit=unit,
        rows_in=rows + len(rejects),
        rows_out=rows,
        rows_rejected=len(rejects),
        rejects=reasons,
        metrics=metrics or {},
    ).save(folder)
    write_json(folder / "timings.json", {"wall_seconds": seconds, "worker_seconds": seconds})
    return folder


def documents(count: int) -> pa.Table:
    sources = ["arxiv", "wikipedia", "textbooks"]
    return pa.Table.from_pylist(
        [
            {
                "doc_id": f"{sources[i % 3]}:{i:04d}",
                "source": sources[i % 3],
                "title": f"Title {i}",
                "text": "A star of mass M cools. " * (40 if i % 3 == 0 else 12),
            }
            for i in range(count)
        ],
        schema=DOCUMENT,
    )


def write_questions(path: Path, count: int, key: bool = True) -> None:
    topics = ["Stars", "Cosmology & large-scale structure", "Planets"]
    lines = [
        {
            "item_id": f"q{i:03d}",
            "question": f"Which quantity sets the period of the {i}th Cepheid in the sample?",
            "choices": [
                "Its mean density, through the sound-crossing time",
                "Its distance",
                "Its metallicity gradient alone",
                "The rotation of the Galaxy",
            ],
            "answer": "ABCD"[i % 4] if key else None,
            "topic": topics[i % 3],
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def prediction_rows(model: str, benchmark: str, count: int, right: int) -> list[dict[str, Any]]:
    return [
        {
            "item_id": f"q{i:03d}",
            "benchmark": benchmark,
            "model": model,
            "mode": "choice",
            "choice": i % 4 if i < right else (i + 1) % 4,
            "correct": i < right,
            "logprobs": [-1.0, -2.0, -3.0, -4.0],
            "raw_text": "",
        }
        for i in range(count)
    ]


def write_metrics(folder: Path, steps: int, start: float, end: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = []
    for step in range(1, steps + 1):
        loss = end + (start - end) * math.exp(-4 * step / steps) + 0.04 * rng.standard_normal()
        rate = 1e-3 * min(1, step / 20) ** 2 * 0.5 * (1 + math.cos(math.pi * step / steps))
        row = {"step": step, "loss": loss, "learning_rate": rate, "grad_norm": 1, "update_norm": 1}
        lines.append(json.dumps(row))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 9', encoding="utf-8")


def write_corpus(ctx: StageContext) -> None:
    bad = [
        Reject("arxiv:9999", Reason.PDF_ENCRYPTED, "needs a password"),
        Reject("arxiv:9998", Reason.EXCLUDED_REVIEW, "ARA&A"),
        Reject("arxiv:9997", Reason.EXCLUDED_REVIEW, "ARA&A"),
    ]
    write_stage(ctx, "corpus.ingest", documents(57), bad, seconds=1.4)
    write_stage(ctx, "corpus.ocr", documents(57), seconds=184.0)
    write_stage(ctx, "corpus.normalize", documents(57), [Reject("x", Reason.EMPTY_TEXT, "3 chars")])
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(4.4, 0.7, 3000)).tolist() + np.exp(rng.normal(8, 0.5, 60)).tolist()
    scores = pa.table(
        {
            "doc_id": ["d"] * 3100,
            "paragraph": pa.array(range(3100), pa.int32()),
            "start_char": [0] * 3100,
            "end_char": [9] * 3100,
            "tokens": pa.array([20] * 3100, pa.int32()),
            "perplexity": [*values, *[None] * 40],
        },
        schema=PARAGRAPH_SCORE,
    )
    write_stage(ctx, "corpus.perplexity_score", scores, unit="paragraph")
    folder = write_stage(ctx, "corpus.threshold", unit="paragraph")
    write_json(folder / "threshold.json", {"threshold": 900.0})
    cut = [
        Reject(f"arxiv:{i:04d}", Reason.HIGH_PERPLEXITY, f"perplexity {3000 + i}",
               "l l l Figu re 3 . 0.0 0.2 0.4 0.6 0.8 1.0 x y z <b>km s-1</b> " * (1 + i % 9))
        for i in range(61)
    ]  # fmt: skip
    write_stage(ctx, "corpus.filter", documents(57), cut)


def write_training(ctx: StageContext) -> None:
    for name, steps, start, end in (("train.cpt", 240, 6.1, 3.2), ("train.sft", 60, 3.0, 1.9)):
        write_metrics(ctx.folder(name), steps, start, end)
        write_stage(ctx, name, unit="sequence", metrics={"tokens": 1_234_567, "final_loss": end})
    write_stage(ctx, "merge.instruct", unit="tensor")
    pairs = [
        {
            "qa_id": f"p{i}",
            "doc_id": f"arxiv:{i:04d}",
            "chunk_start_char": 0,
            "chunk_end_char": 99,
            "question": f"What does passage {i} say about the cooling of white dwarfs?",
            "answer": "A star of mass M cools as its residual heat leaks through the envelope.",
            "model": "rules (no language model)",
            "prompt_sha256": "0" * 64,
        }
        for i in range(40)
    ]
    write_stage(ctx, "synth.qa", pa.Table.from_pylist(pairs, schema=QA_PAIR), unit="passage")


def benchmarks(ctx: StageContext) -> list[Benchmark]:
    write_questions(ctx.root / "domain.jsonl", 80)
    write_questions(ctx.root / "general.jsonl", 40)
    write_questions(ctx.root / "blind.jsonl", 5, key=False)
    return [
        Benchmark(name="astro-mcq", path="domain.jsonl"),
        Benchmark(name="common-sense", path="general.jsonl", group="general"),
        Benchmark(name="blind", path="blind.jsonl"),
    ]


RIGHT = {"base": (19, 11), "cpt": (27, 10), "sft": (43, 12), "merged": (41, 15)}
NLL_PER_TOKEN = {"base": 5.2, "cpt": 4.1, "sft": 4.2, "merged": 4.15}


def write_scores(ctx: StageContext) -> None:
    """Writes predictions and held-out rows, then runs the real scores stage over them."""
    listed = benchmarks(ctx)
    rows, held = [], []
    for model, (domain, general) in RIGHT.items():
        rows += prediction_rows(model, "astro-mcq", 80, domain)
        rows += prediction_rows(model, "common-sense", 40, general)
        blind = prediction_rows(model, "blind", 5, 0)
        rows += [row | {"correct": None} for row in blind]
        for name in ("astronomy", "web"):
            nll = NLL_PER_TOKEN[model] + (0.5 if name == "web" else 0)
            held += [
                {
                    "doc_id": f"{name}/{i}.md",
                    "set": name,
                    "model": model,
                    "tokens": 1000,
                    "bytes": 4000,
                    "negative_log_likelihood": 1000 * nll,
                }
                for i in range(3)
            ]
    write_stage(ctx, "eval.mcq", pa.Table.from_pylist(rows, schema=PREDICTION), unit="question")
    write_stage(ctx, "eval.heldout", pa.Table.from_pylist(held, schema=HELDOUT_SCORE))
    out = ctx.folder("eval.scores")
    out.mkdir(parents=True)
    result = ScoresStage(MODELS, listed, HELD).run(ctx, out)
    write_stage(ctx, "eval.scores", unit="score", metrics=result.metrics)


@pytest.fixture
def ctx(tmp_path: Path) -> StageContext:
    root = tmp_path / "root"
    root.mkdir()
    return StageContext(run_dir=tmp_path / "run", root=root, seed=42)


@pytest.fixture
def finished_run(ctx: StageContext) -> StageContext:
    """A run in which every stage has finished."""
    write_corpus(ctx)
    write_training(ctx)
    write_scores(ctx)
    return ctx


@pytest.fixture
def half_run(ctx: StageContext) -> StageContext:
    """A run in which only the corpus has been made."""
    write_corpus(ctx)
    return ctx


@pytest.fixture
def stage_names() -> tuple[str, ...]:
    return STAGES
