"""Tokenize and pack: tokens per second on one core, and peak memory, against the tokenizer itself.

Five ways to the same tokens of the same documents, taken in turn, by the CPU time of the process:
``tokenizers.encode_batch`` alone over all texts, and over batches of them; datatrove's pipeline
(Parquet reader and ``DocumentTokenizer``, documents not shuffled); and our stage with both
strategies, from a shard of documents to a shard of packed sequences, also with no word known from
a shard before (``cold``). Run with
``python -m bench.tokens [--documents FOLDER] [--tokenizer FOLDER]``; without them it makes text
like papers and trains a tokenizer of 32,000 entries on it. datatrove is left out where it is not
installed.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Before any library reads it: one core.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.memory import peak_mib
from core.recipe.packing import Strategy
from core.shards import read_shard, shard_paths, write_shard
from core.stage import StageContext, Unit
from core.tokenizer import load_tokenizer
from corpus.tokens import TokensStage
from corpus.words import word_encoder

_LENGTH = 8192
_SYLLABLES = tuple(re.findall("..", "radioxtelescopemagnetarspectrogalaxydusterluminosity"))


def make_documents(count: int, words: int, seed: int = 0) -> list[str]:
    """Returns texts like papers: words with Zipf's frequencies, numbers, equations, headings."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices(_SYLLABLES, k=rng.randrange(1, 5))) for _ in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    texts = []
    for number in range(count):
        parts = [f"# Object {number}\n"]
        # Papers differ in length: a log-normal law fits them.
        for _ in range(max(1, round(words * rng.lognormvariate(-0.3, 0.8) / 120))):
            text = " ".join(rng.choices(vocabulary, weights, k=110))
            parts.append(f"{text} of {rng.random():.3f} km/s, $M_{{{rng.randrange(99)}}} = x^2$.\n")
        texts.append("\n".join(parts))
    return texts


def write_documents(path: Path, texts: list[str]) -> None:
    """Writes documents as a shard that both sides read."""
    ids = [f"bench:{number}" for number in range(len(texts))]
    write_shard(path, pa.table({"doc_id": ids, "text": texts, "id": ids}))


def bare(texts: list[str], tokenizer: str, batch: int) -> int:
    """Returns the tokens that ``encode_batch`` finds; the ids themselves are not asked for."""
    backend = load_tokenizer(tokenizer).backend_tokenizer
    tokens = 0
    for start in range(0, len(texts), batch):
        encoded = backend.encode_batch(texts[start : start + batch], add_special_tokens=False)
        tokens += sum(len(encoding) for encoding in encoded)
    return tokens


def ours(folder: Path, tokenizer: str, strategy: Strategy, length: int = _LENGTH) -> int:
    """Makes a shard of sequences from the shard of documents; returns its tokens."""
    ctx = StageContext(folder, folder, seed=0)
    stage = TokensStage("corpus.tokens", "corpus.documents", tokenizer, length, strategy)
    result = stage.process(Unit(0, {"shard": "part-00000.parquet"}, ""), ctx)
    write_shard(folder / "out" / strategy, result.kept, stage.row_group_rows)
    return int(result.metrics["tokens"])


def cold(folder: Path, tokenizer: str) -> int:
    """Does the same with the words that the encoder knows forgotten."""
    word_encoder.cache_clear()
    return ours(folder, tokenizer, "concat")


def datatrove(folder: Path, tokenizer: str) -> int:
    """Makes datatrove's token file from the shard of documents; returns its bytes."""
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    out = folder / "out" / "datatrove"
    step = DocumentTokenizer(
        str(out),
        str(Path(tokenizer) / "tokenizer.json"),
        eos_token=load_tokenizer(tokenizer).eos_token,
        shuffle_documents=False,
    )
    step.run(ParquetReader(str(folder / "corpus" / "documents")).run())
    return sum(path.stat().st_size for path in out.iterdir())


def _has_datatrove() -> bool:
    try:
        import datatrove  # noqa: F401
    except ImportError:
        return False
    return True


def measure(folder: Path, tokenizer: str, repeats: int) -> list[tuple[str, float, float]]:
    """Returns (what, tokens per second, ratio to bare ``encode_batch``), medians of rounds."""
    shard = folder / "corpus" / "documents" / "part-00000.parquet"
    texts = read_shard(shard, ["text"])["text"].to_pylist()
    tokens = bare(texts, tokenizer, len(texts))
    ways: dict[str, Callable[[], int]] = {
        "encode_batch, all texts at once": lambda: bare(texts, tokenizer, len(texts)),
        "encode_batch, 32 texts at once": lambda: bare(texts, tokenizer, 32),
        "ours, concat, cold": lambda: cold(folder, tokenizer),
        "ours, concat": lambda: ours(folder, tokenizer, "concat"),
        "ours, best_fit": lambda: ours(folder, tokenizer, "best_fit"),
    }
    if _has_datatrove():
        ways["datatrove"] = lambda: datatrove(folder, tokenizer)
    rounds: dict[str, list[float]] = {what: [] for what in ways}
    # The first round loads the tokenizer and imports.
    for number in range(repeats + 1):
        for what, way in ways.items():
            started = time.process_time()
            way()
            if number:
                rounds[what].append(time.process_time() - started)
    base = rounds["encode_batch, all texts at once"]
    return [
        (
            what,
            tokens / statistics.median(seconds),
            statistics.median(b / s for b, s in zip(base, seconds, strict=True)),
        )
        for what, seconds in rounds.items()
    ]


def _fill(folder: Path, texts: list[str]) -> Path:
    write_documents(folder / "corpus" / "documents" / "part-00000.parquet", texts)
    return folder


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=Path, help="folder of document shards of your own")
    parser.add_argument("--tokenizer", help="folder of a tokenizer of your own")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        texts = make_documents(300, 5000)
        if arguments.documents:
            shards = [pq.read_table(p, columns=["text"]) for p in shard_paths(arguments.documents)]
            texts = [text for t in shards for text in t["text"].to_pylist() if text]
        tokenizer = arguments.tokenizer or _train(texts, folder / "tokenizer")
        rows = measure(_fill(folder / "speed", texts), tokenizer, arguments.repeats)
        speed = Table("way", "tokens/s", "times encode_batch")
        for what, rate, ratio in rows:
            speed.add_row(what, f"{rate:,.0f}", f"{ratio:.2f}")
        memory = Table("shard", "peak memory, MiB")
        empty = _fill(folder / "memory-0", ["A star."])
        memory.add_row("1 short document", f"{peak_mib(ours, empty, tokenizer, 'concat'):.0f}")
        for what, count, words in (("50 documents", 50, 5000), ("500 documents", 500, 5000)):
            work = _fill(folder / f"memory-{count}", make_documents(count, words))
            memory.add_row(what, f"{peak_mib(ours, work, tokenizer, 'concat'):.0f}")
        long = _fill(folder / "memory-long", ["".join(texts * 100)[:10_000_000]])
        memory.add_row("1 of 10 MB", f"{peak_mib(ours, long, tokenizer, 'concat'):.0f}")
        (text,) = read_shard(long / "corpus/documents/part-00000.parquet")["text"].to_pylist()
        memory.add_row("(its encode_batch alone)", f"{peak_mib(bare, [text], tokenizer, 1):.0f}")
    console = Console()
    console.print(speed)
    console.print(memory)


def _train(texts: list[str], folder: Path) -> str:
    from core.tiny import train_tokenizer

    train_tokenizer(texts, 32_000).save_pretrained(folder)
    return str(folder)


if __name__ == "__main__":
    main()
