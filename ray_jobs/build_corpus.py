"""Build the corpus: sources to token sequences, with what these need.

``ray job submit --working-dir . -- python -m ray_jobs.build_corpus recipes/demo.yaml``
"""

from __future__ import annotations

import sys

from ray_jobs.execute import job_main

if __name__ == "__main__":
    sys.exit(
        job_main("Build the corpus: sources to token sequences, with what these need.", "corpus")
    )
