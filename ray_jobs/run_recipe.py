"""Run every stage of the recipe.

``ray job submit --working-dir . -- python -m ray_jobs.run_recipe recipes/demo.yaml``
"""

from __future__ import annotations

import sys

from ray_jobs.execute import job_main

if __name__ == "__main__":
    sys.exit(
        job_main("Run every stage of the recipe.", "corpus", "train", "synth", "merge", "eval")
    )
