"""Conversations: from question-answer pairs, and from files of instruction data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.chat import BadTurnsError, check_turns
from core.hashing import sha256_value
from core.recipe.instruct import Instruct
from core.rejects import Reason, Reject
from core.schema import CONVERSATION
from core.sources import SourceIndex, find_files
from core.stage import ShardResult, ShardStage, StageContext, Unit


def conversations_from_pairs(pairs: pa.Table, system_prompt: str | None) -> pa.Table:
    """Returns one conversation per pair: question from the user, answer from the assistant."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    rows = [
        {
            "conv_id": pair["qa_id"],
            "dataset": "qa",
            "messages": [
                *system,
                {"role": "user", "content": pair["question"]},
                {"role": "assistant", "content": pair["answer"]},
            ],
            "reasoning": False,
            "doc_ids": [pair["doc_id"]],
        }
        for pair in pairs.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=CONVERSATION)


def read_conversations(path: Path, name: str) -> tuple[pa.Table, list[Reject]]:
    """Reads a JSON-lines file of ``messages``; lines that do not hold one are rejects.

    Args:
        path: the file.
        name: what the ``dataset`` column and fallback ids say.
    """
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        place = f"{name}:{number}"
        if not raw.strip():
            continue
        row, reject = _read_line(raw, place, name)
        if row is not None and row["conv_id"] in seen:
            reject = Reject(row["conv_id"], Reason.DUPLICATE_ID, place, _shown(raw))
        if reject is not None:
            rejects.append(reject)
        elif row is not None:
            seen.add(row["conv_id"])
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=CONVERSATION), rejects


def _read_line(raw: bytes, place: str, name: str) -> tuple[dict[str, Any] | None, Reject | None]:
    try:
        record = json.loads(raw)
        messages = [{"role": m["role"], "content": m["content"]} for m in record["messages"]]
        conv_id = str(record.get("conv_id") or place)
        # JSON may escape half of a surrogate pair, which no UTF-8 text can hold.
        json.dumps([conv_id, messages], ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        return None, Reject(place, Reason.INVALID_UTF8, str(error), _shown(raw))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        detail = f"{type(error).__name__}: {error}"
        return None, Reject(place, Reason.MALFORMED_RECORD, detail, _shown(raw))
    try:
        check_turns(messages)
    except BadTurnsError as error:
        return None, Reject(place, Reason.BAD_TURNS, str(error), _shown(raw))
    row = {
        "conv_id": conv_id,
        "dataset": name,
        "messages": messages,
        "reasoning": False,
        "doc_ids": [],
    }
    return row, None


def _shown(raw: bytes) -> str:
    return raw[:4000].decode("utf-8", "backslashreplace")


class QaConversationsStage(ShardStage):
    """Pairs to conversations."""

    name = "synth.conversations"
    description = "One conversation per question-answer pair."
    row_unit = "conversation"
    schema = CONVERSATION

    def __init__(self, pairs: str, system_prompt: str | None) -> None:
        self.inputs = self.aligned = (pairs,)
        self._system_prompt = system_prompt

    def config(self) -> dict[str, Any]:
        """Returns the system prompt."""
        return {"system_prompt": self._system_prompt}

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Renders one shard of pairs."""
        (pairs,) = self.read(unit, ctx)
        return ShardResult(conversations_from_pairs(pairs, self._system_prompt), [], pairs.num_rows)


class InstructStage(ShardStage):
    """Instruction files to conversations, one shard per file."""

    name = "synth.instruct"
    description = "General instruction conversations read from files."
    row_unit = "conversation"
    schema = CONVERSATION

    def __init__(self, instruct: Instruct) -> None:
        self._paths = instruct.paths

    def config(self) -> dict[str, Any]:
        """Returns the paths."""
        return {"paths": self._paths}

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the instruction files."""
        return find_files(ctx.root, self._paths, (".jsonl",), "synth.instruct.paths")

    def plan(self, ctx: StageContext, sources: SourceIndex) -> list[Unit]:
        """Returns one unit per file."""
        hashes = sources.hashes(self.source_files(ctx))
        return [
            Unit(index, {"file": name}, sha256_value([name, sha256]))
            for index, (name, sha256) in enumerate(hashes.items())
        ]

    def process(self, unit: Unit, ctx: StageContext) -> ShardResult:
        """Reads one file."""
        name = unit.payload["file"]
        kept, rejects = read_conversations(ctx.path(name), Path(name).stem)
        return ShardResult(kept, rejects, kept.num_rows + len(rejects))
