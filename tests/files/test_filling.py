"""Held: a hole takes the nearest colours that its picture has, and all else stays as it was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from pgi.errors import PictureError
from tests.files.picture_files import (
    ALPHA,
    FILL,
    GREY,
    HOLE,
    JPEG,
    LOSSLESS,
    NAMES,
    NOISE,
    OPAQUE,
    OTHER,
    PALETTE,
    TRANSPARENT,
    decoded,
    encoded,
    filled,
    palette_image,
    read,
    rgba,
)

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def opacity(content: bytes) -> np.ndarray:
    image = decoded(content)
    if image.mode in ("1", "L") and "transparency" in image.info:
        # Some Pillows compare a value of few bits with pixels that they have scaled to 8.
        largest = 2 ** content[24] - 1
        key = (content[content.index(b"tRNS") + 5] & largest) * 255 // largest
        return np.where(np.asarray(image.convert("L")) == key, 0, 255)
    return np.asarray(image.convert("RGBA"))[..., 3]


# Pixels


@pytest.mark.parametrize("content", [*LOSSLESS, *JPEG.values()], ids=[*NAMES, *JPEG])
def test_format_size_and_mode_stay(content):
    before, after = decoded(content), decoded(filled(content))
    assert (after.format, after.size, after.mode) == (before.format, before.size, before.mode)


@pytest.mark.parametrize("content", LOSSLESS, ids=NAMES)
def test_without_loss_all_outside_the_hole_is_bit_identical(content):
    before, after = decoded(content), decoded(filled(content))
    np.testing.assert_array_equal(np.asarray(after)[~HOLE], np.asarray(before)[~HOLE])
    assert after.getpalette() == before.getpalette()


@pytest.mark.parametrize("content", LOSSLESS, ids=NAMES)
def test_what_lies_under_the_mask_changes_nothing(content):
    """Except for its alpha, which is kept."""
    assert filled(filled(content, OTHER)) == filled(filled(content, NOISE))


@pytest.mark.parametrize("content", [OPAQUE["RGB"], OPAQUE["WebP"], TRANSPARENT["RGBA"]])
def test_the_hole_is_filled_and_the_input_left_alone(content):
    picture = read(content)
    first = picture.with_hole(FILL, HOLE).encode()
    np.testing.assert_array_equal(np.asarray(decoded(first))[HOLE, :3], FILL[HOLE])
    np.testing.assert_array_equal(picture.rgb, NOISE)
    assert picture.with_hole(FILL, HOLE).encode() == first


def test_grey_and_bilevel_pictures_are_filled_with_luma():
    luma = (FILL @ [0.299, 0.587, 0.114])[HOLE]
    for content in (OPAQUE["L"], OPAQUE["L of 4 bits"], TRANSPARENT["LA"]):
        shown = np.asarray(decoded(filled(content)))[HOLE].reshape(len(luma), -1)[:, 0]
        np.testing.assert_allclose(shown, luma, atol=0.51)  # Rounding.
    white, sure = np.asarray(decoded(filled(OPAQUE["1"])))[HOLE], np.abs(luma - 127.5) > 1
    np.testing.assert_array_equal(white[sure], luma[sure] > 127.5)


@pytest.mark.parametrize(("kind", "alpha"), [("WEBP", False), ("PNG", False), ("PNG", True)])
def test_grey_that_is_stored_as_rgb_stays_grey(kind, alpha):
    pixels = np.repeat(NOISE[..., :1], 3, axis=-1)
    pixels[HOLE] = 10, 200, 30  # What is hidden has no say.
    image = Image.fromarray(pixels)
    if alpha:
        image.putalpha(Image.fromarray(NOISE[..., 1]))
    options = {"lossless": True} if kind == "WEBP" else {}
    result = np.asarray(decoded(filled(encoded(image, kind, **options))).convert("RGB"))
    luma = (FILL @ [0.299, 0.587, 0.114])[HOLE]
    np.testing.assert_allclose(result[HOLE], np.stack([luma] * 3, axis=-1), atol=0.51)  # Rounding.


def test_one_known_pixel_of_colour_makes_a_picture_of_colours():
    pixels = np.repeat(NOISE[..., :1], 3, axis=-1)
    row, column = np.argwhere(~HOLE)[0]
    pixels[row, column] = 10, 200, 30
    result = np.asarray(decoded(filled(encoded(Image.fromarray(pixels)))))
    np.testing.assert_array_equal(result[HOLE], FILL[HOLE])


def nearest(colour: np.ndarray, palette: np.ndarray) -> int:
    return ((palette.astype(int) - colour) ** 2).sum(axis=-1).argmin()


@pytest.mark.parametrize("name", ["P", "P of 3 colours", "P of 8 bits and 5 colours"])
def test_a_palette_gives_its_nearest_colour(name):
    after = decoded(filled(OPAQUE[name]))
    palette = np.reshape(after.getpalette(), [-1, 3])
    shown = np.asarray(after.convert("RGB"))
    for pixel in np.argwhere(HOLE):
        expected = palette[nearest(FILL[tuple(pixel)], palette)]
        np.testing.assert_array_equal(shown[tuple(pixel)], expected)


def test_a_large_hole_in_a_palette_is_filled_throughout():
    rng = np.random.default_rng(1)
    indices = Image.fromarray(rng.integers(0, 256, [150, 170], dtype=np.uint8))
    indices.putpalette(PALETTE.tobytes())
    fill, hole = rng.integers(0, 256, [150, 170, 3], dtype=np.uint8), np.ones([150, 170], bool)
    after = np.asarray(decoded(read(encoded(indices)).with_hole(fill, hole).encode()))
    for row, column in rng.integers(0, 150, [200, 2]):
        assert after[row, column] == nearest(fill[row, column], PALETTE)


# Transparency


@pytest.mark.parametrize("content", LOSSLESS, ids=NAMES)
def test_alpha_stays_inside_the_hole_and_outside(content):
    before = opacity(content)
    np.testing.assert_array_equal(opacity(filled(content)), before)
    assert (0 < (before < 255).mean() < 1) == (content in TRANSPARENT.values())


@pytest.mark.parametrize("name", ["L", "RGB", "P, one colour", "P, many colours"])
def test_how_png_says_what_is_transparent_stays(name):
    before, after = decoded(TRANSPARENT[name]), decoded(filled(TRANSPARENT[name]))
    assert after.info["transparency"] == before.info["transparency"]


@pytest.mark.parametrize("name", TRANSPARENT)
def test_filled_pixels_become_opaque_on_request_and_no_others_do(name):
    before, content = opacity(TRANSPARENT[name]), filled(TRANSPARENT[name], opaque=True)
    np.testing.assert_array_equal(opacity(content), np.where(HOLE, 255, before))
    assert decoded(content).mode == decoded(TRANSPARENT[name]).mode


@pytest.mark.parametrize("kept", [{}, {"icc_profile": b"VP8L" * 9 + b"odd"}])
@pytest.mark.parametrize("kind, options", [("PNG", {}), ("WEBP", {"lossless": True})])
def test_what_becomes_opaque_throughout_keeps_its_mode(kind, options, kept):
    erased = rgba(np.where(HOLE, 0, 255).astype(np.uint8))
    content = filled(encoded(erased, kind, **options, **kept), opaque=True)
    expected = np.where(HOLE[..., None], FILL, NOISE)
    after = decoded(content)
    assert after.mode == "RGBA" and after.info.get("icc_profile") == kept.get("icc_profile")
    if content[12:16] == b"VP8X":
        assert content[20] & 16  # There, too, is said whether the file has alpha.
    np.testing.assert_array_equal(np.asarray(after)[..., :3], expected)
    other = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(other[..., 2::-1], expected)


def test_a_palette_gives_its_nearest_colour_of_the_same_alpha():
    content = TRANSPARENT["P, many colours"]
    before, after = decoded(content), decoded(filled(content))
    alphas = np.append(np.arange(0, 160, 5), [255] * 32)
    for pixel in map(tuple, np.argwhere(HOLE)):
        usable = np.flatnonzero(alphas == alphas[before.getpixel(pixel[::-1])])
        chosen = usable[nearest(FILL[pixel], PALETTE[usable])]
        assert after.getpixel(pixel[::-1]) == chosen


def test_a_palette_without_an_opaque_colour_cannot_become_opaque():
    content = encoded(palette_image(4), transparency=bytes([1, 2, 3, 4]))
    with pytest.raises(PictureError, match="no opaque colour"):
        filled(content, opaque=True)


@pytest.mark.parametrize(
    "image, colour", [(Image.fromarray(NOISE), (9, 90, 200)), (GREY, 90)], ids=["RGB", "L"]
)
def test_no_filled_pixel_becomes_transparent_by_chance(image, colour):
    content = filled(encoded(image, transparency=colour), np.full_like(FILL, colour), opaque=True)
    shown = np.asarray(decoded(content).convert("RGBA")).astype(int)[HOLE]
    assert (shown[:, 3] == 255).all()
    assert np.abs(shown[:, :3] - colour).max() == 1


def test_colours_under_full_transparency_are_kept_and_shown_to_the_network():
    for name in ("RGBA", "WebP"):
        picture = read(TRANSPARENT[name])
        np.testing.assert_array_equal(picture.rgb, NOISE)
        np.testing.assert_array_equal(picture.alpha, ALPHA)
