"""Frozen crops: places that follow from names, and the pixels that lie there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import data
from pgi.errors import NoUsableImageError, RuleError
from pgi.evaluation import crops
from pgi.training.reading import FileSource

SIZES = {"wide.png": (80, 120), "high.png": (130, 70), "small.png": (40, 200), "last.png": (64, 64)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        pixels = rng.integers(0, 256, [*size, 3], np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def place(*where: Any, size: int, crop: str) -> tuple[int, int, int, int]:
    found = crops.place(*where, size=size, crop=crop)
    assert found is not None
    return found


def images(cut: crops.Crops) -> np.ndarray:
    return np.stack([cut.image(n) for n in range(len(cut))])


def source(folder: Path, *names: str) -> FileSource:
    return FileSource([folder / name for name in names or SIZES])


def test_random_crops_are_parts_of_the_photograph_pixel_for_pixel(folder):
    cut = crops.cut(source(folder), "mine", 64, "random", each=3)
    assert images(cut).shape == (9, 64, 64, 3)
    for image, name, number in zip(images(cut), cut.listed.photographs, [0, 1, 2] * 3):
        top, left, height, width = place(name, number, *SIZES[name], size=64, crop="random")
        photograph = np.asarray(Image.open(folder / name))
        np.testing.assert_array_equal(image, photograph[top : top + height, left : left + width])
        assert (height, width) == (64, 64)


def test_other_kinds_resize_what_they_cut(folder):
    whole = crops.cut(source(folder, "wide.png"), "mine", 64, "resize", each=2)
    photograph = np.asarray(Image.open(folder / "wide.png"))
    shrunk = cv2.resize(photograph, (64, 64), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(images(whole), shrunk[np.newaxis])
    squares = [place("x", n, 80, 120, size=64, crop="random_resized") for n in range(200)]
    assert {(height, width) for *_, height, width in squares} == {(n, n) for n in range(64, 81)}


def test_a_place_is_anywhere_within_and_relatively_the_same_at_every_size():
    for name in map(str, range(300)):
        small, large = (place(name, 0, 1000, 3000, size=size, crop="random") for size in (256, 512))
        for start, end, size, side in ((0, 2, 1000, 512), (1, 3, 3000, 512)):
            assert 0 <= large[start] <= size - side
            relative = [x[start] / (size - x[end]) for x in (small, large)]
            assert relative[0] == pytest.approx(relative[1], abs=0.005)
    tops = [place(str(n), 0, 1000, 3000, size=512, crop="random")[0] for n in range(2000)]
    counts, _ = np.histogram(tops, 8, (0, 489))
    assert counts.min() > 190 and {min(tops), max(tops)} <= {0, 1, 487, 488}


def test_crops_do_not_depend_on_the_other_photographs_or_on_where_they_are(
    folder, tmp_path_factory
):
    together = crops.cut(source(folder), "mine", 64, "random")
    alone = crops.cut(source(folder, "last.png", "high.png"), "mine", 64, "random")
    number = together.listed.photographs.index("high.png")
    np.testing.assert_array_equal(alone.image(1), together.image(number))

    elsewhere = tmp_path_factory.mktemp("other")
    for name in SIZES:
        (folder / name).rename(elsewhere / name)
    moved = crops.cut(source(elsewhere), "mine", 64, "random")
    assert moved.listed == together.listed


def test_a_photograph_has_its_crops_whatever_folder_and_format_it_is_kept_in():
    places = {
        place(name, 0, 1356, 2040, size=512, crop="random")
        for name in ("0801.png", "DIV2K_valid_HR/0801.png", "0801.jpg")
    }
    others = {place(f"080{n}", 0, 1356, 2040, size=512, crop="random") for n in range(5)}
    assert len(places) == 1 and len(others) == 5


def test_zero_means_all_photographs_and_small_ones_do_not_count(folder):
    names = ["small.png", "wide.png", "high.png", "last.png"]
    for most, expected in ((0, names[1:]), (2, names[1:3]), (9, names[1:])):
        cut = crops.cut(source(folder, *names), "mine", 64, "random", most, each=2)
        assert [*dict.fromkeys(cut.listed.photographs)] == expected
        assert cut.by_photograph == [range(2 * n, 2 * n + 2) for n in range(len(expected))]


def test_the_hash_of_the_pixels_is_of_all_crops_in_order(folder):
    cut = crops.cut(source(folder), "mine", 64, "random_resized", each=2)
    expected = hashlib.sha256(images(cut).tobytes()).hexdigest()
    assert cut.listed.pixels_sha256 == expected


def test_hashes_tell_places_and_pixels_from_others(folder):
    one = crops.cut(source(folder), "mine", 64, "random").listed
    assert crops.cut(source(folder), "mine", 56, "random").listed.sha256 != one.sha256
    assert crops.cut(source(folder), "mine", 64, "random", each=2).listed.sha256 != one.sha256
    pixels = np.asarray(Image.open(folder / "last.png")).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(folder / "last.png")
    other = crops.cut(source(folder), "mine", 64, "random").listed
    assert other.sha256 == one.sha256 and other.pixels_sha256 != one.pixels_sha256


def test_what_is_too_small_or_unreadable_is_passed_over(folder):
    (folder / "wide.png").write_bytes(b"no image")
    cut = crops.cut(source(folder), "mine", 64, "random", photographs=2)
    assert list(cut.listed.photographs) == ["high.png", "last.png"]
    for crop in ("random", "random_resized", "resize"):
        with pytest.raises(NoUsableImageError, match="mine has no photograph of 72 px and more"):
            crops.cut(source(folder, "last.png", "small.png"), "mine", 72, crop)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((60, "random"), "size must be a positive multiple of 8, got 60"),
        ((64, "any"), "crop must be one of random, resize, random_resized"),
        ((64, "random", -1), "photographs must be positive, or 0 for all"),
        ((64, "random", 1, 0), "crops of each photograph must be positive"),
    ],
)
def test_bad_arguments_are_named(folder, arguments, message):
    with pytest.raises(RuleError, match=message):
        crops.cut(source(folder), "mine", *arguments)


def test_the_published_crop_lists_are_still_these():
    published = {}
    for line in (Path(__file__).parents[2] / "docs" / "EVALUATION.md").read_text().splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")]
        if len(cells) > 6 and cells[1] == "samples":
            published[int(cells[2]), cells[3], int(cells[4])] = cells[5]
    assert len(published) >= 2
    for (size, crop, each), sha256 in published.items():
        cut = crops.cut(data.load("samples")[1], "samples", size, crop, each=each)
        assert cut.listed.sha256 == sha256
