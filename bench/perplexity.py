"""Paragraph perplexity against Hugging Face one paragraph at a time, on one core.

Both sides score the same paragraphs with the same model, in turn in one process: the peer with
``model(ids, labels=ids).loss`` per paragraph, ours with the batches of the ``transformers`` engine.
Then how well a small model, trained on clean text for under a minute, ranks corrupted paragraphs
above clean ones it has not seen; and the peak memory of scoring and of the threshold as the
corpus grows. Run ``python -m bench.perplexity [--documents FOLDER]``; a folder of Parquet shards of
documents, or of Markdown files.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.memory import peak_mib
from core.front_matter import split_front_matter
from core.llm import open_engine
from core.paragraphs import split_paragraphs
from core.recipe.corpus import Perplexity
from core.recipe.engine import Engine as EngineConfig
from core.recipe.train import TinyModel
from core.schema import PARAGRAPH_SCORE
from core.shards import read_shard, shard_name, shard_paths, write_shard
from core.stage import StageContext
from core.tiny import make_tiny_llama, save_model, train_tokenizer
from corpus.documents import Document, documents_table
from corpus.perplexity import score_paragraphs
from corpus.threshold import ThresholdStage

SAMPLES = Path(__file__).parent.parent / "samples" / "astronomy"
SMALL = TinyModel()
"""The recipes' own scorer where no base model is named."""
LARGER = TinyModel(
    vocab_size=4096,
    hidden_size=512,
    intermediate_size=1408,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=4,
    max_position_embeddings=2048,
)
WIDE_VOCABULARY = 128_256
"""Llama 3's: its logits are what fills the memory."""
CORRUPTIONS = ("letters shuffled in words", "all characters shuffled", "mojibake", "table debris")
_MIN_TOKENS = 8
Dtype = Literal["auto", "bfloat16"]


def read_texts(folder: Path) -> list[str]:
    """Returns the documents of a folder of shards or of Markdown files."""
    if shard_paths(folder):
        tables = [read_shard(path, ["text"]) for path in shard_paths(folder)]
        return [text for table in tables for text in table["text"].to_pylist() if text]
    paths = sorted(folder.glob("*.md"))
    return [split_front_matter(path.read_text(encoding="utf-8"))[1] for path in paths]


def paragraphs_of(texts: Sequence[str]) -> list[str]:
    """Returns the paragraphs of documents."""
    return [text[start:end] for text in texts for start, end in split_paragraphs(text)]


# --- A small model of clean text


def train_small_model(
    texts: Sequence[str], folder: Path, shape: TinyModel, steps: int, seed: int = 0
) -> None:
    """Trains a Llama from nothing on one thread and writes it.

    Args:
        texts: what it learns.
        folder: where it goes.
        shape: of the model.
        steps: of 16 sequences of 128 tokens each; 0 leaves it random.
        seed: of weights and order.
    """
    tokenizer = train_tokenizer(texts, shape.vocab_size)
    model: Any = make_tiny_llama(shape, tokenizer, seed)
    ids = [t for text in texts for t in tokenizer(text)["input_ids"]]
    stream = torch.tensor(ids)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            # One cycle: a short warm-up, then down to nothing.
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps)
        starts = torch.randint(0, len(stream) - 129, (16,), generator=generator)
        batch = torch.stack([stream[s : s + 128] for s in starts.tolist()])
        # Half of the rows begin as a paragraph does, behind the beginning-of-text token.
        batch[::2, 0] = tokenizer.bos_token_id
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    save_model(model.eval(), tokenizer, folder)


# --- Corrupted paragraphs


def corrupt(paragraph: str, kind: str, rng: random.Random) -> str:
    """Returns a paragraph with the faults that OCR and wrong encodings leave.

    Args:
        paragraph: clean prose.
        kind: one of :data:`CORRUPTIONS`.
        rng: what is drawn comes from here.
    """
    if kind == "all characters shuffled":
        return "".join(rng.sample(paragraph, len(paragraph)))
    words = paragraph.split()
    if kind == "letters shuffled in words":
        return " ".join("".join(rng.sample(word, len(word))) for word in words)
    if kind == "mojibake":
        # One letter in ten is an accented one, read in the wrong encoding two times.
        accents = dict(zip("aeiouncsAEIO", "áéîöüñçšÁÉÎÖ", strict=True))
        text = "".join(accents.get(c, c) if rng.random() < 0.25 else c for c in paragraph)
        for _ in range(2):
            text = text.encode("utf-8").decode("cp1252", "replace")
        return text
    cells = []
    for word in words:
        if rng.random() < 0.25:
            cells.append(word)
        cells.append(
            rng.choice(["|", "--", "&", f"{rng.uniform(-9, 99):.{rng.randrange(4)}f}", "±"])
        )
    return " ".join(cells)


def auc(low: Sequence[float], high: Sequence[float]) -> float:
    """Returns the chance that a value of ``high`` is above one of ``low``; ties count half."""
    ordered = np.sort(np.asarray(low))
    values = np.asarray(high)
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    return float((below + upto).sum() / (2 * len(ordered) * len(values)))


def ranking(folder: Path, clean: Sequence[str], seed: int = 0) -> dict[str, float]:
    """Returns the AUC of each kind of corruption, and of all together.

    Args:
        folder: of the model.
        clean: paragraphs of clean text; each is also corrupted in every way.
        seed: of the corruption.
    """
    rng = random.Random(seed)
    good = score(folder, clean)
    bad = {kind: score(folder, [corrupt(p, kind, rng) for p in clean]) for kind in CORRUPTIONS}
    found = {kind: auc(good, values) for kind, values in bad.items()}
    return {**found, "all": auc(good, [v for values in bad.values() for v in values])}


# --- Both sides


def score(folder: Path, paragraphs: Sequence[str]) -> list[float]:
    """Returns our perplexities of those paragraphs that have enough tokens."""
    return [v for v in _score(folder, paragraphs)[0] if v is not None]


def _score(
    folder: Path, paragraphs: Sequence[str], dtype: Dtype = "auto"
) -> tuple[list[float | None], dict[str, int], float]:
    config = EngineConfig(kind="transformers", model="bench", dtype=dtype)
    engine = open_engine(config, str(folder))
    # A paragraph of many blank-line parts must stay one: each is its own document, without any.
    documents = [
        Document(f"a:{n}", "a", text=" ".join(p.split())) for n, p in enumerate(paragraphs)
    ]
    table = documents_table(documents)
    started = time.process_time()
    scores, counts = score_paragraphs(table, engine, _MIN_TOKENS)
    return scores["perplexity"].to_pylist(), counts, time.process_time() - started


def one_at_a_time(folder: Path, paragraphs: Sequence[str]) -> tuple[list[float | None], float]:
    """Returns perplexities by plain Hugging Face calls, and seconds without the loading."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.eval()
    limit = model.config.max_position_embeddings
    values: list[float | None] = []
    started = time.process_time()
    with torch.inference_mode():
        for paragraph in paragraphs:
            text = " ".join(paragraph.split())
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=limit).input_ids
            long = ids.shape[1] == limit
            enough = ids.shape[1] > _MIN_TOKENS
            loss = model(input_ids=ids, labels=ids).loss.item() if enough else None
            # A longer one is cut off here: its time counts, its value is not compared.
            values.append(None if long or loss is None else math.exp(loss))
    return values, time.process_time() - started


def compare(
    folder: Path, paragraphs: Sequence[str], repeats: int, dtype: Dtype = "auto"
) -> dict[str, float]:
    """Times both sides in turn on one thread, in seconds of CPU: neighbours do not count."""
    torch.set_num_threads(1)
    ours, peers = [], []
    for _ in range(repeats + 1):
        expected, seconds = one_at_a_time(folder, paragraphs)
        peers.append(seconds)
        found, counts, seconds = _score(folder, paragraphs, dtype)
        ours.append(seconds)
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a and b]
    return {
        "tokens": counts["tokens"],
        "ours": statistics.median(ours[1:]),
        "peer": statistics.median(peers[1:]),
        "ratio": statistics.median(p / o for p, o in zip(peers[1:], ours[1:], strict=True)),
        "padding": counts["padding_tokens"] / counts["forward_tokens"],
        "repeated": counts["repeated_texts"],
        "difference": max(abs(a - b) / b for a, b in pairs),
    }


# --- Memory


def _score_for_memory(folder: str, tokens: int) -> None:
    torch.set_num_threads(1)
    _score(Path(folder), [" ".join(["star"] * n) for n in [400] * (tokens // 400)])


def make_scores(folder: Path, shards: int, rows: int) -> StageContext:
    """Writes made-up scores and their documents as shards; returns the run they lie in."""
    rng = np.random.default_rng(0)
    ctx = StageContext(folder, folder, 0)
    per_document = 100
    for number in range(shards):
        ids = [f"a:{number}-{n}" for n in range(rows // per_document)]
        documents = [Document(i, "a", text="x" * 1000) for i in ids]
        name = shard_name(number)
        write_shard(ctx.folder("corpus.normalize") / name, documents_table(documents))
        columns = {
            "doc_id": np.repeat(ids, per_document),
            "paragraph": np.tile(np.arange(per_document, dtype=np.int32), len(ids)),
            "start_char": np.tile(np.arange(0, 1000, 10), len(ids)),
            "end_char": np.tile(np.arange(0, 1000, 10) + 8, len(ids)),
            "tokens": np.full(rows, 9, dtype=np.int32),
            "perplexity": np.exp(rng.normal(3.5, 1, rows).clip(0)),
        }
        table = pa.table(columns).cast(PARAGRAPH_SCORE)
        write_shard(ctx.folder("corpus.scores") / name, table)
    return ctx


def run_threshold(folder: str) -> None:
    """Runs the threshold stage over :func:`make_scores`."""
    ctx = StageContext(Path(folder), Path(folder), 0)
    stage = ThresholdStage(Perplexity(), "corpus.scores", "corpus.normalize")
    stage.run(ctx, Path(folder) / "out")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=Path, default=SAMPLES)
    parser.add_argument("--paragraphs", type=int, default=600, help="paragraphs scored")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="training steps")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # First: a process's peak is handed down to those that it starts.
        _print_memory(console, folder)
        texts = read_texts(arguments.documents)
        _print_speed(console, folder, paragraphs_of(texts), arguments)
        _print_ranking(console, folder, arguments.steps)


def _print_speed(
    console: Console, folder: Path, paragraphs: list[str], arguments: argparse.Namespace
) -> None:
    chosen = random.Random(0).sample(paragraphs, min(arguments.paragraphs, len(paragraphs)))
    headers = ("model", "tokens", "single, tokens/s", "ours, tokens/s", "ratio", "padding")
    table = Table(*headers, "repeated", "difference", title="one paragraph at a time, and ours")
    cases: list[tuple[str, TinyModel, Dtype]] = [
        ("small, float32", SMALL, "auto"),
        ("larger, float32", LARGER, "auto"),
        ("larger, ours bfloat16", LARGER, "bfloat16"),
    ]
    for name, shape, dtype in cases:
        train_small_model(chosen, folder / name, shape, steps=0)
        found = compare(folder / name, chosen, arguments.repeats, dtype)
        tokens = found["tokens"]
        table.add_row(
            name,
            f"{tokens:,.0f}",
            f"{tokens / found['peer']:,.0f}",
            f"{tokens / found['ours']:,.0f}",
            f"{found['ratio']:.2f}",
            f"{found['padding']:.1%}",
            f"{found['repeated']:.0f}",
            f"{found['difference']:.1e}",
        )
    console.print(table)


def _print_ranking(console: Console, folder: Path, steps: int) -> None:
    texts = read_texts(SAMPLES)
    # Whole documents are held out: every fifth.
    train = [text for n, text in enumerate(texts) if n % 5]
    held = [p for p in paragraphs_of(texts[::5]) if p[0].isalpha() and len(p) > 60]
    started = time.process_time()
    train_small_model(train, folder / "trained", SMALL, steps)
    seconds = time.process_time() - started
    title = f"{len(held)} unseen paragraphs, corrupted; model trained for {seconds:.0f} s"
    table = Table("corruption", "AUC", title=title)
    for kind, value in ranking(folder / "trained", held).items():
        table.add_row(kind, f"{value:.4f}")
    console.print(table)


def _print_memory(console: Console, folder: Path) -> None:
    table = Table("peak memory, MiB", "base", "ten times")
    peak_mib(save_wide_model, folder / "wide")
    calls: list[tuple[str, Callable[..., None], list[tuple[Any, ...]]]] = [
        (
            f"scoring, vocabulary {WIDE_VOCABULARY:,}: 4,000 and 40,000 tokens",
            _score_for_memory,
            [(str(folder / "wide"), 4_000), (str(folder / "wide"), 40_000)],
        )
    ]
    for name, shards in (("one", 2), ("ten", 20)):
        peak_mib(make_scores, folder / name, shards, 100_000)
    threshold = [(str(folder / "one"),), (str(folder / "ten"),)]
    calls.append(("threshold: 200,000 and 2,000,000 paragraphs", run_threshold, threshold))
    for name, call, sizes in calls:
        table.add_row(name, *(f"{peak_mib(call, *size):.0f}" for size in sizes))
    console.print(table)


def save_wide_model(folder: Path) -> None:
    """Writes a thin random model with a vocabulary as large as Llama 3's."""
    texts = read_texts(SAMPLES)
    train_small_model(texts, folder, SMALL, steps=0)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(WIDE_VOCABULARY)
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
