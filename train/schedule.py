r"""Learning rate of a step: warmup, then constant, a cosine, or constant and then a cosine.

AstroMLab 3: Table 1 (continued pretraining: constant after 40 steps of quadratic warmup), Table 2
and Figure 2 (fine-tuning: cosine that ends at 10% of the peak). AstroMLab 4, section 2.1 and
Figure 2: warmup over 0.15 epochs, constant, a cosine over the final half epoch.

::

    rate                 ________________ constant
    peak |             /''--__ ..........
         |           _/       ''--__     \   cosine; dotted: over the last decay_epochs
         |       __-'               ''--__\ final_fraction * peak
         +------------------------------- step
           1     warmup_steps         total_steps
"""

from __future__ import annotations

import math

from core.recipe.train import Schedule


def learning_rate(
    step: int,
    total_steps: int,
    peak: float,
    schedule: Schedule,
    steps_per_epoch: float | None = None,
) -> float:
    """Returns the learning rate of one optimizer step.

    The step that ends the warmup is the first at the peak; without warmup that is step 1.

    Args:
        step: 1 for the first step, ``total_steps`` for the last.
        total_steps: steps of the whole run.
        peak: highest learning rate.
        schedule: warmup length, shape and end.
        steps_per_epoch: for a schedule in epochs; not needed for one in steps.

    Raises:
        ValueError: the schedule is in epochs and their steps are not given.
    """
    warmup = warmup_steps(schedule, steps_per_epoch)
    if step < warmup:
        return peak * math.pow(step / warmup, schedule.warmup_power)
    if schedule.kind == "constant":
        return peak
    start = max(warmup, 1)
    if schedule.decay_epochs is not None:
        start = max(start, total_steps - _steps(schedule.decay_epochs, steps_per_epoch))
    if step <= start or total_steps <= start:
        return peak
    progress = (step - start) / (total_steps - start)
    floor = schedule.final_fraction
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


def warmup_steps(schedule: Schedule, steps_per_epoch: float | None = None) -> int:
    """Returns the steps until the peak.

    Raises:
        ValueError: the warmup is in epochs and their steps are not given.
    """
    if schedule.warmup_epochs is None:
        return schedule.warmup_steps
    return _steps(schedule.warmup_epochs, steps_per_epoch)


def _steps(epochs: float, steps_per_epoch: float | None) -> int:
    if steps_per_epoch is None:
        raise ValueError("a schedule in epochs needs the steps of an epoch")
    return max(1, round(epochs * steps_per_epoch))
