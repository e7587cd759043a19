"""Regions hold every hole once, are cheap with their margins, and paint what the whole would."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pgi.inference.regions import CELL, hole_regions, paint, split
from pgi.layers.region import Region


def mask_of(height: int, width: int, *rectangles: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros([1, height, width, 1], np.float32)
    for top, left, high, wide in rectangles:
        mask[:, top : top + high, left : left + wide] = 1
    return mask


def random_mask(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rectangles = [
        (rng.integers(height), rng.integers(width), rng.integers(1, 40), rng.integers(1, 40))
        for _ in range(rng.integers(1, 7))
    ]
    return mask_of(height, width, *rectangles)


def coverage(regions: np.ndarray, height: int, width: int) -> np.ndarray:
    """How many regions hold each pixel."""
    counts = np.zeros([height, width], int)
    for top, left, high, wide in regions:
        assert top >= 0 and left >= 0 and top + high <= height and left + wide <= width
        assert high > 0 and wide > 0
        counts[top : top + high, left : left + wide] += 1
    return counts


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("margin", [0, 16, 64])
def test_every_hole_is_in_one_region(seed: int, margin: int) -> None:
    height, width = 320, 256
    mask = random_mask(seed, height, width)
    regions = hole_regions(tf.constant(mask), margin, 64).numpy()
    assert not (regions % CELL).any() and (regions[:, 2:] <= 64).all()
    counts = coverage(regions, height, width)
    assert counts.max() == 1
    assert (counts[mask[0, :, :, 0] > 0] == 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_with_margins_too_no_pixel_is_computed_twice(seed: int) -> None:
    height, width, margin = 320, 256, 24
    regions = hole_regions(tf.constant(random_mask(seed, height, width)), margin, 512)
    grown = [
        [int(part) for part in Region(*tf.unstack(region)).grown(margin, height, width)]
        for region in regions
    ]
    assert coverage(np.array(grown), height, width).max() == 1


def test_without_a_hole_there_is_no_region() -> None:
    assert hole_regions(tf.zeros([1, 64, 64, 1]), 16, 64).shape == (0, 4)


def test_holes_far_apart_have_regions_of_their_own() -> None:
    mask = mask_of(256, 512, (0, 0, 8, 8), (0, 500, 5, 5), (201, 3, 50, 50))
    regions = hole_regions(tf.constant(mask), 32, 512).numpy()
    assert sorted(map(tuple, regions)) == [(0, 0, 8, 8), (0, 496, 8, 16), (200, 0, 56, 56)]


def test_holes_nearer_than_two_margins_share_one() -> None:
    near = mask_of(64, 512, (0, 0, 8, 8), (0, 8 + 64, 8, 8))
    assert hole_regions(tf.constant(near), 32, 512).shape[0] == 1
    further = mask_of(64, 512, (0, 0, 8, 8), (0, 8 + 72, 8, 8))
    assert hole_regions(tf.constant(further), 32, 512).shape[0] == 2


def test_cuts_across_find_what_one_direction_cannot() -> None:
    # Left of a tall hole two small ones, whose gap only shows when the tall one is cut off.
    mask = mask_of(512, 512, (0, 400, 512, 8), (0, 0, 8, 8), (400, 0, 8, 8))
    regions = hole_regions(tf.constant(mask), 16, 512).numpy()
    assert sorted(map(tuple, regions)) == [(0, 0, 8, 8), (0, 400, 512, 8), (400, 0, 8, 8)]


def test_splitting_covers_each_rectangle_evenly() -> None:
    rectangles = np.array([[8, 16, 200, 72], [240, 0, 64, 8], [0, 0, 8, 8]], np.int32)
    parts = split(tf.constant(rectangles), 64).numpy()
    np.testing.assert_array_equal(coverage(parts, 320, 256), coverage(rectangles, 320, 256))
    assert (parts[:, 2:] <= 64).all() and not (parts % CELL).any()
    assert len(parts) == 4 * 2 + 1 + 1


def test_painting_puts_each_regions_pixels_in_place() -> None:
    image = np.random.default_rng(0).standard_normal([1, 64, 96, 3]).astype(np.float32)
    regions = tf.constant([[0, 8, 16, 24], [40, 48, 24, 48]])
    expected = np.where(coverage(regions.numpy(), 64, 96)[None, :, :, None], image, 0)
    graph = tf.function(lambda x: paint(regions, lambda region: region.cut(x), 64, 96, 3))
    np.testing.assert_array_equal(graph(image), expected)


def test_growing_stops_at_the_border() -> None:
    grown = Region(8, 40, 16, 24).grown(16, 64, 64)
    assert [int(part) for part in grown] == [0, 24, 40, 40]
    assert [int(part) for part in Region(8, 40, 16, 24).within(grown)] == [8, 16, 16, 24]
