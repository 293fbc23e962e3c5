from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SAY = """
import os
import torch
from core.threads import one_thread
one_thread()
print(torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"])
"""


def test_one_thread_whatever_the_environment_says(checkout: Path) -> None:
    """In a worker that loaded PyTorch before."""
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        cwd=checkout,
        env={**os.environ, "OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1", "1"]
