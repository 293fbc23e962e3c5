"""What a document's print is like: size of its running text, line pitch, fonts that carry prose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from corpus.pdf.line import Line

_LONG_LINE_CHARS = 40
"""Lines of prose are longer, labels in figures shorter."""
_TEXT_FONT_SHARE = 0.01
_DEFAULT_PITCH_EM = 1.2


@dataclass(frozen=True)
class Style:
    """Measures of a document's print, in points.

    Args:
        body_size: font size that most characters have.
        pitches: distance of baselines by font size, rounded to half a point.
        text_fonts: names of fonts that set prose.
    """

    body_size: float
    pitches: dict[float, float] = field(default_factory=dict)
    text_fonts: frozenset[str] = frozenset()

    def pitch(self, size: float) -> float:
        """Returns the distance of baselines of text of a size."""
        return self.pitches.get(round(2 * size) / 2, _DEFAULT_PITCH_EM * size)


def measure_style(pages: Sequence[Sequence[Line]]) -> Style:
    """Returns the style of a document from its lines."""
    sizes: Counter[float] = Counter()
    fonts: Counter[str] = Counter()
    drops: dict[float, Counter[float]] = {}
    for lines in pages:
        last: Line | None = None
        for line in lines:
            text = line.text
            length = len(text)
            if length >= _LONG_LINE_CHARS and line.turn == 0 and "\t" not in text:
                size = round(2 * line.size) / 2
                sizes[size] += length
                fonts[line.last_font.name] += length
                if last is not None and abs(last.size - line.size) < 0.1:
                    drop = round(2 * (last.y - line.y)) / 2
                    if 0.8 * size < drop < 2.6 * size:
                        counts = drops.get(size)
                        if counts is None:
                            counts = drops[size] = Counter()
                        counts[drop] += 1
                last = line
            elif last is not None and abs(last.y - line.y) > 0.5 * line.size:
                last = None
    if not sizes:
        for lines in pages:
            for line in lines:
                sizes[_rounded(line.size)] += len(line.text)
    body = max(sizes, key=lambda size: (sizes[size], -size)) if sizes else 10.0
    total = sum(fonts.values())
    return Style(
        body or 10.0,
        {size: _typical(counts) for size, counts in drops.items() if sum(counts.values()) > 2},
        frozenset(name for name, n in fonts.items() if n >= _TEXT_FONT_SHARE * total),
    )


def _typical(counts: Counter[float]) -> float:
    # The commonest distance; of equals the smaller, as gaps between paragraphs are larger.
    return max(counts, key=lambda drop: (counts[drop], -drop))


def _rounded(size: float) -> float:
    return round(2 * size) / 2
