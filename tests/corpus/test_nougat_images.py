from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from transformers.models.nougat.image_processing_pil_nougat import NougatImageProcessorPil

from corpus.nougat.images import MAX_ASPECT, bounded_aspect, ink_box, prepare

# The real model's canvas.
PROCESSOR: Any = NougatImageProcessorPil()


def _page(width: int, height: int, paper: int = 255, ink: int = 0) -> np.ndarray:
    image = Image.new("RGB", (width, height), (paper,) * 3)
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 8, height // 9, width - width // 7, height - height // 6), None, 90)
    for y in range(height // 8, height - height // 5, 40):
        draw.text((width // 6, y), "The velocity dispersion of the cluster", (ink, 80, 120))
    return np.asarray(image)


@pytest.mark.parametrize(
    ("width", "height", "paper", "ink"),
    [(816, 1056, 255, 0), (1056, 816, 255, 0), (500, 1500, 240, 60), (300, 200, 20, 220)],
)
def test_pages_are_prepared_as_by_transformers(
    width: int, height: int, paper: int, ink: int
) -> None:
    image = _page(width, height, paper, ink)
    expected = PROCESSOR(images=image, input_data_format="channels_last", return_tensors="np")
    prepared = prepare(image, PROCESSOR)
    assert prepared is not None
    np.testing.assert_array_equal(prepared.values, expected["pixel_values"][0])
    assert prepared.values.shape == (3, 896, 672)


def test_a_page_of_one_line_looks_as_by_transformers() -> None:
    image = np.full((1056, 816, 3), 255, np.uint8)
    image[500:512, 100:700] = np.random.default_rng(0).integers(0, 255, (12, 600, 3))
    expected = PROCESSOR(images=image, input_data_format="channels_last", return_tensors="np")
    prepared = prepare(image, PROCESSOR)
    assert prepared is not None
    # The strip is scaled once and not up and down: alike, not equal.
    assert np.abs(prepared.values - expected["pixel_values"][0]).mean() < 0.02


@pytest.mark.parametrize("shape", [(3000, 10, 3), (10, 3000, 3), (1, 8192, 3), (2, 2, 3)])
def test_odd_shapes_take_no_time(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    started = time.process_time()
    prepared = prepare(image, PROCESSOR)
    assert time.process_time() - started < 2
    assert prepared is not None
    assert prepared.values.shape == (3, 896, 672)
    height, width = bounded_aspect(image).shape[:2]
    assert max(height, width) <= MAX_ASPECT * min(height, width)


def test_blank_pages_are_known() -> None:
    assert prepare(np.full((100, 80, 3), 255, np.uint8), PROCESSOR) is None
    assert prepare(np.zeros((100, 80, 3), np.uint8), PROCESSOR) is None


def test_ink_box_ends_are_exclusive() -> None:
    image = np.full((20, 30, 3), 255, np.uint8)
    image[4, 7] = 0
    image[9, 21] = 0
    assert ink_box(image) == (4, 10, 7, 22)


def test_the_digest_is_of_the_whole_image() -> None:
    image = _page(300, 400)
    moved = np.roll(image, 1, axis=0)
    first, again, other = (prepare(i, PROCESSOR) for i in (image, image.copy(), moved))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.digest == again.digest != other.digest
