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
    regions = hole_regions(tf.constant(mask), margin, margin // 2, 64).numpy()
    assert not (regions % CELL).any() and (regions[:, 2:] <= 64).all()
    counts = coverage(regions, height, width)
    assert counts.max() == 1
    assert (counts[mask[0, :, :, 0] > 0] == 1).all()


def cost(regions: np.ndarray, height: int, width: int, margin: int, attention: int) -> float:
    """Convolved pixels, queries in pixels for each 2**18 pixels of the image, and what is fixed."""

    def area(region: list[int], margin: int) -> int:
        top, left, high, wide = region
        grown = np.zeros([height + 2 * margin, width + 2 * margin], bool)
        grown[top : top + high + 2 * margin, left : left + wide + 2 * margin] = True
        return int(grown[margin : margin + height, margin : margin + width].sum())

    queries = height * width / 2**18
    return sum(
        area(region, margin) + queries * (area(region, attention + 16) + 2**11) + 2**13
        for region in regions.tolist()
    )


@pytest.mark.parametrize("seed", range(20))
def test_costs_no_more_than_one_rectangle_around_all_holes(seed: int) -> None:
    height, width, margins = 320, 512, (64, 24)
    mask = random_mask(seed, height, width)
    regions = hole_regions(tf.constant(mask), *margins, 512).numpy()
    rows, columns = np.flatnonzero(mask[0].any(axis=(1, 2))), np.flatnonzero(mask[0].any((0, 2)))
    (top, bottom), (left, right) = (
        (CELL * (x[0] // CELL), CELL * (x[-1] // CELL + 1)) for x in (rows, columns)
    )
    whole = np.array([[top, left, bottom - top, right - left]])
    assert cost(regions, height, width, *margins) <= cost(whole, height, width, *margins)


def test_dust_in_a_large_image_is_not_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    specks = [(*rng.integers(0, [1500, 1996]), 3, 4) for _ in range(40)]
    margins = 96, 24
    regions = hole_regions(tf.constant(mask_of(1504, 2000, *specks)), *margins, 2048).numpy()
    whole = np.array([[0, 0, 1504, 2000]])
    assert cost(regions, 1504, 2000, *margins) < 0.2 * cost(whole, 1504, 2000, *margins)


def test_dust_that_is_dense_is_computed_at_once() -> None:
    mask = np.zeros([1, 512, 512, 1], np.float32)
    mask[:, ::24, ::24] = 1
    assert hole_regions(tf.constant(mask), 96, 24, 2048).shape[0] == 1


def test_without_a_hole_there_is_no_region() -> None:
    assert hole_regions(tf.zeros([1, 64, 64, 1]), 16, 8, 64).shape == (0, 4)


def test_holes_far_apart_have_regions_of_their_own() -> None:
    mask = mask_of(256, 512, (0, 0, 8, 8), (0, 500, 5, 5), (201, 3, 50, 50))
    regions = hole_regions(tf.constant(mask), 32, 16, 512).numpy()
    assert sorted(map(tuple, regions)) == [(0, 0, 8, 8), (0, 496, 8, 16), (200, 0, 56, 56)]


def test_holes_share_a_rectangle_where_that_is_cheaper() -> None:
    """Two specks, so far apart that their margins no longer overlap, or touching."""
    near = mask_of(64, 512, (0, 0, 8, 8), (0, 16, 8, 8))
    assert hole_regions(tf.constant(near), 32, 16, 512).shape[0] == 1
    further = mask_of(64, 1024, (0, 0, 8, 8), (0, 512, 8, 8))
    assert hole_regions(tf.constant(further), 32, 16, 512).shape[0] == 2


def test_cuts_across_find_what_one_direction_cannot() -> None:
    # Left of a tall hole two small ones, whose gap only shows when the tall one is cut off.
    mask = mask_of(512, 512, (0, 400, 512, 8), (0, 0, 8, 8), (400, 0, 8, 8))
    regions = hole_regions(tf.constant(mask), 16, 8, 512).numpy()
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
