"""Which masks are read by their brightness, and which by their one colour."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from pgi.errors import PictureError, RuleError
from pgi.files.masks import grow, read_mask
from pgi.images import as_hole
from tests.files.picture_files import ALPHA, HEIGHT, HOLE, NOISE, WIDTH, encoded, png

GREY = np.where(HOLE, 255, 0).astype(np.uint8)
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "purple": (128, 0, 128), "VOC": (128, 0, 0)}
BRIGHT = {"green": (0, 255, 0), "yellow": (255, 255, 0), "white": (255, 255, 255)}


def painted(colour: tuple[int, int, int], ground: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    return Image.fromarray(np.where(HOLE[..., None], colour, ground).astype(np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_masks_of_every_format_and_mode_are_read(kind, mode):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(GREY).convert(mode)
    mask = read_mask(encoded(image, kind, **options), 64)
    np.testing.assert_array_equal(mask.hole, HOLE)
    assert not mask.reading


def test_gifs_of_several_frames_or_very_many_pixels_are_refused():
    frames = [Image.fromarray(x) for x in (GREY, 255 - GREY)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="must be a still picture, got an animated one"):
        read_mask(content, 64)
    header = b"GIF89a" + bytes([0x50, 0x46, 0x50, 0x46, 0, 0, 0])
    with pytest.raises(PictureError, match="at most 64 megapixels, got"):
        read_mask(header + b"," + bytes(9) + b"\x08\0;", 64)
    # A frame that is larger than its screen counts.
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 18000, 18000, 0)
    with pytest.raises(PictureError, match="at most 64 megapixels, got"):
        read_mask(b"GIF89a" + bytes([9, 0, 9, 0, 0, 0, 0]) + frame + b"\x08\0;", 64)


# One colour on black


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_strokes_of_one_dark_colour_on_black_are_the_hole(name, kind):
    mask = read_mask(encoded(painted(COLOURS[name]), kind), 64)
    np.testing.assert_array_equal(mask.hole, HOLE)
    assert "one colour on black" in mask.reading


@pytest.mark.parametrize("name", BRIGHT)
def test_a_bright_colour_is_a_hole_by_its_brightness(name):
    mask = read_mask(encoded(painted(BRIGHT[name])), 64)
    np.testing.assert_array_equal(mask.hole, HOLE)
    assert not mask.reading


def stroke(
    colour: int | tuple[int, ...], mode: str, ground: int | tuple[int, ...], smooth: bool = True
) -> Image.Image:
    """With smooth edges, as an editor paints it, or hard ones."""
    image = Image.new(mode, (400, 300), ground)
    ImageDraw.Draw(image).line([(40, 40), (300, 200), (200, 280)], fill=colour, width=60)
    kind = Image.Resampling.BOX if smooth else Image.Resampling.NEAREST
    return image.resize((100, 75), kind)


def test_edges_of_a_stroke_are_in_the_hole_where_they_are_nearer_to_the_colour():
    white = np.asarray(stroke(255, "L", 0))
    assert ((white > 0) & (white < 255)).any()
    mask = read_mask(encoded(stroke((255, 0, 0), "RGB", (0, 0, 0))), 64)
    np.testing.assert_array_equal(mask.hole, white > 127)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("smooth", [True, False])
def test_a_red_stroke_in_a_jpeg_is_read(subsampling, quality, smooth):
    image = stroke((255, 0, 0), "RGB", (0, 0, 0), smooth)
    mask = read_mask(encoded(image, "JPEG", quality=quality, subsampling=subsampling), 64)
    expected = np.asarray(stroke(255, "L", 0, smooth)) > 127
    assert mask.reading
    sure = ndimage.binary_dilation(expected, iterations=3) == ndimage.binary_erosion(
        expected, iterations=3
    )
    np.testing.assert_array_equal(mask.hole[sure], expected[sure])


def test_a_large_mask_of_one_colour_takes_little_memory():
    side = 2000
    image = Image.new("RGB", (side, side), (255, 0, 0))
    image.paste((0, 0, 0), (0, 0, side, 10))
    content = encoded(image)
    tracemalloc.start()
    mask = read_mask(content, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert mask.reading and not mask.hole[:10].any() and mask.hole[10:].all()
    assert peak < 25 * side**2


DARK = [
    np.full([HEIGHT, WIDTH, 3], 0),
    np.where(HOLE[..., None], 100, 0).repeat(3, 2),  # Grey, and too dark.
    np.where(HOLE[..., None], 127, 0).repeat(3, 2),
    np.where(HOLE[..., None], (100, 0, 0), 0),  # Not even its largest channel is bright.
    np.where(HOLE[..., None], (130, 125, 125), 0),  # Hardly a colour.
    NOISE // 2,
    NOISE * np.array([1, 0.3, 0]),  # A dark photograph of one hue.
    np.where(HOLE[..., None], (255, 0, 0), NOISE * np.array([0.2, 0.2, 0.9])),
]


@pytest.mark.parametrize("pixels", DARK)
def test_what_is_not_surely_one_colour_on_black_is_read_by_its_brightness(pixels):
    image = Image.fromarray(pixels.astype(np.uint8))
    mask = read_mask(encoded(image), 64)
    assert not mask.reading
    np.testing.assert_array_equal(mask.hole, np.asarray(image.convert("L")) > 127)


def test_classes_of_several_colours_are_no_strokes():
    classes = np.where(HOLE, 1, 0)
    classes[:3, :9] = 2
    image = Image.fromarray(classes.astype(np.uint8))
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask = read_mask(encoded(image), 64)
    assert not mask.reading and not mask.hole.any()


# One colour on a transparent ground


@pytest.mark.parametrize("colour", [*COLOURS.values(), *BRIGHT.values(), (0, 0, 0)])
@pytest.mark.parametrize("under", [(0, 0, 0), (255, 255, 255), (9, 200, 9)])
def test_strokes_on_a_transparent_ground_are_the_hole(colour, under):
    image = painted(colour, under)
    image.putalpha(Image.fromarray(GREY))
    content, bright = encoded(image), colour in BRIGHT.values()
    mask = read_mask(content, 64)
    np.testing.assert_array_equal(mask.hole, HOLE)
    assert "transparent ground: the hole is what is opaque" in mask.reading
    # Then black is the hole, and a bright colour is not.
    turned = read_mask(content, 64, "black")
    np.testing.assert_array_equal(turned.hole, HOLE ^ bright)
    assert ("what is transparent" if bright else "what is opaque") in turned.reading
    assert ("--mask-polarity black: what is transparent" in mask.reading) == bright


def test_a_hole_that_is_erased_from_a_white_mask_needs_the_polarity():
    image = Image.new("RGBA", (WIDTH, HEIGHT), (255, 255, 255, 255))
    image.putalpha(Image.fromarray(255 - GREY))
    np.testing.assert_array_equal(read_mask(encoded(image), 64).hole, ~HOLE)
    np.testing.assert_array_equal(read_mask(encoded(image), 64, "black").hole, HOLE)


def test_a_gif_of_strokes_on_a_transparent_ground_is_read():
    image = Image.fromarray(HOLE.astype(np.uint8))
    image.putpalette([255, 255, 255, 255, 255, 255])
    mask = read_mask(encoded(image, "GIF", transparency=0), 64)
    np.testing.assert_array_equal(mask.hole, HOLE)


def with_alpha(colours: np.ndarray, alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8))


WHITE_ON_BLACK = np.asarray(painted((255, 255, 255)))


@pytest.mark.parametrize("polarity", ["white", "black"])
@pytest.mark.parametrize(
    "image, said",
    [
        (with_alpha(WHITE_ON_BLACK, np.full_like(GREY, 255)), False),
        (with_alpha(WHITE_ON_BLACK, np.where(HOLE, 255, 200)), False),
        (with_alpha(WHITE_ON_BLACK, np.full_like(GREY, 0)), True),
        (with_alpha(WHITE_ON_BLACK, ALPHA), True),  # Two colours are opaque.
        (with_alpha(NOISE, ALPHA), True),
        (with_alpha(NOISE, 255 - GREY), True),  # A photograph whose hole is erased.
    ],
)
def test_other_alpha_means_nothing_and_is_said(image, said, polarity):
    mask = read_mask(encoded(image), 64, polarity)
    assert mask.reading.startswith("its alpha is not used") == said
    assert ("--mask-from-alpha" in mask.reading) == said
    bright = np.asarray(image.convert("RGB").convert("L")) > 127
    np.testing.assert_array_equal(mask.hole, bright ^ (polarity == "black"))


def test_a_colour_on_black_of_which_a_part_is_transparent_is_read_and_its_alpha_is_not():
    alpha = np.full_like(GREY, 255)
    alpha[0] = 0
    mask = read_mask(encoded(with_alpha(np.asarray(painted((255, 0, 0))), alpha)), 64)
    np.testing.assert_array_equal(mask.hole, HOLE)
    assert "one colour on black" in mask.reading and "alpha is not used" in mask.reading


@pytest.mark.parametrize("colour", COLOURS.values())
def test_colours_on_black_go_by_brightness_if_black_is_the_hole(colour):
    mask = read_mask(encoded(painted(colour)), 64, "black")
    assert mask.hole.all() and not mask.reading


# A maximum of 1

ONES = HOLE.astype(np.uint8)
TO_ONE = Image.fromarray(ONES)
TO_ONE_PALETTE = TO_ONE.copy()
TO_ONE_PALETTE.putpalette(np.arange(256).repeat(3).tolist())


@pytest.mark.parametrize("polarity", ["white", "black"])
@pytest.mark.parametrize(
    "content",
    [
        encoded(TO_ONE),
        encoded(TO_ONE.convert("RGB")),
        encoded(TO_ONE, "BMP"),
        encoded(TO_ONE, "TIFF"),
        encoded(TO_ONE_PALETTE),
        png(ONES.astype(np.uint16), 16, 0),
        png(ONES.astype(np.uint16) * 257, 16, 0),
    ],
)
def test_a_maximum_of_1_is_refused_as_the_library_does(content, polarity):
    with pytest.raises(RuleError) as of_library:
        as_hole(ONES, ONES.shape)
    with pytest.raises(RuleError) as of_file:
        read_mask(content, 64, polarity)
    assert str(of_file.value) == str(of_library.value)
    assert "got a maximum of 1" in str(of_file.value)


def test_a_palette_is_read_by_its_colours_and_one_bit_is_black_and_white():
    image = TO_ONE.copy()
    image.putpalette([0, 0, 0, 200, 200, 200])
    np.testing.assert_array_equal(read_mask(encoded(image), 64).hole, HOLE)
    np.testing.assert_array_equal(read_mask(encoded(Image.fromarray(HOLE)), 64).hole, HOLE)


@pytest.mark.parametrize("type", [np.float32, np.int32])
def test_masks_of_32_bits_are_refused(type):
    with pytest.raises(PictureError, match="must have 8 or 16 bits per channel, got 32"):
        read_mask(encoded(Image.fromarray(GREY.astype(type)), "TIFF"), 64)


# Growing


@pytest.mark.parametrize("distance", [0, 1, 2, 5, 13, 100])
def test_a_hole_grows_by_euclidean_distance(distance):
    rng = np.random.default_rng(distance)
    hole = rng.random([90, 120]) > 0.999
    hole[40:45, 50] = True
    expected = ndimage.distance_transform_edt(~hole) <= distance
    np.testing.assert_array_equal(grow(hole, distance), expected)


def test_no_hole_and_all_hole_do_not_grow():
    for hole in (np.zeros([5, 6], bool), np.ones([5, 6], bool)):
        np.testing.assert_array_equal(grow(hole, 3), hole)
