"""The Q&A stage on real vLLM (CPU): every constrained answer parses; a rerun asks nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from core.llm import GenerateRequest, Generation
from core.llm.rules import RulesEngine
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling
from core.recipe.qa import Qa
from core.rejects import Reason
from core.schema import DOCUMENT
from core.stage import StageContext, Unit
from synth.qa import QaStage
from tests.conftest import PutShard

LABEL = "models/tiny"


@pytest.fixture
def stage(tiny_folder: Path, context: StageContext) -> QaStage:
    # The shared model with room for the prompt; random weights do not mind.
    folder = context.root / LABEL
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    engine = EngineConfig(
        kind="vllm",
        model=LABEL,
        dtype="float32",
        sampling=Sampling(temperature=1.0, max_tokens=900),
    )
    qa = Qa(
        engine=engine,
        chunk_tokens=60,
        overlap_tokens=0,
        min_passage_tokens=1,
        pairs_per_chunk=2,
        min_question_chars=1,
        max_question_chars=20,
        max_answer_chars=8,
    )
    return QaStage(qa, "corpus.filter", LABEL, None)


class Unasked(RulesEngine):
    """Goes by the model's name, and must not be asked."""

    label = LABEL

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Generation]:
        assert not requests
        return []


def test_pairs_by_real_vllm(
    stage: QaStage, context: StageContext, put_shard: PutShard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = "Jupiter is the largest planet.\n\n" + "Saturn has rings of water ice. " * 6
    rows = [{"doc_id": f"a:{n}", "source": "a", "title": "Planets", "text": text} for n in range(3)]
    unit: Unit = put_shard("corpus.filter", pa.Table.from_pylist(rows, schema=DOCUMENT))
    stage.setup(context)
    try:
        result = stage.process(unit, context)
        assert result.metrics["passages"] == 6
        assert result.rows_in == result.kept.num_rows + len(result.rejected) >= 6
        # A random model writes noise, but noise that fits the schema: nothing is malformed.
        reasons = {reject.reason for reject in result.rejected}
        assert Reason.MALFORMED_OUTPUT not in reasons
        for pair in result.kept.to_pylist():
            assert pair["model"] == LABEL
            assert 0 < len(pair["answer"]) <= 8

        # What was answered is in the request log: the second time no engine is needed.
        vllm, stage._opened = stage.engine, Unasked()
        again = stage.process(unit, context)
        stage._opened = vllm
        assert again.kept.equals(result.kept)
    finally:
        stage.engine.close()
