"""Conversations from question-answer pairs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from core.schema import CONVERSATION
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
