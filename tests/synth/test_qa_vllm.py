"""The Q&A stage on real vLLM (CPU): every constrained answer parses; a rerun asks nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

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
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))
    engine = EngineConfig(
        kind="vllm",
        model=LABEL,
        dtype="float32",
        sampling=Sampling(temperature=1.0, max_tokens=900),
    )
    return QaStage(
        Qa(engine=engine, chunk_chars=200, pairs_per_chunk=1, max_answer_chars=8), "corpus.filter"
    )


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
        assert result.metrics == {"passages": 6}
        assert result.rows_in == result.kept.num_rows + len(result.rejected) >= 6
        # A random model writes noise, but noise that fits the schema: nothing is malformed.
        reasons = {reject.reason for reject in result.rejected}
        assert reasons <= {Reason.INVALID_PAIR, Reason.NO_PAIRS, Reason.DUPLICATE_QUESTION}
        for pair in result.kept.to_pylist():
            assert pair["model"] == LABEL
            assert 0 < len(pair["answer"]) <= 8

        class Unasked:
            label = LABEL

        # What was answered is in the request log: the second time no engine is needed.
        vllm, stage._engine = stage._engine, Unasked()  # type: ignore[assignment]
        again = stage.process(unit, context)
        stage._engine = vllm
        assert again.kept.equals(result.kept)
    finally:
        assert stage._engine is not None
        stage._engine.close()
