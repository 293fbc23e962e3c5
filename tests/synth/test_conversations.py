from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from core.schema import CONVERSATION, QA_PAIR
from core.stage import StageContext, Unit
from synth.conversations import QaConversationsStage, conversations_from_pairs

PutShard = Callable[[str, pa.Table], Unit]

USER = {"role": "user", "content": "What is Jupiter?"}
ASSISTANT = {"role": "assistant", "content": "A planet."}
SYSTEM = {"role": "system", "content": "Be brief."}
PAIRS = pa.Table.from_pylist(
    [
        {"qa_id": "qa:1", "doc_id": "a:1", "question": "What is Jupiter?", "answer": "A planet."},
        {"qa_id": "qa:2", "doc_id": "a:2", "question": "What is Titan?", "answer": "A moon."},
    ],
    schema=QA_PAIR,
)


def test_a_pair_is_one_turn_each() -> None:
    table = conversations_from_pairs(PAIRS, None)
    assert table.schema == CONVERSATION
    assert table.to_pylist()[0] == {
        "conv_id": "qa:1",
        "dataset": "qa",
        "messages": [USER, ASSISTANT],
        "reasoning": False,
        "doc_ids": ["a:1"],
    }


@pytest.mark.parametrize("prompt", [None, "", "Be brief."])
def test_a_system_prompt_comes_first(
    context: StageContext, put_shard: PutShard, prompt: str | None
) -> None:
    stage = QaConversationsStage("synth.qa", prompt)
    result = stage.process(put_shard("synth.qa", PAIRS), context)
    expected = [SYSTEM, USER, ASSISTANT] if prompt else [USER, ASSISTANT]
    assert result.kept["messages"][0].as_py() == expected
    assert (result.rows_in, result.kept.num_rows, result.rejected) == (2, 2, [])
    assert stage.config() == {"system_prompt": prompt}


def test_no_pairs() -> None:
    assert conversations_from_pairs(PAIRS.slice(0, 0), "x").num_rows == 0
