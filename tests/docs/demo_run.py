"""The run ``runs/demo`` that the documents speak of: the sample's notes, packed, asked about.

Made without Ray by the stages' own functions, in about a second.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.recipe.chat import Chat
from core.recipe.judge import Judge
from core.rejects import Reason, Reject
from core.schema import QA_PAIR, QA_SCORED
from core.tokenizer import load_tokenizer
from corpus.documents import Document, documents_table
from corpus.entries import Entry, entries_table
from corpus.tokens import pack_documents
from synth.chat_tokens import pack_conversations
from synth.conversations import conversations_from_pairs
from synth.judge.keep import minimums
from tests.made_run import put_stage

SEQUENCE_TOKENS = 256
NOTES_PER_SHARD = 20
PAPER_ID = "arxiv:0001.00005"


def make_demo_run(run: Path, model: Path, notes: Path) -> None:
    """Writes the stages that commands of the documents look at.

    Args:
        run: where to.
        model: folder of a tiny model with its tokenizer.
        notes: folder of Markdown notes.
    """
    shards = _documents(notes)
    texts = [documents_table(shard) for shard in shards]
    entries = [Entry(d.doc_id, "notes", 0, "markdown", d.meta["file"]) for s in shards for d in s]
    put_stage(run, "corpus.catalog", [entries_table(entries)], row_unit="record")
    put_stage(run, "corpus.ocr", texts, inputs=["corpus.catalog"])
    short = Reject("notes:none", Reason.EMPTY_TEXT, "3 characters, at least 9", "abc")
    put_stage(run, "corpus.normalize", texts, inputs=["corpus.ocr"], rejects=[short])
    put_stage(run, "corpus.decontaminate", texts, inputs=["corpus.normalize"])
    for name in ("train.base", "train.cpt"):
        shutil.copytree(model, run.joinpath(*name.split(".")) / "model")
    put_stage(run, "train.base", inputs=["corpus.normalize"])
    tokenizer = load_tokenizer(str(model))
    packed = [pack_documents(text, tokenizer, SEQUENCE_TOKENS)[0] for text in texts]
    _put_packed(run, "corpus.tokens", packed, ["corpus.decontaminate", "train.base"])
    metrics = [_step(number) for number in range(1, 30)]
    lines = "".join(json.dumps(line) + "\n" for line in metrics)
    (run / "train/cpt/metrics.jsonl").write_text(lines)
    config = {"init": "train.base", "tokens": "corpus.tokens"}
    put_stage(run, "train.cpt", config=config, inputs=["train.base", "corpus.tokens"])
    _put_conversations(run, model, shards[0])


def _documents(notes: Path) -> list[list[Document]]:
    found = [
        Document(
            f"notes:{path.stem}",
            "notes",
            path.stem,
            path.read_text(encoding="utf-8"),
            "CC0-1.0",
            meta={"file": f"samples/astronomy/{path.name}"},
        )
        for path in sorted(notes.glob("*.md"))
    ]
    paper = Document(PAPER_ID, "arxiv", "A paper", found[0].text, "CC0-1.0", meta=found[0].meta)
    found = [paper, *found[1:]]
    return [found[n : n + NOTES_PER_SHARD] for n in range(0, len(found), NOTES_PER_SHARD)]


def _step(number: int) -> dict[str, Any]:
    return {
        "step": number,
        "epoch": number / 30,
        "loss": 7.0 - number / 10,
        "learning_rate": 1e-3 / number,
        "grad_norm": 1.0,
        "update_norm": 0.1,
        "tokens": number * 4096,
    }


def _put_packed(run: Path, name: str, packed: list[Any], inputs: list[str]) -> None:
    config = {"tokenizer": "train.base", "sequence_length": SEQUENCE_TOKENS}
    put_stage(run, name, [p.table for p in packed], config=config, inputs=inputs)


def _pairs(documents: list[Document]) -> list[dict[str, Any]]:
    """Returns a pair per document: its second sentence is the answer."""
    rows = []
    for number, document in enumerate(documents):
        sentence = document.text.split(". ")[1].strip().split("\n")[0]
        start = document.text.index(sentence)
        rows.append(
            {
                "qa_id": f"qa:{number}",
                "doc_id": document.doc_id,
                "chunk_start_char": start,
                "chunk_end_char": start + len(sentence),
                "question": f"What is known about {document.title}?",
                "answer": sentence,
                "model": "rules",
                "prompt_sha256": None,
            }
        )
    return rows


def _judged(row: dict[str, Any], score: int) -> dict[str, Any]:
    scores = {"correctness": score, "stand_alone": 5, "pertinence": 5, "overall": score}
    return {**row, **scores, "judge": "rules", "verdict_text": "", "verdict_prompt_sha256": None}


def _put_conversations(run: Path, model: Path, documents: list[Document]) -> None:
    def put(name: str, rows: pa.Table, inputs: list[str], config: dict[str, Any]) -> None:
        unit = "pair" if rows.schema.names[0] == "qa_id" else "conversation"
        put_stage(run, name, [rows], config=config, inputs=inputs, row_unit=unit)

    pairs = _pairs(documents)
    judge = Judge.model_validate({"engine": {"kind": "rules"}})
    settings = judge.model_dump(mode="json")
    scored = [_judged(row, 5 - number % 3) for number, row in enumerate(pairs)]
    judged = pa.Table.from_pylist(scored, schema=QA_SCORED)
    kept = pa.Table.from_pylist([r for r in scored if r["overall"] == 5], schema=QA_SCORED)
    rule = {"by": judge.keep.by, "least": minimums(judge.keep, judge.scale)}
    talks = conversations_from_pairs(kept.select(QA_PAIR.names), None)
    chat = Chat(sequence_length=SEQUENCE_TOKENS)
    packed = pack_conversations(talks, load_tokenizer(str(model)), chat)[0]
    template = {"tokenizer": "train.base", **chat.model_dump(exclude={"system_prompt"})}
    asked = pa.Table.from_pylist(pairs, schema=QA_PAIR)
    put("synth.qa", asked, ["corpus.decontaminate"], {"engine": {"kind": "rules"}})
    put("synth.judge", judged, ["synth.qa"], settings)
    put("synth.judge_second", judged, ["synth.qa"], settings)
    put("synth.pairs", kept, ["synth.judge"], rule)
    put("synth.conversations", talks, ["synth.pairs"], {})
    put("synth.sft_tokens", packed.table, ["synth.conversations", "train.base"], template)
