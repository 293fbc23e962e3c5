"""Recipe section ``checkpoint`` of a training run: when its state is saved, what is kept.

Nothing here changes what is learned, so changing it does not make a finished run stale.
"""

from __future__ import annotations

from pydantic import Field

from core.recipe.base import Section


class Checkpoint(Section):
    """Saved states that a stopped or killed run goes on from: 12 bytes per parameter each."""

    every_steps: int = Field(0, ge=0)
    """Optimizer steps between two checkpoints; 0: the clock alone decides."""
    every_minutes: float = Field(30.0, ge=0)
    """Minutes between two checkpoints: the most that a failure costs. 0: the steps alone decide.
    Half an hour is far longer than a state takes to copy and write (seconds to a few minutes)."""
    keep_last: int = Field(2, ge=1)
    """Newest checkpoints that stay. 2: where the newest is damaged, the one before it is used."""
    keep_every_steps: int = Field(0, ge=0)
    """At multiples of this a checkpoint is made in any case and stays, to be scored or branched
    from later; 0: none."""
    keep_when_done: int = Field(0, ge=0)
    """Newest checkpoints that stay when the run is complete; its model is saved anyway."""
    upload_to: str | None = None
    """Folder, or URL such as ``s3://bucket/run``, that complete checkpoints are copied to in the
    background. Nothing is ever removed there."""
    stop_after_minutes: float | None = Field(None, gt=0)
    """Saves and ends after this time, counted from the start of the stage; running again goes on.
    For a queue with a time limit that sends no signal (a signal is better: SIGUSR1 or SIGTERM)."""
    max_restarts: int = Field(2, ge=0)
    """Times that lost workers are started again within one run, from the latest checkpoint. An
    error that would come again (a loss that is no number) ends the run at once."""
