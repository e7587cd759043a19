"""A hole takes its new colours, and all else stays as it was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

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
    TRANSPARENT,
    decoded,
    encoded,
    filled,
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
def test_format_and_size_stay_and_the_mode_where_it_has_all_colours(content):
    before, after = decoded(content), decoded(filled(content))
    assert (after.format, after.size) == (before.format, before.size)
    if before.mode in ("1", "P") or "transparency" in before.info:
        grey = before.mode in ("1", "L")
        assert after.mode == ("L" if grey else "RGB") + "A" * ("transparency" in before.info)
    else:
        assert after.mode == before.mode


@pytest.mark.parametrize("content", LOSSLESS, ids=NAMES)
def test_without_loss_all_outside_the_hole_is_bit_identical(content):
    before, after = (np.asarray(decoded(x).convert("RGB")) for x in (content, filled(content)))
    np.testing.assert_array_equal(after[~HOLE], before[~HOLE])


@pytest.mark.parametrize("content", LOSSLESS, ids=NAMES)
def test_what_lies_under_the_mask_changes_nothing(content):
    """Except for its alpha, which is kept."""
    assert filled(filled(content, OTHER)) == filled(filled(content, NOISE))


@pytest.mark.parametrize(
    "content",
    [
        OPAQUE["RGB"],
        OPAQUE["WebP"],
        OPAQUE["P"],
        OPAQUE["P of 3 colours"],
        OPAQUE["P of 8 bits and 5 colours"],
        TRANSPARENT["RGBA"],
        TRANSPARENT["P, one colour"],
        TRANSPARENT["P, many colours"],
        TRANSPARENT["RGB"],
    ],
)
def test_the_hole_is_filled_and_the_input_left_alone(content):
    picture = read(content)
    first = picture.with_hole(FILL, HOLE).encode()
    np.testing.assert_array_equal(np.asarray(decoded(first))[HOLE, :3], FILL[HOLE])
    np.testing.assert_array_equal(picture.rgb, np.asarray(decoded(content).convert("RGB")))
    assert picture.with_hole(FILL, HOLE).encode() == first


def test_grey_and_bilevel_pictures_are_filled_with_luma():
    luma = (FILL @ [0.299, 0.587, 0.114])[HOLE]
    for content in (OPAQUE["1"], OPAQUE["L"], OPAQUE["L of 4 bits"], TRANSPARENT["LA"]):
        shown = np.asarray(decoded(filled(content)))[HOLE].reshape(len(luma), -1)[:, 0]
        np.testing.assert_allclose(shown, luma, atol=0.51)  # Rounding.


@pytest.mark.parametrize(("kind", "alpha"), [("WEBP", False), ("PNG", False), ("PNG", True)])
def test_grey_that_is_stored_as_rgb_stays_grey(kind, alpha):
    pixels = np.repeat(NOISE[..., :1], 3, axis=-1)
    pixels[HOLE] = 10, 200, 30  # Hidden colours do not count.
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


# Transparency


@pytest.mark.parametrize("content", LOSSLESS, ids=NAMES)
def test_alpha_stays_inside_the_hole_and_outside(content):
    before = opacity(content)
    np.testing.assert_array_equal(opacity(filled(content)), before)
    assert (0 < (before < 255).mean() < 1) == (content in TRANSPARENT.values())


@pytest.mark.parametrize("name", TRANSPARENT)
def test_filled_pixels_become_opaque_on_request_and_no_others_do(name):
    before, content = opacity(TRANSPARENT[name]), filled(TRANSPARENT[name], opaque=True)
    np.testing.assert_array_equal(opacity(content), np.where(HOLE, 255, before))


@pytest.mark.parametrize("kept", [{}, {"icc_profile": b"VP8L" * 9 + b"odd"}])
@pytest.mark.parametrize("kind, options", [("PNG", {}), ("WEBP", {"lossless": True})])
def test_what_becomes_opaque_throughout_is_read_alike_by_others(kind, options, kept):
    erased = rgba(np.where(HOLE, 0, 255).astype(np.uint8))
    content = filled(encoded(erased, kind, **options, **kept), opaque=True)
    expected = np.where(HOLE[..., None], FILL, NOISE)
    after = decoded(content)
    assert after.info.get("icc_profile") == kept.get("icc_profile")
    np.testing.assert_array_equal(np.asarray(after.convert("RGBA")), np.insert(expected, 3, 255, 2))
    other = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(other[..., 2::-1], expected)


@pytest.mark.parametrize(
    "image, colour", [(Image.fromarray(NOISE), (9, 90, 200)), (GREY, 90)], ids=["RGB", "L"]
)
def test_no_filled_pixel_becomes_transparent_by_chance(image, colour):
    content = filled(encoded(image, transparency=colour), np.full_like(FILL, colour), opaque=True)
    shown = np.asarray(decoded(content).convert("RGBA")).astype(int)[HOLE]
    assert (shown[:, 3] == 255).all()
    np.testing.assert_array_equal(shown[:, :3], np.broadcast_to(colour, [len(shown), 3]))


def test_colours_under_full_transparency_are_kept_and_shown_to_the_network():
    for name in ("RGBA", "WebP"):
        picture = read(TRANSPARENT[name])
        np.testing.assert_array_equal(picture.rgb, NOISE)
        assert picture.alpha is not None
        np.testing.assert_array_equal(picture.alpha, ALPHA)
