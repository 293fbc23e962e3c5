"""Names beside points, none over another: each takes the free place nearest to its point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, inf, pi, sin
from typing import Any

import numpy as np
import numpy.typing as npt

Sides = npt.NDArray[np.float64]
"""Rectangles in pixels, (N, 4): left, bottom, right, top."""

_DIRECTIONS = 16
_DISTANCES = (5.0, 10.0, 17.0, 26.0)
"""Gaps between point and name that are tried, in points; nearest first."""
_LEADER_FROM = 10.0
"""From that gap on, a line leads from the name to its point."""
_AIR = 2.5
"""Room left around a name, in points."""
_MOST_COVERED = 60.0
"""Square points of points and lines that a plain name may cover; one point has 30 to 40."""
_LEADER_STEPS = 8
"""Small squares that stand for a leader line where names are kept off it."""


@dataclass(frozen=True)
class Label:
    """A name to place.

    Args:
        x, y: the point, in the data's units.
        text: the name.
        colour: of the text.
        bold: whether it stands out, and may cover points where there is no other place.
    """

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Returns the shared area."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return width * height if width > 0 and height > 0 else 0.0

    def within(self, other: Box) -> bool:
        """Returns whether it lies inside of another."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


def place_labels(
    axes: Any,
    labels: Sequence[Label],
    points: Sequence[tuple[float, float, float]],
    taken: Sequence[Any] = (),
    font_size: float = 8.0,
) -> list[str]:
    """Writes the names into a drawing whose layout is final.

    Args:
        axes: of matplotlib; the axes' limits and the figure's layout must not change afterwards.
        labels: most important first: they choose first.
        points: everything drawn: x and y in the data's units, half a marker's size in points; names
            keep off it where they can.
        taken: matplotlib texts that names must not cover.
        font_size: in points.

    Returns:
        The names that found no place, and are left out: a covered name helps nobody.
    """
    sheet = _Sheet(axes, points, taken, font_size)
    left_out = []
    for label in labels:
        found = sheet.free_place(label)
        if found is None:
            left_out.append(label.text)
        else:
            sheet.write(label, *found)
    return left_out


class _Sheet:
    """A drawing as names see it: its frame, the points to keep off, the names that are there."""

    def __init__(
        self,
        axes: Any,
        points: Sequence[tuple[float, float, float]],
        taken: Sequence[Any],
        font_size: float,
    ) -> None:
        """Takes what :func:`place_labels` takes."""
        self._axes = axes
        self._renderer = axes.figure.canvas.get_renderer()
        self._scale = axes.figure.dpi / 72
        self._font_size = font_size
        self._frame = self._extent(axes)
        places = [point[:2] for point in points] or np.empty((0, 2))
        middles = axes.transData.transform(places)
        halves = np.array([[point[2] * self._scale] for point in points]).reshape(-1, 1)
        self._squares: Sides = np.hstack([middles - halves, middles + halves])
        self._placed = [self._extent(artist) for artist in taken]

    def free_place(self, label: Label) -> tuple[Box, float] | None:
        """Returns the place that covers the fewest points, the nearest of equals; or None.

        Returns:
            The box with the room around it, and the gap to the point, in points of type.
        """
        at, size = self._at(label), self._size(label)
        most_covered = inf if label.bold else _MOST_COVERED
        best: tuple[float, Box, float] | None = None
        for gap in _DISTANCES:
            for number in range(_DIRECTIONS):
                angle = 2 * pi * number / _DIRECTIONS
                box = _beside(at, size, angle, gap * self._scale)
                if not self._is_free(box, at, gap):
                    continue
                covered = _covered(box, self._squares) / (self._scale * self._scale)
                # A point has about 25 square points; a name far off is worse than a point half
                # covered.
                cost = covered + 0.8 * gap
                if covered <= most_covered and (best is None or cost < best[0]):
                    best = (cost, box, gap)
        return (best[1], best[2]) if best else None

    def write(self, label: Label, box: Box, gap: float) -> None:
        """Writes a name into a box; from far off, with a line that later names keep off."""
        at = self._at(label)
        self._placed.append(box)
        arrow = None
        if gap >= _LEADER_FROM:
            leader = [_sides(step) for step in _leader(at, box)]
            self._squares = np.vstack([self._squares, leader])
            line = {"color": label.colour, "lw": 0.5, "shrinkA": 0, "shrinkB": 3}
            arrow = {"arrowstyle": "-", "relpos": _nearest_share(at, box)} | line
        inner = _grown(box, -_AIR * self._scale)
        self._annotate(
            label,
            xytext=((inner.left - at[0]) / self._scale, (inner.bottom - at[1]) / self._scale),
            textcoords="offset points",
            ha="left",
            va="bottom",
            arrowprops=arrow,
            zorder=6,
        )

    def _is_free(self, box: Box, at: Sequence[float], gap: float) -> bool:
        """Returns whether a name there is within the frame, and off the others with its line."""
        if not box.within(self._frame) or any(box.overlap(other) > 0 for other in self._placed):
            return False
        leader = _leader(at, box) if gap >= _LEADER_FROM else []
        return not any(step.overlap(other) > 0 for step in leader for other in self._placed)

    def _at(self, label: Label) -> list[float]:
        point: list[float] = self._axes.transData.transform((label.x, label.y)).tolist()
        return point

    def _size(self, label: Label) -> Box:
        """Returns a box as large as the written name with the room around it, wherever it lies."""
        trial = self._annotate(label)
        size = _grown(self._extent(trial), _AIR * self._scale)
        trial.remove()
        return size

    def _annotate(self, label: Label, **more: Any) -> Any:
        return self._axes.annotate(
            label.text,
            (label.x, label.y),
            fontsize=self._font_size,
            color=label.colour,
            fontweight="bold" if label.bold else "normal",
            **more,
        )

    def _extent(self, artist: Any) -> Box:
        extent = artist.get_window_extent(self._renderer)
        return Box(float(extent.x0), float(extent.y0), float(extent.x1), float(extent.y1))


def _beside(at: Sequence[float], size: Box, angle: float, reach: float) -> Box:
    """Returns a box of a size, its middle so far off that a gap of ``reach`` pixels is left."""
    width, height = size.right - size.left, size.top - size.bottom
    middle_x = at[0] + cos(angle) * (reach + width / 2)
    middle_y = at[1] + sin(angle) * (reach + height / 2)
    return Box(
        middle_x - width / 2,
        middle_y - height / 2,
        middle_x + width / 2,
        middle_y + height / 2,
    )


def _covered(box: Box, squares: Sides) -> float:
    """Returns the area of a box that squares take, each counted by itself."""
    low = np.maximum(squares[:, :2], (box.left, box.bottom))
    high = np.minimum(squares[:, 2:], (box.right, box.top))
    return float(np.clip(high - low, 0, None).prod(axis=1).sum())


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.bottom, box.right, box.top


def _leader(at: Sequence[float], box: Box) -> list[Box]:
    """Returns small squares along the line from a point to the nearest of a name's box."""
    share_x, share_y = _nearest_share(at, box)
    end_x = box.left + share_x * (box.right - box.left)
    end_y = box.bottom + share_y * (box.top - box.bottom)
    shares = [(step + 0.5) / _LEADER_STEPS for step in range(_LEADER_STEPS)]
    return [
        _around(at[0] + share * (end_x - at[0]), at[1] + share * (end_y - at[1]), 1.0)
        for share in shares
    ]


def _nearest_share(at: Sequence[float], box: Box) -> tuple[float, float]:
    """Returns where in a box, as shares of its sides, the nearest place to a point is."""
    x = min(max(at[0], box.left), box.right)
    y = min(max(at[1], box.bottom), box.top)
    return (x - box.left) / (box.right - box.left), (y - box.bottom) / (box.top - box.bottom)


def _around(x: float, y: float, half: float) -> Box:
    return Box(x - half, y - half, x + half, y + half)


def _grown(box: Box, by: float) -> Box:
    return Box(box.left - by, box.bottom - by, box.right + by, box.top + by)
