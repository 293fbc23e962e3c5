"""A real Slurm of two nodes, and the small recipe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ray_jobs.conftest import cli as cli
from tests.ray_jobs.conftest import recipe_data as recipe_data
from tests.slurm.local_slurm import LocalSlurm, install, local_slurm


@pytest.fixture(scope="module")
def slurm() -> Iterator[LocalSlurm]:
    """munge, slurmctld and two slurmd on loopback; skips where they cannot be installed."""
    if reason := install():
        pytest.skip(f"no Slurm: {reason}")
    with local_slurm() as running:
        yield running
