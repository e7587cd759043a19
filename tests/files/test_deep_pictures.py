"""PNG and TIFF of 16 bits: filled at 16 bits, without loss of known pixels or metadata."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from pgi.errors import PictureError, RuleError
from pgi.files.deep_pictures import DeepPicture
from pgi.files.masks import read_mask
from pgi.files.pictures import Picture
from tests.files.picture_files import (
    ALPHA,
    FILL,
    HEIGHT,
    HOLE,
    NOISE,
    OPAQUE,
    OTHER,
    WIDTH,
    chunk,
    decoded,
    encoded,
    filled_any,
    png,
    read_any,
    tiff,
)
from tests.files.test_encoding import ICC
from tests.training.test_reading import UPRIGHT

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

WIDE = NOISE.astype(np.uint16) * 257 ^ OTHER
ALPHA_16 = ALPHA.astype(np.uint16) * 257
DEEP = {
    "grey PNG": png(WIDE[..., 0], 16, 0),
    "RGB PNG": png(WIDE, 16, 2),
    "RGBA PNG": png(np.dstack([WIDE, ALPHA_16]), 16, 6),
    "grey TIFF": tiff(WIDE[..., 0], "minisblack"),
    "grey TIFF, MM": tiff(WIDE[..., 0], "minisblack", byteorder=">"),
    "grey TIFF, white is 0": tiff(65535 - WIDE[..., 0], "miniswhite"),
    "grey TIFF, white is 0, LZW": encoded(
        Image.fromarray(65535 - WIDE[..., 0]), "TIFF", compression="tiff_lzw", tiffinfo={262: 0}
    ),
    "RGB TIFF": tiff(WIDE),
    "RGB TIFF, MM": tiff(WIDE, byteorder=">", compression="zlib"),
    "RGB TIFF in tiles": tiff(WIDE, tile=(16, 16)),
    "RGB TIFF, LZW": cv2.imencode(".tif", WIDE[..., ::-1])[1].tobytes(),
    "RGBA TIFF": tiff(np.dstack([WIDE, ALPHA_16]), extrasamples=["unassalpha"]),
}


def samples(content: bytes) -> np.ndarray:
    """By other readers than ours: tifffile, and for PNG a decoder of its own."""
    if content[:2] in (b"II", b"MM"):
        return tifffile.imread(io.BytesIO(content)).reshape([HEIGHT, WIDTH, -1])
    shown = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown.dtype == np.uint16
    shown = shown.reshape([HEIGHT, WIDTH, -1])
    return shown[..., [2, 1, 0, 3][: shown.shape[2]]] if shown.shape[2] > 1 else shown


def expected(name: str) -> np.ndarray:
    if "grey" in name:
        return WIDE[..., :1]
    return np.dstack([WIDE, ALPHA_16]) if "RGBA" in name else WIDE


@pytest.mark.parametrize("to", ["PNG", "TIFF", None])
@pytest.mark.parametrize("name", DEEP)
def test_16_bits_are_filled_at_16_bits_and_known_pixels_stay_to_the_bit(name, to):
    content = filled_any(DEEP[name], to)
    after, before = samples(content), expected(name)
    assert decoded(content).format == (to or name.split()[1].strip(","))
    assert after.shape == before.shape
    np.testing.assert_array_equal(after[~HOLE], before[~HOLE])
    if "grey" in name:
        luma = (FILL @ [0.299, 0.587, 0.114])[HOLE] * 257
        np.testing.assert_allclose(after[HOLE][:, 0], luma, atol=0.51 * 257)
    else:
        np.testing.assert_array_equal(after[HOLE][:, :3], FILL[HOLE].astype(int) * 257)
    if "RGBA" in name:
        np.testing.assert_array_equal(after[..., 3], ALPHA_16)
        opaque = samples(filled_any(DEEP[name], to, opaque=True))
        np.testing.assert_array_equal(opaque[..., 3], np.where(HOLE, 65535, ALPHA_16))


@pytest.mark.parametrize("name", DEEP)
def test_the_network_sees_16_bits_rounded_to_8(name):
    picture = read_any(DEEP[name])
    nearest = np.rint(WIDE / 257).astype(np.uint8)
    shown = nearest[..., :1].repeat(3, axis=-1) if "grey" in name else nearest
    np.testing.assert_array_equal(picture.rgb, shown)
    assert picture.shape == (HEIGHT, WIDTH) and picture.rgb.flags.c_contiguous
    if picture.alpha is not None:
        np.testing.assert_array_equal(picture.alpha, ALPHA)
    assert (picture.alpha is not None) == ("RGBA" in name)


@pytest.mark.parametrize("name", ["RGB PNG", "RGB TIFF"])
def test_what_lies_under_the_mask_changes_nothing_at_16_bits(name):
    once = [filled_any(DEEP[name], fill=fill) for fill in (NOISE, OTHER)]
    assert once[0] != once[1] and filled_any(once[0]) == filled_any(once[1])


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_turned_16_bit_pictures_are_filled_upright(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    content = tiff(WIDE, extratags=[(274, 3, 1, orientation, True)])
    if kind == "PNG":
        content = png(WIDE, 16, 2, chunk(b"eXIf", exif.tobytes()[6:]))
    upright, hole, fill = (UPRIGHT[orientation](x) for x in (WIDE, HOLE, FILL))
    picture = read_any(content)
    np.testing.assert_array_equal(picture.rgb, np.rint(upright / 257).astype(np.uint8))
    wanted = np.where(hole[..., None], fill.astype(np.uint16) * 257, upright)
    for to in ("PNG", "TIFF"):
        again = read_any(picture.with_hole(fill, hole).encode(to))
        assert isinstance(again, DeepPicture)
        np.testing.assert_array_equal(again.samples, wanted)


def test_a_16_bit_png_keeps_its_metadata():
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Somebody")
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    small = encoded(
        Image.new("RGB", (1, 1)), pnginfo=text, exif=exif, icc_profile=ICC, dpi=(90, 60)
    )
    start = 33
    content = bytearray(DEEP["RGB PNG"])
    content[start:start] = small[start : small.index(b"IDAT") - 4]
    after = decoded(filled_any(bytes(content)))
    assert after.text == {"Author": "Somebody"} and after.info["icc_profile"] == ICC
    assert dict(after.getexif()) == dict(exif) and after.info["dpi"] == pytest.approx(
        (90, 60), 0.01
    )


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_16_bit_tiff_keeps_texts_profile_and_resolution(compression):
    texts = [(315, 2, None, "Grüße".encode("latin-1"), True), (700, 1, None, b"<xmp/>", True)]
    content = tiff(
        WIDE,
        compression=compression,
        iccprofile=ICC,
        resolution=(118.0, 59.0),
        resolutionunit="CENTIMETER",
        description="Scan",
        software="Program",
        datetime="2026:11:29 00:00:00",
        extratags=texts,
    )
    after = decoded(filled_any(content)).tag_v2
    found = {tag: after[tag] for tag in (270, 305, 306, 315, 700, 34675, 296)}
    assert found == {
        **{270: "Scan", 305: "Program", 306: "2026:11:29 00:00:00", 315: "Grüße"},
        **{700: b"<xmp/>", 34675: ICC, 296: 3},
    }
    assert [float(after[tag]) for tag in (282, 283)] == pytest.approx([118.0, 59.0])
    assert after[259] == (8 if compression else 1)


def rational(over: int, under: int) -> bytes:
    return struct.pack("<II", over, under)


ODD_TAGS: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "a date in words": ({"extratags": [(306, 2, None, b"yesterday", True)]}, b"", b""),
    "no number of dots": ({"resolution": (300, 300)}, rational(300, 1), rational(1, 0)),
    "an unknown unit": (
        {"resolutionunit": 3},
        struct.pack("<HHIHH", 296, 3, 1, 3, 0),
        struct.pack("<HHIHH", 296, 3, 1, 7, 0),
    ),
}


@pytest.mark.parametrize("name", ODD_TAGS)
def test_odd_tags_of_a_16_bit_tiff_do_not_stop_it(name):
    options, found, odd = ODD_TAGS[name]
    content = tiff(WIDE, **options)
    assert found in content
    result = filled_any(content.replace(found, odd) if found else content)
    assert samples(result).dtype == np.uint16
    np.testing.assert_array_equal(samples(result)[~HOLE], WIDE[~HOLE])


def test_a_mask_of_16_bits_in_which_white_is_0_is_turned_over():
    stored = np.where(HOLE, 0, 65535).astype(np.uint16)
    for photometric, hole in (("miniswhite", HOLE), ("minisblack", ~HOLE)):
        mask = read_mask(tiff(stored, photometric), 64)
        np.testing.assert_array_equal(mask.hole, hole)
    with pytest.raises(RuleError, match="got a maximum of 1"):
        read_mask(tiff(65535 - HOLE.astype(np.uint16), "miniswhite"), 64)


PROFILE = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200)))
ODD_PNGS = {
    "a profile": png(WIDE, 16, 2, PROFILE),
    "a background of another colour type": png(WIDE, 16, 2, chunk(b"bKGD", b"\0")),
    "the pixels' checksum": DEEP["RGB PNG"][:-13] + b"!" + DEEP["RGB PNG"][-12:],
}


@pytest.mark.parametrize("name", ODD_PNGS)
def test_no_library_writes_to_stderr_about_what_is_odd_in_a_png(name, capfd):
    if name != "the pixels' checksum":
        samples(ODD_PNGS[name])
        assert "libpng warning" in capfd.readouterr().err
    result = filled_any(ODD_PNGS[name])
    assert capfd.readouterr().err == ""
    np.testing.assert_array_equal(samples(result)[~HOLE], WIDE[~HOLE])


@pytest.mark.parametrize("to", ["JPEG", "WEBP", "BMP"])
def test_formats_of_8_bits_take_no_16(to):
    with pytest.raises(PictureError, match=f"{to} has no 16 bits per channel: write PNG or TIFF"):
        filled_any(DEEP["RGB PNG"], to)


def test_8_bits_are_read_as_before():
    for content in OPAQUE.values():
        assert isinstance(read_any(content), Picture)
