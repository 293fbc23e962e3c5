"""Write questions and answers and render conversations.

``ray job submit --working-dir . -- python -m ray_jobs.synthesize recipes/demo.yaml``
"""

from __future__ import annotations

import sys

from ray_jobs.execute import job_main

if __name__ == "__main__":
    sys.exit(job_main("Write questions and answers and render conversations.", "synth"))
