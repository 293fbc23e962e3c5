"""A small finished run, made without Ray: documents with pages, packed, asked about, a model."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.hashing import sha256_file, sha256_text
from core.llm import Engine, GenerateRequest, Generation, Score, ScoreRequest
from core.llm.cache import RequestLog, cached_generate, prompt_digest
from core.manifest import FileEntry, Manifest
from core.recipe.chat import Chat
from core.recipe.engine import Sampling
from core.rejects import Reason, Reject, rejects_table
from core.schema import QA_PAIR, QA_SCORED
from core.shards import shard_name, write_shard
from core.tokenizer import load_tokenizer
from corpus.documents import Document, documents_table
from corpus.entries import Entry, entries_table
from corpus.tokens import pack_documents
from synth.chat_tokens import pack_conversations
from synth.conversations import conversations_from_pairs

SEQUENCE_TOKENS = 64

PAGES = (
    "# Rings\n\nSaturn has rings of water ice, and Titan is its largest moon.",
    "Élise measured α Centauri at 4.37 light-years. 🎉 Its light is old.",
    "A question and its answer: who? He. Jupiter is the largest planet.",
)
PAPER = "\n\n".join(PAGES)
ARTICLE = "Jupiter is the largest planet in the Solar System. Its radius is 69,911 km. " * 3
NOTE = "Titan | has <lakes>. $a$ and $b$ are numbers. It says <|end_of_text|> here."
NOTICE = "From the Wikipedia article Jupiter by its authors; licence CC-BY-SA-4.0"


ASKED = GenerateRequest(({"role": "user", "content": "Write pairs about Saturn's rings."},))
JUDGED = GenerateRequest(prompt="Question: What has rings?\nAnswer: Saturn has.\nScore: [")


class Answers(Engine):
    """A model that says the same to everything."""

    label = "a-model"

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        return [Generation("5, 5, 4, 5]", "stop") for _ in requests]

    def score(self, requests: Sequence[ScoreRequest]) -> list[Score]:
        return [Score(())] * len(requests)


def page_spans() -> list[dict[str, Any]]:
    """The pages of :data:`PAPER`, which is their text joined by blank lines."""
    spans, start = [], 0
    for number, text in enumerate(PAGES, 1):
        end = start + len(text)
        spans.append(
            {
                "page": number,
                "start_char": start,
                "end_char": end,
                "method": "nougat" if number == 2 else "textlayer",
                "quality": 0.5 if number == 2 else 1.0,
            }
        )
        start = end + 2
    return spans


def documents() -> list[pa.Table]:
    """Two shards of documents, each document of another source and licence."""
    paper = Document(
        "arxiv:1",
        "arxiv",
        "Rings and α Centauri",
        PAPER,
        "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        date(2009, 3, 16),
        "https://arxiv.org/abs/1",
        {"file": "pdf/1.pdf", "sha256": "ab12"},
        page_spans(),
    )
    article = Document(
        "wikipedia:en:736",
        "wikipedia",
        "Jupiter",
        ARTICLE,
        "CC-BY-SA-4.0",
        date(2024, 1, 2),
        "https://en.wikipedia.org/w/index.php?title=Jupiter&oldid=7",
        {"notice": NOTICE, "language": "en"},
    )
    note = Document("notes:1", "notes|a\nb", None, NOTE, meta={"file": "notes/titan.md"})
    return [documents_table([paper]), documents_table([article, note])]


def put_stage(
    run: Path,
    name: str,
    tables: Sequence[pa.Table] = (),
    *,
    config: dict[str, Any] | None = None,
    inputs: Sequence[str] = (),
    rejects: Sequence[Reject] = (),
    metrics: dict[str, Any] | None = None,
    row_unit: str = "document",
    row_group_rows: int = 1,
) -> Path:
    """Writes a finished stage; files that are in its folder already are part of it."""
    folder = run.joinpath(*name.split("."))
    rows: dict[str, int] = {}
    for number, table in enumerate(tables):
        write_shard(folder / shard_name(number), table, row_group_rows)
        rows[shard_name(number)] = table.num_rows
    if rejects:
        write_shard(folder / "rejects" / shard_name(0), rejects_table(name, rejects))
        rows[f"rejects/{shard_name(0)}"] = len(rejects)
    files = [
        FileEntry(n, path.stat().st_size, sha256_file(path), rows.get(n))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (n := path.relative_to(folder).as_posix())
    ]
    before = {n: require(run, n) for n in inputs}
    kept = sum(table.num_rows for table in tables)
    manifest = Manifest(
        stage=name,
        code_version=1,
        config=config or {},
        seed=7,
        inputs={n: m.fingerprint for n, m in before.items()},
        input_digests={n: m.digest for n, m in before.items()},
        sources_digest="s",
        fingerprint=sha256_text(name),
        key="k",
        files=files,
        row_unit=row_unit,
        rows_in=kept + len(rejects),
        rows_out=kept,
        rows_rejected=len(rejects),
        rejects=dict(Counter(r.reason.value for r in rejects)),
        metrics=metrics or {},
    )
    manifest.save(folder)
    return folder


def require(run: Path, name: str) -> Manifest:
    """The manifest of a stage of the run."""
    return Manifest.require(run.joinpath(*name.split(".")), name)


def make_corpus(run: Path) -> None:
    """Writes the stages up to ``corpus.normalize``."""
    entries = [Entry("arxiv:1", "arxiv", 0, "pdf", "pdf/1.pdf")]
    refused = Reject("arxiv:2", Reason.EXCLUDED_LICENSE, "no licence", None)
    put_stage(run, "corpus.catalog", [entries_table(entries)], rejects=[refused], row_unit="record")
    ocr = {"backend": "nougat", "max_pages": 5}
    metrics = {"pages_nougat": 1, "pages_textlayer": 2, "pdf_pages": 3}
    put_stage(
        run, "corpus.ocr", documents(), config=ocr, inputs=["corpus.catalog"], metrics=metrics
    )
    short = Reject("notes:2", Reason.EMPTY_TEXT, "3 characters, at least 9", "abc")
    put_stage(
        run,
        "corpus.normalize",
        documents(),
        config={"min_chars": 9},
        inputs=["corpus.ocr"],
        rejects=[short],
    )


def make_run(run: Path, model: Path) -> None:
    """Writes the stages up to ``synth.sft_tokens`` and ``train.cpt``.

    Args:
        run: where to.
        model: folder of a tiny model with its tokenizer.
    """
    make_corpus(run)
    for name in ("train.base", "train.cpt"):
        shutil.copytree(model, run.joinpath(*name.split(".")) / "model")
    put_stage(run, "train.base", inputs=["corpus.normalize"], row_unit="document")
    tokenizer = load_tokenizer(str(model))
    packed = [pack_documents(t, tokenizer, SEQUENCE_TOKENS)[0] for t in documents()]
    config = {"tokenizer": "train.base", "sequence_length": SEQUENCE_TOKENS}
    inputs = ["corpus.normalize", "train.base"]
    put_stage(run, "corpus.tokens", [p.table for p in packed], config=config, inputs=inputs)
    (run / "train/cpt/metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 2.5}) + "\n")
    put_stage(
        run,
        "train.cpt",
        config={"init": "train.base", "tokens": "corpus.tokens"},
        inputs=["train.base", "corpus.tokens"],
        metrics={"steps": 1, "last_loss": 2.5},
        row_unit="sequence",
    )
    _make_conversations(run, model)


def _make_conversations(run: Path, model: Path) -> None:
    start = PAPER.index("Saturn")
    end = start + len("Saturn has rings of water ice")
    pair = {
        "qa_id": "qa:1",
        "doc_id": "arxiv:1",
        "chunk_start_char": start,
        "chunk_end_char": end,
        "question": "What has rings?",
        "answer": "Saturn has.",
        "model": "a-model",
        "prompt_sha256": prompt_digest(ASKED),
    }
    pairs = pa.Table.from_pylist([pair], schema=QA_PAIR)
    put_stage(
        run,
        "synth.qa",
        [pairs],
        config={"engine": {"kind": "openai", "model": "a-model"}},
        inputs=["corpus.normalize"],
        row_unit="pair",
    )
    verdict = {
        "correctness": 5,
        "stand_alone": 5,
        "pertinence": 4,
        "overall": 5,
        "judge": "a-judge",
        "verdict_text": "5, 5, 4, 5]",
        "verdict_prompt_sha256": prompt_digest(JUDGED),
    }
    judged = pa.Table.from_pylist([pair | verdict], schema=QA_SCORED)
    put_stage(run, "synth.judge", [judged], inputs=["synth.qa"], row_unit="pair")
    for stage, request in (("synth.qa", ASKED), ("synth.judge", JUDGED)):
        with RequestLog(run / "cache" / "llm" / stage / "00000.jsonl") as log:
            cached_generate(Answers(), Sampling(), [request], log)
    talks = conversations_from_pairs(pairs, None)
    put_stage(run, "synth.conversations", [talks], inputs=["synth.judge"], row_unit="conversation")
    chat = Chat(sequence_length=SEQUENCE_TOKENS * 4)
    packed = pack_conversations(talks, load_tokenizer(str(model)), chat)[0]
    put_stage(
        run,
        "synth.sft_tokens",
        [packed.table],
        config={"tokenizer": "train.base", **chat.model_dump(exclude={"system_prompt"})},
        inputs=["synth.conversations", "train.base"],
        row_unit="conversation",
    )
