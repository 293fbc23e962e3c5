"""Predicting a run: what a sample of its sources took, scaled up and put on a machine."""

from core.plan.frames import Frame, Interval, total
from core.plan.machine import Machine, load_machine
from core.plan.measure import StageEstimate, estimate_stages
from core.plan.sampled import SampledStage, choose

__all__ = [
    "Frame",
    "Interval",
    "Machine",
    "SampledStage",
    "StageEstimate",
    "choose",
    "estimate_stages",
    "load_machine",
    "total",
]
