"""A kind of machine that runs are planned for, as a YAML file: nodes, speed, memory, price."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from core.errors import InputError, UsageError
from core.recipe.base import Section
from core.yaml_reader import read_yaml

MACHINES = Path(__file__).resolve().parents[2] / "samples" / "machines"
"""Machines that come with the checkout."""


class Machine(Section):
    """One kind of node, and how many there are."""

    name: str
    description: str = ""
    nodes: int = Field(1, ge=1)
    """Nodes that a run may take at once; the plan's default."""
    cpus_per_node: float = Field(gt=0)
    memory_gib_per_node: float = Field(gt=0)
    accelerators_per_node: int = Field(0, ge=0)
    """What Ray counts as GPUs: a GCD of an MI250X is one."""
    accelerator_memory_gib: float | None = Field(None, gt=0)
    """Of one accelerator."""
    usable_memory_share: float = Field(0.96, gt=0, le=1)
    """Share of it that a run may fill: 96% of 64 GB in AstroMLab 3, Table 1."""
    peak_tflop_per_s: float | None = Field(None, gt=0)
    """Of one accelerator, or one CPU core without any: dense bfloat16, 10^12 a second."""
    mfu: float = Field(0.3, gt=0, le=1)
    """Share of the peak that training reaches, recomputation not counted."""
    cpu_speed: float = Field(1.0, gt=0)
    """Speed of a CPU core where 1 is a core of the machine that the sample ran on."""
    price_per_node_hour: float | None = Field(None, ge=0)
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    wall_limit_hours: float | None = Field(None, gt=0)
    """Longest that the queue lets a job run."""
    disk_bytes_per_s: float = Field(1e9, gt=0)
    """Reading or writing, of one process: for merges."""
    sources: list[str] = Field(default_factory=list)
    """Where the numbers come from."""

    @property
    def train_tflop_per_s(self) -> float | None:
        """What one rank reaches in training."""
        return None if self.peak_tflop_per_s is None else self.peak_tflop_per_s * self.mfu

    @property
    def usable_bytes(self) -> float | None:
        """Memory of an accelerator that a rank may fill; None where it is not known."""
        if self.accelerator_memory_gib is None:
            return None
        return self.accelerator_memory_gib * 2**30 * self.usable_memory_share

    @property
    def ranks_per_node(self) -> int:
        """Training workers that a node takes: one an accelerator; without any, one a core."""
        return self.accelerators_per_node or max(1, int(self.cpus_per_node))


def load_machine(name: str) -> Machine:
    """Returns a machine by its name in ``samples/machines``, or by its file.

    Raises:
        UsageError: there is no such machine.
        InputError: the file is not a machine.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else MACHINES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in MACHINES.glob("*.yaml")))
        raise UsageError(
            f"there is no machine '{name}'",
            where="option --machine",
            remedy=f"one of {known}; or a YAML file like samples/machines/frontier.yaml",
        )
    try:
        return Machine.model_validate(read_yaml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _invalid(path, f"{key}: {first['msg']}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _invalid(path, str(error).splitlines()[0]) from error


def _invalid(path: Path, what: str) -> InputError:
    return InputError(
        f"this is not a machine: {what}",
        where=str(path),
        remedy="samples/machines/frontier.yaml is an example with every key",
    )
