"""How far models are from their base, and where they pull in opposite directions.

DARE-TIES drops the weaker side wherever signs disagree (Yadav et al. 2023, section 3), so the share
of such parameters says how much of a merge its election decides; the norms say how much of the
merged change each model brings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from merge.weights import ModelWeights, pieces


@dataclass(frozen=True)
class TaskVectors:
    """Over all parameters of a model.

    Args:
        base_norm: L2 norm of the base.
        norms: L2 norm of each task vector, model minus base.
        cosine: between the first two task vectors; None of one, or where one is zero.
        disagreeing: share of parameters that some models raise and others lower.
    """

    base_norm: float
    norms: tuple[float, ...]
    cosine: float | None
    disagreeing: float

    @property
    def relative(self) -> tuple[float, ...]:
        """Norms as shares of the base's."""
        return tuple(norm / self.base_norm if self.base_norm else 0.0 for norm in self.norms)


def measure(base: ModelWeights, models: Sequence[ModelWeights]) -> TaskVectors:
    """Measures task vectors in one pass over the weights, piece by piece.

    Sums are of float32 squares added up in float64; with one thread, which is the caller's to set,
    the same weights give the same digits.

    Args:
        base: what the models were tuned from.
        models: with the same tensors.
    """
    import torch

    base_square, product = 0.0, 0.0
    squares = [0.0] * len(models)
    disagreeing = total = 0
    for _, (start, *tuned) in pieces([base, *models]):
        deltas = [each.sub_(start) for each in tuned]
        base_square += _square(start)
        squares = [s + _square(d) for s, d in zip(squares, deltas, strict=True)]
        if len(deltas) > 1:
            product += float((deltas[0].double() * deltas[1].double()).sum())
        up = torch.zeros(start.shape, dtype=torch.bool)
        down = torch.zeros(start.shape, dtype=torch.bool)
        for delta in deltas:
            up |= delta > 0
            down |= delta < 0
        disagreeing += int((up & down).sum())
        total += start.numel()
    norms = tuple(math.sqrt(square) for square in squares)
    cosine = None
    if len(norms) > 1 and norms[0] and norms[1]:
        cosine = product / (norms[0] * norms[1])
    return TaskVectors(math.sqrt(base_square), norms, cosine, disagreeing / total if total else 0.0)


def _square(tensor: object) -> float:
    import torch

    assert isinstance(tensor, torch.Tensor)
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2
