"""A written file holds what its source held besides pixels, in its format or in another."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, JpegImagePlugin, PngImagePlugin

from pgi.errors import PictureError
from tests.files.picture_files import (
    FILL,
    GREY,
    HEIGHT,
    HOLE,
    JPEG,
    KINDS,
    LOSSLESS,
    NAMES,
    NOISE,
    OPAQUE,
    OTHER,
    TRANSPARENT,
    WIDTH,
    converted,
    decoded,
    encoded,
    filled,
    read,
)
from tests.training.test_reading import UPRIGHT

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

EXIF = Image.Exif()
EXIF[0x010F], EXIF[0x8298] = "Camera", "Somebody"
EXIF[0x0112] = 6
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind, options", KINDS)
def test_exif_profile_and_resolution_stay(kind, options):
    dpi = {} if kind == "WEBP" else {"dpi": (300, 150)}
    content = encoded(
        Image.fromarray(NOISE), kind, exif=EXIF.tobytes(), icc_profile=ICC, **dpi, **options
    )
    before, picture = decoded(content), read(content)
    after = decoded(picture.with_hole(picture.rgb, np.zeros(picture.shape, bool)).encode())
    for key in ("exif", "icc_profile"):
        assert before.info[key] and after.info[key] == before.info[key]
    assert after.info.get("dpi") == before.info.get("dpi")


@pytest.mark.parametrize("to", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kind, options", KINDS)
def test_exif_and_profile_also_pass_into_another_format(kind, options, to):
    content = encoded(Image.fromarray(NOISE), kind, exif=EXIF.tobytes(), icc_profile=ICC, **options)
    after = decoded(read(content).encode(to))
    assert after.format == to
    assert dict(after.getexif()) == dict(EXIF) and after.info["icc_profile"] == ICC


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind, options", KINDS)
def test_the_network_sees_the_picture_upright_and_the_file_stays_turned(kind, options, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    content = encoded(Image.fromarray(NOISE), kind, exif=exif, **options)
    picture = read(content)
    upright = np.asarray(ImageOps.exif_transpose(decoded(content)))
    np.testing.assert_array_equal(picture.rgb, upright)
    assert picture.shape == upright.shape[:2] and picture.rgb.flags.c_contiguous
    hole, fill = UPRIGHT[orientation](HOLE), UPRIGHT[orientation](FILL)
    after = decoded(picture.with_hole(fill, hole).encode())
    assert after.size == (WIDTH, HEIGHT) and after.getexif()[274] == orientation
    if kind != "JPEG":
        np.testing.assert_array_equal(np.asarray(after), np.where(HOLE[..., None], FILL, NOISE))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("to", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_orientation_that_stands_elsewhere_than_in_exif_is_not_lost(kind, to):
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    options = {"pnginfo": text} if kind == "PNG" else {"xmp": XMP, "lossless": True}
    content = encoded(Image.fromarray(NOISE), kind, **options)
    assert read(content).shape == (WIDTH, HEIGHT)
    after = decoded(read(content).encode(to))
    assert after.size == (WIDTH, HEIGHT) and ImageOps.exif_transpose(after).size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("value", [0, 9, 6000])
def test_an_orientation_that_is_none_turns_nothing(value):
    exif = Image.Exif()
    exif[274] = value
    content = encoded(Image.fromarray(NOISE), exif=exif)
    np.testing.assert_array_equal(read(content).rgb, NOISE)
    assert decoded(filled(content)).info["exif"] == decoded(content).info["exif"]


def test_exif_that_cannot_be_read_is_kept_as_it_is():
    content = encoded(Image.fromarray(NOISE), exif=b"Exif\0\0 no TIFF header at all")
    assert decoded(filled(content)).info["exif"] == b"Exif\0\0 no TIFF header at all"


def exif_of_two_directories(order: str, rest: bytes, **second: int) -> bytes:
    """Turned by 180 degrees; the second directory begins at 26 and has the tags that are given."""

    def entry(tag: str, value: int) -> bytes:
        short = tag == "x0117" and value < 2**16
        start = struct.pack(f"{order}HHI", int(tag[1:], 16), 3 if short else 4, 1)
        return start + struct.pack(f"{order}{'HH' if short else 'I'}", *[value, 0][: 1 + short])

    def directory(next_one: int, **values: int) -> bytes:
        count, link = (
            struct.pack(f"{order}{x}", y) for x, y in (("H", len(values)), ("I", next_one))
        )
        return count + b"".join(entry(*item) for item in values.items()) + link

    header = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    return b"Exif\0\0" + header + directory(26, x0112=3) + directory(0, **second) + rest


@pytest.mark.parametrize("place, size", [("x0201", "x0202"), ("x0111", "x0117")])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind, options", KINDS)
def test_no_thumbnail_shows_what_was_under_the_mask(kind, options, order, place, size):
    thumbnail = encoded(Image.fromarray(NOISE), "JPEG") if size == "x0202" else NOISE.tobytes()
    tags = {place: 56, size: len(thumbnail)}
    exif = exif_of_two_directories(order, thumbnail + b"after", **tags)
    content = encoded(Image.fromarray(NOISE), kind, exif=exif, **options)
    second = decoded(content).getexif().get_ifd(ExifTags.IFD.IFD1)
    assert (second[int(place[1:], 16)], second[int(size[1:], 16)]) == (56, len(thumbnail))
    after = decoded(filled(content))
    assert not after.getexif().get_ifd(ExifTags.IFD.IFD1) and after.getexif()[0x0112] == 3
    assert thumbnail[20:50] not in after.info["exif"] and after.info["exif"].endswith(b"after")


@pytest.mark.parametrize(
    "tags", [{"x0202": 50}, {"x0201": 8, "x0202": 50}, {"x0111": 8, "x0117": 50}]
)
@pytest.mark.parametrize("order", "<>")
def test_a_thumbnail_without_a_place_of_its_own_takes_nothing_else_away(order, tags):
    exif = exif_of_two_directories(order, b"after", **tags)
    after = decoded(filled(encoded(Image.fromarray(NOISE), exif=exif)))
    assert after.getexif()[0x0112] == 3
    assert after.info["exif"].endswith(exif[6 + 26 :])  # All from the second directory on.


def test_a_raw_profile_in_a_png_text_is_dropped():
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "exif\n 4\n00112233", zip=True)
    text.add_text("Raw", "kept")
    after = decoded(filled(encoded(Image.fromarray(NOISE), pnginfo=text)))
    assert after.text == {"Raw": "kept"}


def test_png_keeps_its_texts_and_what_its_colours_mean():
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Somebody")
    text.add_text("Comment", "long " * 99, zip=True)
    text.add(b"gAMA", struct.pack(">I", 100000))
    text.add(b"sRGB", b"\0")
    text.add(b"tIME", bytes(7))
    before = decoded(encoded(Image.fromarray(NOISE), pnginfo=text))
    after = decoded(filled(encoded(Image.fromarray(NOISE), pnginfo=text)))
    assert after.text == before.text and len(after.text) == 2
    assert after.info["gamma"] == 1.0 and after.info["srgb"] == 0


@pytest.mark.parametrize("name", ["transparency", "exif", "dpi", "icc_profile", "xmp", "comment"])
@pytest.mark.parametrize("to", ["PNG", "JPEG", "WEBP"])
def test_a_text_is_not_mistaken_for_what_it_is_called_after(name, to):
    text = PngImagePlugin.PngInfo()
    text.add_text(name, "(1, 2)")
    assert converted(encoded(Image.fromarray(NOISE), pnginfo=text), to).size == (WIDTH, HEIGHT)


# JPEG


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [40, 75, 98])
def test_jpeg_keeps_its_tables_and_its_subsampling(quality, subsampling):
    content = encoded(Image.fromarray(NOISE), "JPEG", quality=quality, subsampling=subsampling)
    after = decoded(filled(content))
    assert after.quantization == decoded(content).quantization
    assert JpegImagePlugin.get_sampling(after) == subsampling


@pytest.mark.parametrize("tables", [1, 2, 3])
def test_jpeg_keeps_one_table_for_each_channel(tables):
    values = [[n + 2] * 64 for n in range(tables)]
    after = decoded(filled(encoded(Image.fromarray(NOISE), "JPEG", qtables=values)))
    # Pillow writes a second table even if all channels use the first.
    used = [after.quantization[number] for *_, number in after.layer]
    assert used == (values + values[-1:] * 2)[:3]


def test_a_jpeg_hardly_changes_outside_the_hole():
    ramp = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)).astype(np.uint8)
    content = encoded(
        Image.fromarray(np.dstack([ramp * 4, ramp * 2, ramp])), "JPEG", quality=90, subsampling=0
    )
    picture, far = read(content), np.ones_like(HOLE)
    far[0:16, 8:24] = False  # The blocks that the hole lies in.
    after = read(picture.with_hole(FILL, HOLE).encode())
    # The same tables give the same coefficients, up to rounding.
    assert np.abs(after.rgb.astype(int) - picture.rgb)[far].max() <= 2
    assert (
        np.abs(after.rgb.astype(int) - FILL)[HOLE].mean() < np.abs(NOISE - FILL.astype(int)).mean()
    )


def test_other_formats_become_jpeg_of_quality_95_without_subsampling():
    after = converted(OPAQUE["RGB"], "JPEG")
    expected = decoded(encoded(Image.fromarray(NOISE), "JPEG", quality=95))
    assert after.quantization == expected.quantization
    assert JpegImagePlugin.get_sampling(after) == 0


def test_of_several_photographs_in_a_jpeg_the_first_is_taken():
    first, second = (Image.fromarray(x) for x in (NOISE, OTHER))
    content = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert decoded(content).n_frames == 2
    after = decoded(filled(content))
    assert (after.format, after.size) == ("JPEG", (WIDTH, HEIGHT))
    np.testing.assert_array_equal(read(content).rgb, np.asarray(decoded(content)))


# Other formats


def as_rgba(content: bytes) -> np.ndarray:
    return np.asarray(decoded(content).convert("RGBA"))


@pytest.mark.parametrize("to", ["PNG", "WEBP"])
@pytest.mark.parametrize("content", LOSSLESS, ids=NAMES)
def test_another_lossless_format_shows_the_same_pixels(content, to):
    after = converted(content, to)
    assert after.format == to and after.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(np.asarray(after.convert("RGBA")), as_rgba(filled(content)))


@pytest.mark.parametrize("content", OPAQUE.values(), ids=OPAQUE)
def test_jpeg_takes_what_is_opaque(content):
    after = converted(content, "JPEG")
    expected = as_rgba(filled(content))[..., :3].astype(int)
    grey = (expected.ptp(axis=-1) == 0).all()
    assert after.mode == ("L" if grey and decoded(content).mode != "P" else "RGB")
    assert np.abs(np.asarray(after.convert("RGB")) - expected).mean() < 10  # Of noise.


@pytest.mark.parametrize("content", TRANSPARENT.values(), ids=TRANSPARENT)
def test_jpeg_refuses_what_is_transparent_and_takes_it_once_it_is_filled(content):
    with pytest.raises(PictureError, match="JPEG has no transparency"):
        read(content).encode("JPEG")
    everywhere = read(content).with_hole(FILL, np.ones_like(HOLE), opaque=True)
    assert decoded(everywhere.encode("JPEG")).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("to", ["PNG", "WEBP"])
def test_cmyk_stays_jpeg(to):
    with pytest.raises(PictureError, match=f"{to} has no CMYK"):
        read(JPEG["CMYK"]).encode(to)


def test_a_profile_of_grey_does_not_pass_into_colour():
    profile = ICC[:16] + b"GRAY" + ICC[20:]
    content = encoded(GREY, icc_profile=profile)
    assert converted(content, "JPEG").info["icc_profile"] == profile
    assert "icc_profile" not in converted(content, "WEBP").info


def test_xmp_that_is_too_long_for_jpeg_stays_behind():
    xmp = XMP.ljust(10**5)
    content = encoded(Image.fromarray(NOISE), "WEBP", xmp=xmp, lossless=True)
    assert decoded(read(content).encode()).info["xmp"] == xmp
    after = decoded(read(content).encode("JPEG"))
    assert after.getexif()[274] == 6 and not after.info.get("xmp")


def test_a_size_that_a_format_does_not_know_is_refused():
    content = encoded(Image.new("L", (16384, 1)))
    with pytest.raises(PictureError, match="cannot be written as WEBP"):
        read(content).encode("WEBP")
