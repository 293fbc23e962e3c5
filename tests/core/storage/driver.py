"""A driver in a process of its own, to be killed: ``driver.py ADDRESS URL RUN_DIR NOTES``."""

from __future__ import annotations

import sys
from pathlib import Path

import ray
from ray import cloudpickle

from core.stage import StageContext
from tests.core.runner import stages
from tests.core.storage import gated

if __name__ == "__main__":
    address, url, run_dir, notes = sys.argv[1:]
    for module in (stages, gated):
        cloudpickle.register_pickle_by_value(module)
    ray.init(address=address, log_to_driver=False)
    ctx = StageContext(Path(run_dir), Path(notes), 1, url)
    gated.go(gated.pipeline(ctx, Path(notes)))
