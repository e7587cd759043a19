"""The frozen mask sets: what their names say, and the same bits as were published."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from pgi.errors import RuleError
from pgi.evaluation import mask_sets

ROOT = Path(__file__).parents[2]
SQUARES = ("center", "ratio_15", "ratio_25", "ratio_35", "ratio_45", "ratio_55")
AREAS = tuple(name for name in mask_sets.MASK_SETS if name.startswith("area"))
RANDOM = tuple(name for name in mask_sets.MASK_SETS if name not in SQUARES)


@functools.cache
def first_hundred(name: str) -> np.ndarray:
    return mask_sets.draw(name, 100, 256, 256)


def published() -> dict[str, list[str]]:
    """The cells of the table of hashes: share, hash at 256, hash at 512."""
    text = (ROOT / "docs" / "MASKS.md").read_text().partition("## Hashes")[2]
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    cells = ([cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows)
    return {name: rest for name, *rest in cells}


# What was published


def test_the_table_has_every_set_and_no_other():
    assert list(published()) == list(mask_sets.MASK_SETS)


@pytest.mark.parametrize("name", mask_sets.MASK_SETS)
def test_the_masks_are_those_published(name):
    share, at_256, _ = published()[name]
    assert mask_sets.sha256(first_hundred(name)) == at_256
    assert f"{first_hundred(name).mean():.3f}" == share


# One of every way of drawing: the others take a second or more each.
@pytest.mark.parametrize("name", [*SQUARES, "freeform", "thick"])
def test_the_masks_of_512_are_those_published(name):
    assert mask_sets.sha256_of_first(name, 100, 512, 512) == published()[name][2]


def test_the_hash_is_of_the_shape_and_the_packed_pixels():
    pixels = mask_sets.draw("center", 2, 16, 20)
    bits = "".join("01"[int(pixel)] for pixel in pixels.ravel())
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    expected = hashlib.sha256(struct.pack("<4q", 2, 16, 20, 1) + packed).hexdigest()
    for other in (pixels, pixels.astype(np.float32), np.asfortranarray(pixels.astype(np.uint8))):
        assert mask_sets.sha256(other) == expected


def test_the_hash_changes_with_a_pixel_and_with_the_shape():
    pixels = mask_sets.draw("center", 2, 16, 20)
    flipped = pixels.copy()
    flipped[1, 15, 19] ^= True
    others = (flipped, pixels.reshape(2, 20, 16, 1), pixels[..., 0], pixels[:1])
    assert len({mask_sets.sha256(value) for value in (pixels, *others)}) == 5


# What a mask depends on


@pytest.mark.parametrize("name", RANDOM)
def test_a_mask_depends_neither_on_the_count_nor_on_its_neighbours(name, monkeypatch):
    expected = mask_sets.draw(name, 6, 32, 48)
    tf.random.set_seed(1)
    np.random.seed(1)
    np.testing.assert_array_equal(mask_sets.draw(name, 2, 32, 48), expected[:2])
    np.testing.assert_array_equal(mask_sets.draw(name, 3, 32, 48, first=2), expected[2:5])
    monkeypatch.setattr(mask_sets, "_ROWS_AT_ONCE", 4 * 32)
    np.testing.assert_array_equal(mask_sets.draw(name, 6, 32, 48), expected)
    assert mask_sets.sha256_of_first(name, 6, 32, 48) == mask_sets.sha256(expected)


def test_all_masks_of_all_random_sets_differ():
    drawn = {mask.tobytes() for name in RANDOM for mask in first_hundred(name)}
    assert len(drawn) == 100 * len(RANDOM)


@pytest.mark.parametrize("name", mask_sets.MASK_SETS)
def test_every_mask_has_a_hole_and_known_pixels(name):
    smallest = mask_sets.draw(name, 20, mask_sets.MIN_SIDE, mask_sets.MIN_SIDE)
    for drawn, side in ((first_hundred(name), 256), (smallest, 16)):
        assert drawn.dtype == bool and drawn.shape[1:] == (side, side, 1)
        assert drawn.any(axis=(1, 2)).all() and not drawn.all(axis=(1, 2)).any()


@pytest.mark.parametrize("name", mask_sets.MASK_SETS)
def test_half_the_side_keeps_the_share(name):
    half, whole = mask_sets.draw(name, 20, 128, 128), first_hundred(name)[:20]
    # Widths lose half a pixel on average when they are cut to whole ones: of thin ones a tenth.
    assert half.mean() == pytest.approx(whole.mean(), rel=0.2)


# The squares


@pytest.mark.parametrize("side", [32, 64, 512])
def test_center_is_a_quarter_of_the_image_in_its_middle(side):
    mask = mask_sets.draw("center", 1, side, 2 * side)[0, ..., 0]
    expected = np.pad(np.ones((side // 2, side), bool), ((side // 4,) * 2, (side // 2,) * 2))
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(mask, mask_sets.draw("ratio_25", 1, side, 2 * side)[0, ..., 0])


@pytest.mark.parametrize("size", [(256, 256), (100, 161), (17, 1000)])
def test_ratio_sets_are_nested_in_the_middle_and_have_their_share(size):
    inner = np.zeros((*size, 1), bool)
    for percent in (15, 25, 35, 45, 55):
        (mask,) = mask_sets.draw(f"ratio_{percent}", 1, *size)
        np.testing.assert_array_equal(mask, mask[::-1, ::-1])
        rows, columns = mask.any(axis=(1, 2)), mask.any(axis=(0, 2))
        np.testing.assert_array_equal(mask[..., 0], rows[:, np.newaxis] & columns)
        for covered, side in ((rows, size[0]), (columns, size[1])):
            # Both ends move at once, so a length can be off by one.
            assert abs(covered.sum() - side * math.sqrt(percent / 100)) <= 1
        assert mask[inner].all() and mask.sum() > inner.sum()
        inner = mask


def test_union_is_the_union():
    expected = first_hundred("center") | first_hundred("freeform")
    np.testing.assert_array_equal(first_hundred("union"), expected)


# The irregular holes


def test_freeform_covers_as_much_as_the_references_strokes():
    golden = json.loads((ROOT / "tests" / "golden" / "mask_statistics.json").read_text())["256"]
    areas = first_hundred("freeform").mean(axis=(1, 2, 3))
    expected = golden["brush_hole_ratio"]
    assert abs(areas.mean() - expected["mean"]) < 4 * expected["std"] / math.sqrt(len(areas))


@pytest.mark.parametrize("name", AREAS)
def test_every_hole_of_an_area_set_lies_in_its_bin(name):
    low, high = (int(percent) for percent in name.split("_")[1:])
    for drawn in (first_hundred(name), mask_sets.draw(name, 20, 48, 140)):
        pixels, total = drawn.sum(axis=(1, 2, 3)), drawn[0].size
        assert (100 * pixels > low * total).all() and (100 * pixels <= high * total).all()
    # The bin is used, not only its edge.
    assert first_hundred(name).mean(axis=(1, 2, 3)).std() > 0.015


def depths(name: str) -> np.ndarray:
    """Mean distance of a hole's pixels from the nearest known one: w / 4 in a stroke w wide."""
    holes = first_hundred(name).astype(np.uint8)
    distances = (cv2.distanceTransform(hole, cv2.DIST_L2, 5) for hole in holes)
    return np.array([distance[distance > 0].mean() for distance in distances])


def test_every_thin_mask_is_thinner_than_every_medium_and_those_than_every_thick_one():
    thin, medium, thick = (depths(name) for name in ("thin", "medium", "thick"))
    assert thin.min() > 3 / 4 and thin.max() < medium.min() and medium.max() < thick.min()
    # Widths of 3 to 9, 12 to 28 and 36 to 72, with some slack for what crosses and for boxes.
    for values, width in ((thin, 6), (medium, 20), (thick, 54)):
        assert width / 4 < np.median(values) < 1.5 * width / 4


def test_thin_has_more_parts_than_medium_and_that_than_thick():
    thin, medium, thick = (
        np.mean(
            [cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 for mask in first_hundred(name)]
        )
        for name in ("thin", "medium", "thick")
    )
    assert thin > 1.5 * medium > 2 * thick


# Errors


def test_an_unknown_set_is_an_error_that_lists_them_all():
    names = ", ".join(mask_sets.MASK_SETS)
    with pytest.raises(RuleError, match=f"^name must be one of {names}, got 'thicc'$"):
        mask_sets.draw("thicc", 1, 64, 64)


@pytest.mark.parametrize(
    ("count", "height", "width", "message"),
    [
        (0, 64, 64, "count must be an integer of at least 1, got 0"),
        (2.0, 64, 64, "count must be an integer of at least 1, got 2.0"),
        (1, 15, 64, "height must be an integer of at least 16, got 15"),
        (1, 64, -64, "width must be an integer of at least 16, got -64"),
        (1, 64, "64", "width must be an integer of at least 16, got '64'"),
    ],
)
def test_impossible_sizes_are_an_error(count, height, width, message):
    with pytest.raises(RuleError, match=f"^{message}$"):
        mask_sets.draw("center", count, height, width)


def test_a_negative_number_is_an_error():
    with pytest.raises(RuleError, match=r"^first must be an integer of at least 0, got -1$"):
        mask_sets.draw("center", 1, 64, 64, first=-1)


def test_pixels_that_do_not_fill_bytes_are_an_error():
    with pytest.raises(
        RuleError, match=r"^pixels of a mask must be a multiple of 8, got .17, 17.$"
    ):
        mask_sets.sha256_of_first("center", 1, 17, 17)


def test_a_share_that_is_never_met_is_an_error(monkeypatch):
    monkeypatch.setattr(mask_sets, "_MAX_ATTEMPTS", 3)
    dots = mask_sets.Irregular(99, (0.9, 0.95), (1, 1), (1, 1), (1, 1), (1, 1))
    with pytest.raises(RuntimeError, match="no hole of 90% to 95% found at 32 x 48 pixels"):
        dots(np.arange(2), 32, 48)
