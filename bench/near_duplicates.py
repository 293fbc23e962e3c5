"""The mixture of a million questions and answers: seconds, memory, and which duplicates it finds.

Questions come from patterns, answers are words as frequent as those of a language (20 to 120 of
them). A fifth of the pairs are copies of another one with a share of their words replaced, dropped
or doubled. The four stages run as they are, over shards on disk, each in a process of its own with
one thread; memory is the peak of that process, pages of mapped files included.

Run with ``python -m bench.near_duplicates [--pairs 1000000] [--smaller 100000]``.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from bench.dedup import edited, make_texts
from bench.memory import measured
from core.hashing import sha256_file
from core.manifest import FileEntry, Manifest
from core.overlap import Rules
from core.recipe.mixture import Mixture
from core.runner.commit import process_unit
from core.schema import CONVERSATION
from core.shards import read_shard, shard_name, shard_paths, write_shard
from core.sources import SourceIndex
from core.stage import JobStage, ShardStage, StageContext
from synth.mixture import MixturePickStage, MixturePlanStage, MixtureRowsStage, MixtureStage
from synth.mixture.choice import Fate

RATES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_COPIES = 5
"""One pair in so many is a copy."""

_SHARD_PAIRS = 10_000
_INPUT = "synth.conversations"
_PATTERNS = (
    "What is the {} of the {} in a {}?",
    "How does the {} of a {} depend on its {}?",
    "Why do astronomers use the {} to measure the {} of distant {}?",
    "Which observations showed that {} and {} are caused by the {}?",
    "Explain how {} and {} together determine the {} of a star.",
    "What did the survey find about {}, {} and {}?",
    "How was the relation between {} and {} first found in {}?",
    "What limits our knowledge of the {} inside the {} around {}?",
)
_OPENINGS = ("The study found that", "According to the paper,", "In general,", "", "", "It is")


def make_pairs(count: int) -> Iterator[tuple[str, str, str]]:
    """Yields (id, question, answer); ids are ``number-rate``, ``number-`` of an original."""
    generator = random.Random(1)
    before: list[tuple[int, str, str]] = []
    texts = make_texts(count, 126, seed=1)
    for number in range(count):
        words = next(texts).split()
        if number % _COPIES == _COPIES - 1:
            original, question, answer = before.pop()
            rate = RATES[number // _COPIES % len(RATES)]
            yield (
                f"{original}-{rate}",
                edited(question, rate, number),
                edited(answer, rate, number + count),
            )
            continue
        question = generator.choice(_PATTERNS).format(*words[:3])
        length = generator.randint(20, 120)
        answer = f"{generator.choice(_OPENINGS)} {' '.join(words[6 : 6 + length])}.".strip()
        before = [*before[-20:], (number, question, answer)]
        yield f"{number}-", question, answer


def write_pairs(ctx: StageContext, count: int) -> None:
    """Writes the conversations as a finished stage, and a tokenizer."""
    # Here, so that the measured processes do not load torch with this file.
    from core.tiny import train_tokenizer

    rows = []
    folder = ctx.folder(_INPUT)
    shard = 0
    for conv_id, question, answer in make_pairs(count):
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
        rows.append({"conv_id": conv_id, "dataset": "qa", "messages": messages, "doc_ids": []})
        if len(rows) == _SHARD_PAIRS:
            write_shard(folder / shard_name(shard), pa.Table.from_pylist(rows, schema=CONVERSATION))
            rows, shard = [], shard + 1
    if rows:
        write_shard(folder / shard_name(shard), pa.Table.from_pylist(rows, schema=CONVERSATION))
    _finish(ctx, _INPUT)
    said = [f"{question} {answer}" for _, question, answer in make_pairs(300)]
    train_tokenizer(said, 2_000).save_pretrained(ctx.root / "tokenizer")


def _finish(ctx: StageContext, stage: str) -> None:
    folder = ctx.folder(stage)
    files = [
        FileEntry(str(path.relative_to(folder)), path.stat().st_size, sha256_file(path))
        for path in sorted(folder.rglob("*.parquet"))
    ]
    Manifest(stage, 1, {}, 1, {}, {}, "", "", "", files, "conversation", 0, 0, 0).save(folder)


def make_stages(section: Mixture) -> list[ShardStage | JobStage]:
    """Returns the four stages."""
    rows = MixtureRowsStage(section, (_INPUT,), "tokenizer", {}, Rules())
    plan = MixturePlanStage(section, rows.name)
    pick = MixturePickStage((_INPUT,), plan.name)
    return [rows, plan, pick, MixtureStage(pick.name, plan.name)]


def run_stage(folder: Path, number: int) -> str:
    """Runs one of the stages; returns its name."""
    ctx = StageContext(folder, folder, seed=1)
    stage = make_stages(Mixture())[number]
    out = ctx.folder(stage.name)
    out.mkdir(parents=True)
    if isinstance(stage, JobStage):
        stage.run(ctx, out)
    else:
        for unit in stage.plan(ctx, SourceIndex(ctx.root, ctx.run_dir / "sources.json")):
            process_unit(stage, ctx, unit)
    _finish(ctx, stage.name)
    return stage.name


def found(folder: Path) -> tuple[dict[str, int], int, int]:
    """Returns the copies found by rate, how many removed rows are copies of another, and removed.

    A copy is found where it or its original is removed for the other.
    """
    ctx = StageContext(folder, folder, seed=1)
    inputs = [
        read_shard(path, ["conv_id"])["conv_id"].to_pylist()
        for path in shard_paths(ctx.folder(_INPUT))
    ]
    by_rate: Counter[str] = Counter()
    right = removed = 0
    for path in shard_paths(ctx.folder("synth.mixture_plan") / "left"):
        for row in read_shard(path).to_pylist():
            assert row["fate"] in (Fate.EXACT_DUPLICATE, Fate.NEAR_DUPLICATE)
            own, rate = inputs[row["shard"]][row["row"]].split("-")
            other, other_rate = row["survivor"].split("-")
            removed += 1
            if own == other:
                right += 1
                by_rate[rate or other_rate] += 1
    return by_rate, right, removed


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--smaller", type=int, default=100_000, help="to compare memory with")
    arguments = parser.parse_args()
    # Before the measuring processes load the libraries that read them.
    for name in ("RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    console = Console(width=120)
    costs = Table("stage", "pairs", "seconds", "seconds per 100,000 pairs", "peak MiB")
    quality = Table("words changed", "copies", "recall")
    precision = ""
    for count in (arguments.smaller, arguments.pairs):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_pairs(StageContext(folder, folder, seed=1), count)
            for number in range(4):
                result = measured(run_stage, folder, number)
                per = result.seconds / count * 1e5
                costs.add_row(
                    result.value,
                    f"{count:,}",
                    f"{result.seconds:.1f}",
                    f"{per:.1f}",
                    f"{result.peak_mib:.0f}",
                )
            by_rate, right, removed = found(folder)
    planted = Counter(
        RATES[number // _COPIES % len(RATES)]
        for number in range(_COPIES - 1, arguments.pairs, _COPIES)
    )
    for rate in RATES:
        recall = by_rate[str(rate)] / max(1, planted[rate])
        quality.add_row(f"{rate:.0%}", f"{planted[rate]:,}", f"{recall:.3f}")
    precision = f"{right:,} of {removed:,} removed are copies ({right / max(1, removed):.4f})"
    console.print(costs)
    console.print(quality)
    console.print(precision)


if __name__ == "__main__":
    main()
