"""Learning rate of a step: quadratic warmup, then constant or a cosine.

AstroMLab 3: Table 1 (continued pretraining: constant after 40 steps of quadratic warmup), Table 2
and Figure 2 (fine-tuning: cosine that ends at 10% of the peak).

::

    rate                 ________________ constant
    peak |             /''--__
         |           _/        ''--__     cosine
         |       __-'                ''-- final_fraction * peak
         +------------------------------- step
           1     warmup_steps         total_steps
"""

from __future__ import annotations

import math

from core.recipe.train import Schedule


def learning_rate(step: int, total_steps: int, peak: float, schedule: Schedule) -> float:
    """Returns the learning rate of one optimizer step.

    Step ``warmup_steps`` is the first at the peak; without warmup that is step 1.

    Args:
        step: 1 for the first step, ``total_steps`` for the last.
        total_steps: steps of the whole run.
        peak: highest learning rate.
        schedule: warmup length, shape and end.
    """
    if step < schedule.warmup_steps:
        return peak * (step / schedule.warmup_steps) ** 2
    if schedule.kind == "constant":
        return peak
    start = max(schedule.warmup_steps, 1)
    if total_steps <= start:
        return peak
    progress = (step - start) / (total_steps - start)
    floor = schedule.final_fraction
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)
