"""Page pixels as Nougat takes them: margins cut, fitted to its canvas, black around.

The image processor of transformers cuts margins and then scales the shorter side up to the
canvas: a page that is a thin strip would become gigabytes. Here margins are cut first (the same
rule, row and column sums instead of a list of pixels) and a strip gets black beside it, which is
what the processor puts there in the end.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from corpus.pdf_worker import Image

MAX_ASPECT = 4
"""A strip with a larger ratio of sides is padded to this one."""
_INK_LEVEL = 200
"""Grey value, stretched to 0-255, below which a pixel is ink: Nougat's margin rule."""


@dataclass(frozen=True)
class PagePixels:
    """A page ready for the model.

    Args:
        values: ``(3, height, width)`` float32, normalized.
        digest: hash of the page's image, from which sampling is seeded.
    """

    values: NDArray[np.float32]
    digest: bytes


def prepare(image: Image, processor: Any) -> PagePixels | None:
    """Returns what the model takes for a page; None for a blank one.

    Args:
        image: RGB pixels ``(height, width, 3)``.
        processor: a ``NougatImageProcessorPil``.
    """
    box = ink_box(image)
    if box is None:
        return None
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    top, bottom, left, right = box
    if processor.do_crop_margin:
        image = image[top:bottom, left:right]
    features = processor(
        images=bounded_aspect(image),
        do_crop_margin=False,
        input_data_format="channels_last",
        return_tensors="np",
    )
    return PagePixels(np.asarray(features["pixel_values"][0], np.float32), digest)


def ink_box(image: Image) -> tuple[int, int, int, int] | None:
    """Returns (top, bottom, left, right) of what is not margin, ends exclusive; None: blank."""
    grey = np.asarray(PilImage.fromarray(image).convert("L"))
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        return None
    # (grey - low) / (high - low) * 255 < level, solved for grey.
    ink = grey < low + _INK_LEVEL * (high - low) / 255
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def bounded_aspect(image: Image) -> Image:
    """Returns the image with black beside it where one side is too long for the other."""
    height, width = image.shape[:2]
    shortest = -(-max(height, width) // MAX_ASPECT)
    more_height, more_width = max(0, shortest - height), max(0, shortest - width)
    if not (more_height or more_width):
        return image
    top, left = more_height // 2, more_width // 2
    return np.pad(image, ((top, more_height - top), (left, more_width - left), (0, 0)))
