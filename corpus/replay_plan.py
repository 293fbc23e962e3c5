"""Which general text each epoch sees: documents in a seeded order, cut at the epochs' budgets.

::

    key   0                                                                   2**64
          |--epoch 0--|--epoch 1--|-2.5|........... never read again ...........|
          |part|part  |part|part  |part|

A document's key is a hash of the seed and its id, which is the hash of its text. So the order is a
random one, the same however the documents lie in files; the same text twice has the same key; and
the documents of an epoch are those with keys in a range. Epochs are disjoint because ranges are.

How long a range must be follows from the documents' bytes, and the tokens per byte of the
:data:`SAMPLE_DOCUMENTS` documents with the smallest keys, a random sample. No other document is
tokenized before it is known to be needed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.stage import StageContext

PLAN_NAME = "plan.json"
KEYS_AT_ONCE = 1 << 16
SAMPLE_DOCUMENTS = 1024

PART_TOKENS = 1 << 24
"""Tokens of one shard of sequences, about."""

INDEX = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        ("sample_bytes", pa.int64()),
        ("sample_tokens", pa.int64()),
    ]
)
"""A document of general text: its place in the order and its length; of the first documents of
each shard also how many tokens the beginning of the text has.
"""

_BINS = 1 << 16
_BIN_SHIFT = np.uint64(48)

Keys = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


def text_id(name: str, text: bytes) -> str:
    """Returns a document's id: the hash of its text, so that the same text is the same document."""
    return f"{name}:{hashlib.sha256(text).hexdigest()[:32]}"


def replay_key(seed: int, doc_id: str) -> int:
    """Returns a document's place in the seeded order of all documents, from 0 to 2**64 - 1."""
    digest = hashlib.sha256(f"{seed}\n{doc_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True)
class Part:
    """A range of keys that makes one shard of an epoch's sequences.

    Args:
        epoch: 0 for the first.
        first: smallest key, as 16 hex digits.
        last: largest key, as 16 hex digits.
        documents: in the range, each text counted once.
        tokens: they have, estimated.
    """

    epoch: int
    first: str
    last: str
    documents: int
    tokens: int


@dataclass(frozen=True)
class Plan:
    """The parts of all epochs in order, and what they were made from."""

    parts: list[Part]
    tokens_per_byte: float
    budget_tokens: list[int]
    documents: int
    """Of general text in all, the same text twice counted twice."""
    bytes: int
    passes: float
    """Needed over the text there is; above 1 some of it comes again."""

    def to_json(self) -> dict[str, Any]:
        """Returns the plan as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """Returns the plan that :meth:`to_json` made."""
        return cls(**{**value, "parts": [Part(**part) for part in value["parts"]]})


def load_plan(ctx: StageContext, stage: str) -> Plan:
    """Returns the plan that a stage wrote."""
    return Plan.from_json(json.loads((ctx.folder(stage) / PLAN_NAME).read_text("utf-8")))


def hex_key(key: int) -> str:
    """Returns a key as text; JSON numbers are too small for it."""
    return f"{key:016x}"


def epoch_budgets(corpus_tokens: int, share: float, epochs: float) -> list[int]:
    """Returns the replay tokens of each epoch, fewer for a last epoch that is a fraction.

    Args:
        corpus_tokens: that an epoch has without replay.
        share: of replay among all tokens.
        epochs: of the training run.
    """
    whole = corpus_tokens * share / (1 - share)
    # 2.9999999999 epochs are three, as in the trainer.
    count = max(1, math.ceil(epochs - 1e-9))
    return [round(whole * min(1.0, epochs - number)) for number in range(count)]


@dataclass(frozen=True)
class Survey:
    """What is known before any key is kept.

    Args:
        documents: rows of the index; the same text twice counts twice.
        bytes: of their texts.
        bin_bytes: the same by the first 16 bits of the key.
        sample_bytes: of the sample of distinct documents with the smallest keys.
        sample_tokens: of the same.
    """

    documents: int
    bytes: int
    bin_bytes: Counts
    sample_bytes: int
    sample_tokens: int


def survey(batches: Iterable[pa.RecordBatch]) -> Survey:
    """Reads an index once; memory does not grow with it."""
    documents = 0
    bin_bytes = np.zeros(_BINS, dtype=np.int64)
    sample: dict[int, tuple[int, int]] = {}
    for batch in batches:
        keys, sizes = _columns(batch)
        documents += len(keys)
        bins = (keys >> _BIN_SHIFT).astype(np.int64)
        # As floats, which hold whole numbers up to 2**53 exactly.
        bin_bytes += np.bincount(bins, weights=sizes, minlength=_BINS).astype(np.int64)
        sampled = batch.filter(batch.column("sample_tokens").is_valid()).to_pylist()
        sample.update((r["key"], (r["sample_bytes"], r["sample_tokens"])) for r in sampled)
        if len(sample) > 4 * SAMPLE_DOCUMENTS:
            sample = _smallest(sample)
    pairs = list(_smallest(sample).values())
    return Survey(
        documents=documents,
        bytes=int(bin_bytes.sum()),
        bin_bytes=bin_bytes,
        sample_bytes=sum(size for size, _ in pairs),
        sample_tokens=sum(tokens for _, tokens in pairs),
    )


def _smallest(sample: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    return {key: sample[key] for key in sorted(sample)[:SAMPLE_DOCUMENTS]}


def _columns(batch: pa.RecordBatch) -> tuple[Keys, Counts]:
    return batch.column("key").to_numpy(), batch.column("bytes").to_numpy()


class Order:
    """Documents by key with their tokens, estimated. The order starts over at its end."""

    def __init__(self, keys: Keys, sizes: Counts, found: Survey, special_tokens: int) -> None:
        """Sorts the documents; the same key twice counts once.

        Args:
            keys: of documents, in any order.
            sizes: their bytes.
            found: with the sample that tells tokens from bytes.
            special_tokens: around each document.
        """
        self.keys, first = np.unique(keys, return_index=True)
        # Whole numbers: a sum of floats depends on the order of its terms.
        tokens = sizes[first] * found.sample_tokens // max(1, found.sample_bytes) + special_tokens
        self._ends: Counts = np.concatenate([[0], np.cumsum(tokens)])
        self._middles = self._ends[1:] + self._ends[:-1]  # doubled, so still whole

    @property
    def tokens(self) -> int:
        """Of all documents."""
        return int(self._ends[-1])

    def documents(self, tokens: int) -> int:
        """Returns how many documents come nearest to a number of tokens, repeats counted."""
        laps, rest = divmod(tokens, self.tokens)
        return laps * len(self.keys) + int(np.searchsorted(self._middles, 2 * rest))

    def parts(self, epoch: int, start: int, end: int) -> Iterator[Part]:
        """Yields the parts of an epoch made of the documents ``start`` to ``end`` of the order."""
        while start < end:
            low = start % len(self.keys)
            # A part never leads over the end of the order: its keys are one range.
            high = min(len(self.keys), low + end - start)
            yield from self._split(epoch, low, high)
            start += high - low

    def _split(self, epoch: int, low: int, high: int) -> Iterator[Part]:
        first, last = int(self._ends[low]), int(self._ends[high])
        number = max(1, round((last - first) / PART_TOKENS))
        goals = [first + (last - first) * index // number for index in range(1, number)]
        inner = np.searchsorted(self._ends, goals).tolist()
        cuts = sorted({low, *(cut for cut in inner if low < cut < high), high})
        for a, b in pairwise(cuts):
            yield Part(
                epoch=epoch,
                first=hex_key(int(self.keys[a])),
                last=hex_key(int(self.keys[b - 1])),
                documents=b - a,
                tokens=int(self._ends[b] - self._ends[a]),
            )


def load_order(
    batches: Callable[[], Iterable[pa.RecordBatch]],
    found: Survey,
    budgets: Sequence[int],
    special_tokens: int,
) -> Order:
    """Returns the order as far as the budgets reach, or all of it where it is shorter.

    Args:
        batches: reads the index; called again when the same text twice left too little.
        found: from :func:`survey`.
        budgets: tokens of the epochs.
        special_tokens: around each document.
    """
    tokens = sum(budgets)
    needed_bytes = tokens * found.sample_bytes // max(1, found.sample_tokens)
    while True:
        bins = int(np.searchsorted(np.cumsum(found.bin_bytes), needed_bytes, side="right")) + 1
        kept = [_below(batch, bins) for batch in batches()]
        keys = np.concatenate([k for k, _ in kept])
        order = Order(keys, np.concatenate([s for _, s in kept]), found, special_tokens)
        enough = order.tokens > tokens and len(order.keys) > _last(order, budgets)
        if bins >= _BINS or enough:
            return order
        needed_bytes = needed_bytes * 5 // 4 + 1


def _below(batch: pa.RecordBatch, bins: int) -> tuple[Keys, Counts]:
    keys, sizes = _columns(batch)
    inside = (keys >> _BIN_SHIFT) < bins
    return keys[inside], sizes[inside]


def _last(order: Order, budgets: Sequence[int]) -> int:
    # Each epoch gets one document at least.
    return order.documents(sum(budgets)) + len(budgets)


def plan_epochs(order: Order, budgets: Sequence[int]) -> list[Part]:
    """Returns the parts of all epochs; each epoch gets one document at least."""
    parts: list[Part] = []
    start = tokens = 0
    for epoch, budget in enumerate(budgets):
        tokens += budget
        end = max(start + 1, order.documents(tokens))
        parts += order.parts(epoch, start, end)
        start = end
    return parts
