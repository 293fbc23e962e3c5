"""The same YAML whatever else is imported."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

from core.yaml_reader import read_yaml


def test_numbers_and_dates() -> None:
    read = read_yaml("{a: 1e-4, b: 2024-01-31, c: 1.5e3, d: 12}")
    assert read == {"a": 1e-4, "b": date(2024, 1, 31), "c": 1500.0, "d": 12}


def test_dates_stay_dates_beside_a_library_that_makes_them_strings() -> None:
    """A dependency of vLLM replaces the constructor of PyYAML's shared loader on import."""
    code = (
        "import yaml, lmformatenforcer.external.jsonschemaobjectutil\n"
        "assert yaml.safe_load('2024-01-31') == '2024-01-31'\n"
        "from core.yaml_reader import read_yaml\n"
        "print(type(read_yaml('2024-01-31')).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "date\n"
