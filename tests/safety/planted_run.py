"""Commands of the planted run, in one process and one Ray session.

``python -m tests.safety.planted_run RECIPE RUN_DIR``
"""

from __future__ import annotations

import sys

from core.errors import AstromillError
from core.secrets import redact_traces
from core.session import ray_session
from ray_jobs.cli import app


def main(recipe: str, run_dir: str) -> None:
    """Runs and looks; what fails is shown with its trace, as ``--debug`` shows it."""
    commands = (
        ["run", recipe, "--until", "synth.qa"],
        ["status", recipe],
        ["recipe", "show", recipe],
        ["recipe", "check", recipe],
        ["inspect", f"{run_dir}/synth/qa"],
        ["release", recipe],
        # To this model the server lets nobody.
        ["run", recipe, "--only", "synth.qa", "--set", "synth.qa.engine.model=closed"],
    )
    with ray_session(num_cpus=1):
        for command in commands:
            sys.stdout.write(f"== {command[0]}\n")
            try:
                app(command, standalone_mode=False)
            except AstromillError as error:
                redact_traces()
                sys.excepthook(type(error), error, error.__traceback__)


if __name__ == "__main__":
    main(*sys.argv[1:])
