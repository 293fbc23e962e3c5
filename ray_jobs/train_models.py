"""Train every model of the recipe.

``ray job submit --working-dir . -- python -m ray_jobs.train_models recipes/demo.yaml``
"""

from __future__ import annotations

import sys

from ray_jobs.execute import job_main

if __name__ == "__main__":
    sys.exit(job_main("Train every model of the recipe.", "train"))
