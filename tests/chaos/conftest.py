"""The small recipe, and a table of what each fault did."""

from __future__ import annotations

from tests.ray_jobs.conftest import cli as cli
from tests.ray_jobs.conftest import recipe_data as recipe_data
from tests.ray_jobs.conftest import write_recipe as write_recipe
