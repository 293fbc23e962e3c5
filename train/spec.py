"""What the stage tells the loop, and where the loop writes; imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

METRICS_NAME = "metrics.jsonl"
"""One JSON object per step: what was learned. The same for two equal runs."""

EVALUATION_NAME = "evaluation.jsonl"
"""One JSON object per evaluation: the loss on held-out text. The same for two equal runs."""

SPIKES_NAME = "spikes.json"
"""Steps whose loss jumped, and what was done. What counts as one may change without retraining, so
it is no part of the manifest; where it changes what is learned, the recipe's choice is."""

CARRIED = (METRICS_NAME, EVALUATION_NAME, SPIKES_NAME)
"""Files of the output that grow with the steps: a checkpoint holds them as they were."""

SPEED_NAME = "logs/speed.jsonl"
"""One JSON object per step: how fast; a line at each start says how long that took."""

OPERATIONAL_KEYS = ("checkpoint", "plan_tokens", "tracking", "watch")
"""Keys of a training section that change nothing that is learned: not in the fingerprint."""

LAYOUT_KEYS = (
    "micro_batch_size",
    "num_workers",
    "use_gpu",
    "zero_stage",
    "parallel",
    "deterministic",
    "evaluate",
)
"""Keys that a run may change when it goes on from a checkpoint: they move its losses by rounding
errors at most. In the fingerprint all the same, since the bytes of the model depend on them."""


@dataclass(frozen=True)
class LoopSpec:
    """What a worker needs to know; plain values, as Ray Train wants them.

    Args:
        stage: name of the stage, for errors.
        model: folder of the weights to start from.
        tokens: dataset folder of packed sequences.
        out: folder that the run fills.
        section: :class:`core.recipe.train.Trainer` as a dictionary.
        seed: of the order of sequences.
        threads: of one worker.
        started: ``time.time()`` when the stage began.
        checkpoints: folder of the run's checkpoints; outlives ``out``, which a new start clears.
        identity: what a checkpoint must share with the run that goes on from it: ``data`` (digests
            of the datasets), ``init`` (digest of the starting weights), ``seed``, and the
            ``section`` without the keys above.
        upload_to: folder or URL of copies of the checkpoints.
        replay: dataset folder of the general text mixed in, if any.
        evaluation: dataset folder of each held-out set.
        name: of the run, for places that keep metrics of many.
        sequence_length: tokens.
    """

    stage: str
    model: str
    tokens: str
    out: str
    section: dict[str, Any]
    seed: int
    threads: int
    started: float
    checkpoints: str
    identity: dict[str, Any] = field(default_factory=dict)
    upload_to: str | None = None
    replay: str | None = None
    evaluation: dict[str, str] = field(default_factory=dict)
    name: str = ""
    sequence_length: int = 0


def identity(section: dict[str, Any], seed: int, data: dict[str, str], init: str) -> dict[str, Any]:
    """Returns :attr:`LoopSpec.identity`.

    Args:
        section: :class:`core.recipe.train.Trainer` as a dictionary.
        seed: of the order of sequences.
        data: content digests of the datasets, by kind: ``tokens``, ``replay``.
        init: content digest of the starting weights.
    """
    free = {*OPERATIONAL_KEYS, *LAYOUT_KEYS, "init"}
    learned = {key: value for key, value in section.items() if key not in free}
    found = {"data": data, "init": init, "seed": seed, "section": learned}
    # As it reads back from a checkpoint: JSON knows no tuples.
    return dict(json.loads(json.dumps(found)))
