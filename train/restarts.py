"""Which failures start the workers again, and which end the run at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.train import UserCallback

from core.disk import disk_full
from core.errors import AstromillError


class EndAtOnce(UserCallback):
    """Ends a run whose error would come again, whatever restarts are left.

    Lost workers start again; wrong data, a diverged loss or a full disk would only fail once more.
    Ray Train takes what a callback raises, in its controller, for the end of the run.
    """

    def __init__(self, out: str) -> None:
        """Keeps where the run writes, to name a full disk."""
        self._out = Path(out)

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raises the workers' own error, if there is one among theirs."""
        if error := own_error(worker_exceptions, self._out):
            raise error


def own_error(failures: dict[int, Exception], out: Path) -> AstromillError | None:
    """Returns the first error that is the run's own and not one of a lost worker, or None.

    Args:
        failures: by rank.
        out: what the workers write is below it.
    """
    for _, failure in sorted(failures.items()):
        # As Ray keeps them: with their trace as text.
        cause = getattr(failure, "_base_exc", failure)
        if isinstance(cause, AstromillError):
            return cause
        if full := disk_full(cause, out):
            return full
    return None
