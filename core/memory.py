"""Memory that a process on this machine can still take."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def free_memory_bytes() -> int | None:
    """Returns what can still be taken: of the machine, or less where a limit is set.

    Containers and Slurm's jobs have one. None where nothing is known.
    """
    found = [free for free in (_free_of_machine(), _free_of_groups()) if free is not None]
    return min(found, default=None)


def _free_of_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text("utf-8").splitlines()
    except OSError:
        return None  # not Linux
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024 if kilobytes else None


def _free_of_groups(root: Path = _CGROUP, own: Path = _OWN_GROUP) -> int | None:
    """Returns the least that this process's control group and those above it leave."""
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    # In a container the path may be that of its host, and the root is its own.
    groups = [
        root.joinpath(*Path(path).parts[:depth]) for depth in range(len(Path(path).parts) + 1)
    ]
    found = [free for free in map(_free_of_container, groups) if free is not None]
    return min(found, default=None)


def _free_of_container(folder: Path) -> int | None:
    try:
        limit, used = ((folder / f"memory.{name}").read_text() for name in ("max", "current"))
        # Pages of files are counted as used, but given back when they are needed.
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(limit) - int(used) + int(stat.get("inactive_file", 0))
    except (OSError, ValueError):  # no such limit: there is no file, or it says "max"
        return None
