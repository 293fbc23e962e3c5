"""Score every model and write the report.

``ray job submit --working-dir . -- python -m ray_jobs.evaluate recipes/demo.yaml``
"""

from __future__ import annotations

import sys

from ray_jobs.execute import job_main

if __name__ == "__main__":
    sys.exit(job_main("Score every model and write the report.", "eval"))
