"""Dedup, step 1 (map): what each document says, in a few hundred bytes.

One row per document, in the documents' order: a hash of its text, its MinHash signature, and,
where the recipe asks, a hash per paragraph. The later steps read these and never the texts.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import rensa

from core.minhash.shingles import shingle_hashes, signature
from core.paragraphs import Span, split_paragraphs
from core.recipe.dedup import Dedup
from core.stage import ShardResult, ShardStage, StageContext, Unit

TEXT_HASH_BYTES = 16


def signature_schema(slots: int) -> pa.Schema:
    """Returns the schema of signatures of ``slots`` numbers (little-endian, 4 bytes each)."""
    return pa.schema(
        [
            pa.field("doc_id", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            ("chars", pa.int64()),
            ("text_hash", pa.binary(TEXT_HASH_BYTES)),
            ("signature", pa.binary(4 * slots)),
            ("paragraph_hashes", pa.list_(pa.uint64())),
        ]
    )


def text_hash(text: str) -> bytes:
    """Returns a 128-bit hash of the text, its white space made uniform."""
    return blake2b(_plain(text), digest_size=TEXT_HASH_BYTES).digest()


def long_paragraphs(text: str, min_chars: int) -> list[Span]:
    """Returns the (start, end) of the paragraphs of at least ``min_chars`` characters."""
    return [span for span in split_paragraphs(text) if span[1] - span[0] >= min_chars]


def paragraph_hashes(text: str, min_chars: int) -> list[int]:
    """Returns a 64-bit hash of each of the :func:`long_paragraphs`, white space made uniform.

    Of 100 million paragraphs, two different ones share a hash with a chance of 1 in 4,000.
    """
    return [
        int.from_bytes(blake2b(_plain(text[start:end]), digest_size=8).digest(), "little")
        for start, end in long_paragraphs(text, min_chars)
    ]


def _plain(text: str) -> bytes:
    return " ".join(text.split()).encode("utf-8", "surrogatepass")


def sign_documents(documents: pa.Table, dedup: Dedup) -> pa.Table:
    """Returns a row of :func:`signature_schema` per document.

    A document without a single word has no signature: it resembles nothing.
    """
    rows = []
    for row in documents.select(["doc_id", "source", "text"]).to_pylist():
        text = row.pop("text") or ""
        row |= {"chars": len(text), "text_hash": text_hash(text)}
        if dedup.similarity is not None:
            hashes = shingle_hashes(text, dedup.shingle_words)
            if len(hashes):
                row["signature"] = signature(hashes, dedup.slots).astype("<u4").tobytes()
        if dedup.paragraphs is not None:
            hashes_64 = paragraph_hashes(text, dedup.paragraphs.min_chars)
            row["paragraph_hashes"] = np.array(hashes_64, dtype=np.uint64)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=signature_schema(dedup.slots))


class DedupSignaturesStage(ShardStage):
    """Hashes and signatures of documents."""

    name = "corpus.dedup_signatures"
    description = "What is compared to find duplicates: hashes and MinHash signatures."

    def __init__(self, dedup: Dedup, documents: str) -> None:
        self.inputs = self.aligned = (documents,)
        self.schema = signature_schema(dedup.slots)
        self._dedup = dedup

    def config(self) -> dict[str, Any]:
        """Returns what the signatures depend on, and the version of their algorithm."""
        values = self._dedup.model_dump(mode="json", exclude={"priority", "similarity"})
        # Any threshold takes the same signatures; moving it signs nothing again.
        values["signed"] = self._dedup.similarity is not None
        return {**values, "minhash_version": int(rensa.RMinHash.ALGORITHM_VERSION)}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Signs one shard."""
        (documents,) = self.read(unit, ctx)
        table = sign_documents(documents, self._dedup)
        return ShardResult(table, rows_in=documents.num_rows)
