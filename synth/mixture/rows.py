"""Mixture, step 1 (map): what each conversation says, in a few hundred bytes.

One row per conversation, in the order of the input stages and their shards. The plan reads these
and never the conversations.

Duplicates are found by what user and assistant say: the question with its answer. System prompts do
not count: one that thousands share would make short conversations alike, and training under two
prompts on the same answer is training on it twice. The answer counts since sets rightly hold the
same question more than once, answered with and without reasoning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import rensa

from core.contamination import ContaminationIndex
from core.contamination_files import load_index
from core.hashing import sha256_value
from core.manifest import Manifest
from core.minhash.shingles import shingle_hashes, signature
from core.overlap import Rules
from core.recipe.mixture import Mixture
from core.shards import read_shard
from core.sources import SourceIndex
from core.stage import STAGE_PREFIXES, ShardResult, ShardStage, StageContext, Unit
from core.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenCounter = Callable[[Sequence[str]], list[int]]
Messages = list[dict[str, str]]

HASH_BYTES = 16
_BATCH_ROWS = 512


def row_schema(slots: int) -> pa.Schema:
    """Returns the schema of a conversation's row, with signatures of ``slots`` numbers.

    ``key`` orders the rows of a set at random, the same for a conversation whatever else there is;
    ``id_hash`` is of the id alone; ``said_hash`` of what user and assistant say; ``bytes`` and
    ``tokens`` are of all contents, system prompts included, chat markup not; ``contaminated`` says
    which benchmark items it holds.
    """
    return pa.schema(
        [
            pa.field("conv_id", pa.string(), nullable=False),
            pa.field("dataset", pa.string(), nullable=False),
            pa.field("key", pa.uint64(), nullable=False),
            pa.field("id_hash", pa.uint64(), nullable=False),
            pa.field("said_hash", pa.binary(HASH_BYTES), nullable=False),
            ("signature", pa.binary(4 * slots)),
            ("bytes", pa.int64()),
            ("tokens", pa.int64()),
            ("contaminated", pa.list_(pa.string())),
        ]
    )


def said_text(messages: Messages) -> str:
    """Returns what user and assistant say."""
    return "\n\n".join(m["content"] for m in messages if m["role"] != "system")


def said_hash(messages: Messages) -> bytes:
    """Returns a 128-bit hash of who says what, white space made uniform, system prompts left out.

    Of 100 million conversations, two different ones share a hash with a chance of 1 in 10^22.
    """
    turns = [f"{m['role']}\0{' '.join(m['content'].split())}" for m in messages]
    said = "\0\0".join(turn for turn in turns if not turn.startswith("system\0"))
    return blake2b(said.encode(), digest_size=HASH_BYTES).digest()


def items_held(messages: Messages, index: ContaminationIndex) -> list[str]:
    """Returns the benchmark items a conversation holds, as ``astro:12 (9 words of the question)``.

    Each thing a user says is looked at with the answer to it: the answer to a question is where
    its choices may stand.
    """
    found: dict[str, str] = {}
    turns = [m for m in messages if m["role"] != "system"]
    for at in range(0, len(turns), 2):
        asked = turns[at]["content"]
        answer = turns[at + 1]["content"] if at + 1 < len(turns) else ""
        for match in index.find_pair(asked, answer):
            item = f"{match.benchmark}:{match.item_id}"
            found.setdefault(item, f"{item} ({match.words} words of the {match.part})")
    return list(found.values())


def describe_conversations(
    conversations: pa.Table,
    section: Mixture,
    seed: int,
    count_tokens: TokenCounter,
    index: ContaminationIndex | None,
) -> pa.Table:
    """Returns a row of :func:`row_schema` per conversation.

    A conversation without a single word has no signature: it resembles nothing.
    """
    schema = row_schema(section.slots)
    parts = [schema.empty_table()]
    for batch in conversations.select(["conv_id", "dataset", "messages"]).to_batches(_BATCH_ROWS):
        rows: list[dict[str, Any]] = batch.to_pylist()
        contents = [m["content"] for row in rows for m in row["messages"]]
        counts = iter(count_tokens(contents))
        for row in rows:
            messages = row.pop("messages")
            row["dataset"] = row["dataset"] or ""
            row["key"] = _hash64(seed, row["dataset"], row["conv_id"])
            row["id_hash"] = _hash64(row["conv_id"])
            row["said_hash"] = said_hash(messages)
            row["bytes"] = sum(len(m["content"].encode()) for m in messages)
            row["tokens"] = sum(next(counts) for _ in messages)
            row["contaminated"] = items_held(messages, index) if index else []
            if section.similarity is not None:
                hashes = shingle_hashes(said_text(messages), section.shingle_words)
                if len(hashes):
                    row["signature"] = signature(hashes, section.slots).astype("<u4").tobytes()
        parts.append(pa.Table.from_pylist(rows, schema=schema))
    return pa.concat_tables(parts)


def _hash64(*values: object) -> int:
    said = "\0".join(str(value) for value in values)
    return int.from_bytes(blake2b(said.encode(), digest_size=8).digest(), "little")


def token_counter(tokenizer: PreTrainedTokenizerBase) -> TokenCounter:
    """Returns what counts the tokens of texts, without any that a tokenizer adds."""
    fast: Any = tokenizer  # only fast tokenizers have a backend

    def count(texts: Sequence[str]) -> list[int]:
        encoded = fast.backend_tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(each) for each in encoded]

    return count


def input_shards(ctx: StageContext, inputs: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yields (stage, shard name, content hash) of all input shards, in their order."""
    for name in inputs:
        for file in Manifest.require(ctx.folder(name), name).shards:
            yield name, file.name, file.sha256


class MixtureRowsStage(ShardStage):
    """What is known of conversations."""

    name = "synth.mixture_rows"
    description = "Per conversation: hashes, MinHash signature, size, and benchmark items in it."
    row_unit = "conversation"

    def __init__(
        self,
        section: Mixture,
        inputs: tuple[str, ...],
        tokenizer: str,
        benchmarks: dict[str, str],
        rules: Rules,
    ) -> None:
        """Makes the stage.

        Args:
            section: the recipe section.
            inputs: stages whose rows are conversations.
            tokenizer: train stage or model folder whose tokenizer counts.
            benchmarks: name to path of the questions that must not be trained on.
            rules: what counts as an overlap with them.
        """
        self.inputs = inputs
        if tokenizer.startswith(STAGE_PREFIXES):
            self.inputs += (tokenizer,)
        self.schema = row_schema(section.slots)
        self._section = section
        self._conversations = inputs
        self._tokenizer = tokenizer
        self._benchmarks = benchmarks
        self._rules = rules

    def config(self) -> dict[str, Any]:
        """Returns what the rows depend on, and the version of the signatures' algorithm."""
        return {
            # Any threshold takes the same signatures; moving it signs nothing again.
            "signed": self._section.similarity is not None,
            **self._section.model_dump(mode="json", include={"shingle_words", "slots"}),
            "tokenizer": self._tokenizer,
            "benchmarks": self._benchmarks,
            "rules": asdict(self._rules),
            "minhash_version": int(rensa.RMinHash.ALGORITHM_VERSION),
        }

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the benchmark files, and those of a tokenizer that is the user's own."""
        files = [ctx.path(path) for path in self._benchmarks.values()]
        return files + ctx.model_files(self._tokenizer)

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns a unit per shard of the input stages."""
        side = [sources.digest(self.source_files(ctx))]
        side += [
            Manifest.require(ctx.folder(name), name).digest
            for name in self.inputs
            if name not in self._conversations
        ]
        return [
            Unit(index, {"stage": stage, "shard": shard}, sha256_value([stage, sha256, side]))
            for index, (stage, shard, sha256) in enumerate(input_shards(ctx, self._conversations))
        ]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Describes one shard."""
        path = ctx.folder(unit.payload["stage"]) / unit.payload["shard"]
        conversations = read_shard(path, ["conv_id", "dataset", "messages"])
        index = None
        if self._benchmarks:
            index = load_index(ctx.root, self._benchmarks, self._rules)
        counter = token_counter(load_tokenizer(ctx.model_path(self._tokenizer)))
        table = describe_conversations(conversations, self._section, ctx.seed, counter, index)
        hit = sum(1 for items in table["contaminated"].to_pylist() if items)
        return ShardResult(
            table, rows_in=conversations.num_rows, metrics={"conversations_with_items": hit}
        )
