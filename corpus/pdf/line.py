"""A line of print and its font: what everything about pages is told from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Font:
    """What a font's name and descriptor say of its style."""

    name: str
    bold: bool
    italic: bool
    small_caps: bool
    math: bool


NO_FONT = Font("", False, False, False, False)


@dataclass(slots=True)
class Line:
    """One line, or a part of one: text without outer spaces, geometry in points.

    ``left`` and ``right`` are its ends and ``y`` its baseline (upwards), after turning the page so
    that most of its text runs to the right. ``turn`` is the number of quarter turns,
    counter-clockwise, by which this line differs from that; its geometry is then of no use.
    ``font`` and ``last_font`` are those of its first and last character. A tab in the text is a gap
    as between the columns of a table. ``size`` is the larger of those at the start and at the end.
    ``text_left``: where the text begins after a small number at its start, as of numbered lines.
    """

    text: str
    left: float
    right: float
    y: float
    size: float
    font: Font = NO_FONT
    last_font: Font = NO_FONT
    turn: int = 0
    start_size: float = 0.0
    end_size: float = 0.0
    text_left: float = 0.0

    @property
    def bold(self) -> bool:
        """Whether it is bold at both ends."""
        return self.font.bold and self.last_font.bold
