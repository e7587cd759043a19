"""What cannot be filled without loss is refused, and every mask becomes the right hole."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from pgi.errors import PictureError
from pgi.files.kinds import FORMATS
from pgi.files.masks import read_mask, resize_mask
from pgi.files.pictures import read_layer, read_picture
from tests.files.picture_files import (
    ALPHA,
    HEIGHT,
    HOLE,
    JPEG,
    KINDS,
    NOISE,
    OPAQUE,
    OTHER,
    PALETTE,
    WIDTH,
    chunk,
    decoded,
    encoded,
    overlapping_exif,
    png,
    read,
)
from tests.training.test_reading import UPRIGHT

# Refused

WIDE = NOISE.astype(np.uint16) * 257
COLOUR_TYPES = {"L": (0, WIDE[..., 0]), "LA": (4, WIDE[..., :2]), "RGB": (2, WIDE)}
COLOUR_TYPES["RGBA"] = (6, np.insert(WIDE, 3, 255, axis=-1))


@pytest.mark.parametrize("mode", COLOUR_TYPES)
def test_16_bits_are_refused_for_pictures_and_taken_for_masks(mode):
    colour_type, samples = COLOUR_TYPES[mode]
    content = png(samples, 16, colour_type)
    with pytest.raises(PictureError, match="must have 8 bits per channel, got 16"):
        read(content)
    high = (samples >> 8).astype(np.uint8).reshape(HEIGHT, WIDTH, -1)
    grey = (
        high[..., 0]
        if mode in ("L", "LA")
        else np.asarray(Image.fromarray(high[..., :3]).convert("L"))
    )
    np.testing.assert_array_equal(read_mask(content, 64).hole, grey > 127)


@pytest.mark.parametrize("reader", [read_picture, read_mask])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animated_pictures_are_refused(kind, reader):
    frames = [Image.fromarray(x) for x in (NOISE, OTHER)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert decoded(content).n_frames == 2
    with pytest.raises(PictureError, match="animated"):
        reader(content, 64)


@pytest.mark.parametrize("reader", [read_picture, read_mask])
@pytest.mark.parametrize("kind, options", KINDS)
def test_the_size_in_the_header_is_the_first_that_is_looked_at(kind, options, reader):
    content = encoded(Image.new("L" if kind == "JPEG" else "RGB", (1000, 1001)), kind, **options)
    cut_off = content[: -len(content) // 2]
    with pytest.raises(PictureError, match=r"at most 1 megapixels, got 1.001 .1000 x 1001."):
        reader(cut_off if kind != "WEBP" else content, 1)
    reader(content, 1.001)


HUGE = {
    "PNG": b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**20, 2**20, 8, 2, 0, 0, 0)),
    "JPEG": b"\xff\xd8\xff\xc0\0\x0b\x08"
    + b"\xff\xff\xff\xff\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0",
    "WEBP": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9),
}
HUGE["PNG"] += chunk(b"IDAT", zlib.compress(bytes(9)))


@pytest.mark.parametrize("reader", [read_picture, read_mask, read_layer])
@pytest.mark.parametrize("kind", HUGE)
@pytest.mark.parametrize("limit", [None, Image.MAX_IMAGE_PIXELS], ids=["ours", "Pillow's too"])
def test_a_header_of_very_many_pixels_is_refused_before_its_pixels_are_read(
    kind, reader, limit, monkeypatch
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(PictureError, match="at most 64 megapixels, got"):
        reader(HUGE[kind], 64)


BOMB = zlib.compress(bytes(10**8), 9)


@pytest.mark.parametrize("name", [b"iCCP", b"zTXt", b"iTXt"])
def test_a_small_file_that_unpacks_into_much_is_refused(name):
    packed = {b"iTXt": b"x\0\1\0\0\0"}.get(name, b"x\0\0") + BOMB
    with pytest.raises(PictureError, match=r"damaged: .*[Tt]oo [Ll]arge"):
        read(png(NOISE, 8, 2, chunk(name, packed)))


@pytest.mark.filterwarnings("ignore:the values of a directory:UserWarning")
@pytest.mark.parametrize("reader", [read_picture, read_mask])
@pytest.mark.parametrize("kind, options", KINDS)
def test_exif_whose_values_are_all_the_whole_of_it_takes_no_memory(kind, options, reader):
    exif = overlapping_exif(tags=1000, size=60_000)
    content = encoded(Image.fromarray(NOISE), kind, exif=exif, **options)
    tracemalloc.start()
    assert reader(content, 64) is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6


def test_a_png_without_pixels_is_refused():
    with pytest.raises(PictureError, match="a header without pixels"):
        read(OPAQUE["RGB"][:33] + chunk(b"IEND", b""))


def test_a_pixel_beyond_its_palette_is_refused():
    content = png(NOISE[..., 0] % 5, 8, 3, chunk(b"PLTE", PALETTE[:4].tobytes()))
    with pytest.raises(PictureError, match="colour 4 in a palette of 4"):
        read(content)


@pytest.mark.parametrize("reader", [read_picture, read_mask])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Photographs\n",
        encoded(Image.fromarray(NOISE), "PPM"),
        encoded(Image.fromarray(NOISE), "TIFF")[:200],
        encoded(Image.fromarray(NOISE), "BMP")[:200],
        encoded(Image.fromarray(NOISE), "GIF")[:200],
        OPAQUE["RGB"][:8],
        JPEG["RGB"][:400],
        OPAQUE["WebP"][:200],
    ],
    ids=[
        "empty",
        "text",
        "PPM",
        *(f"cut {x}" for x in ("TIFF", "BMP", "GIF", "PNG", "JPEG", "WebP")),
    ],
)
def test_what_is_no_whole_picture_is_refused_in_one_line(content, reader):
    with pytest.raises(PictureError) as error:
        reader(content, 64)
    assert "\n" not in str(error.value) and "0x" not in str(error.value)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF"])
def test_the_page_takes_what_browsers_show(kind):
    content = encoded(Image.fromarray(NOISE), kind)
    for reader in (read_picture, read_layer):
        with pytest.raises(PictureError, match=r"no PNG, JPEG or WebP, or|GIF is not read"):
            reader(content, 64)
    if kind != "GIF":
        assert read_picture(content, 64, FORMATS).format == kind


# Masks


def levels(kind: str = "PNG", **options) -> tuple[np.ndarray, bytes]:
    values = np.array([[0, 1, 126, 127, 128, 129, 255]], np.uint8)
    return values, encoded(Image.fromarray(values), kind, **options)


def test_more_than_127_is_the_hole_or_at_most_127():
    values, content = levels()
    np.testing.assert_array_equal(read_mask(content, 64).hole, values > 127)
    np.testing.assert_array_equal(read_mask(content, 64, "black").hole, values <= 127)


MASK = Image.fromarray(np.where(HOLE, 255, 0).astype(np.uint8))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_masks_of_every_mode_are_read(mode):
    np.testing.assert_array_equal(read_mask(encoded(MASK.convert(mode)), 64).hole, HOLE)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_masks_are_read(mode):
    content = encoded(MASK.convert("RGB").convert(mode), "JPEG", quality=95, subsampling=0)
    np.testing.assert_array_equal(read_mask(content, 64).hole, HOLE)


def test_the_alpha_of_a_mask_file_means_nothing():
    content = encoded(Image.merge("LA", [MASK, Image.fromarray(ALPHA)]))
    np.testing.assert_array_equal(read_mask(content, 64).hole, HOLE)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_masks_are_turned_upright(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    mask = read_mask(encoded(MASK, exif=exif), 64).hole
    np.testing.assert_array_equal(mask, UPRIGHT[orientation](HOLE))


def test_a_resized_mask_is_made_of_nearest_pixels():
    np.testing.assert_array_equal(
        resize_mask(HOLE, 3 * HEIGHT, 2 * WIDTH), HOLE.repeat(3, axis=0).repeat(2, axis=1)
    )
    doubled = HOLE.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(resize_mask(doubled, HEIGHT, WIDTH), HOLE)


def scans(number: int, tail: bytes = b"") -> bytes:
    """A progressive JPEG that repeats its first scan."""
    content = encoded(Image.new("L", (32, 32), 99), "JPEG", progressive=True)
    start = content.index(b"\xff\xda")
    end = content.index(b"\xff", start + 2)
    return content[:start] + content[start:end] * number + content[end:] + tail


def test_a_jpeg_of_many_scans_is_rejected_before_it_is_decoded() -> None:
    """Each scan takes as long as the whole photograph, and can have 20 bytes."""
    assert read_picture(scans(1), 1).rgb.shape == (32, 32, 3)
    with pytest.raises(PictureError, match="at most 100 scans, got more"):
        read_picture(scans(150), 1)
    # What follows the picture, such as a phone's film, is no scan.
    read_picture(scans(1, b"\xff\xda" * 150), 1)


def test_scans_are_not_found_in_metadata() -> None:
    content = encoded(Image.new("L", (32, 32)), "JPEG", comment=b"\xff\xda\x00\x08" * 150)
    read_picture(content, 1)
