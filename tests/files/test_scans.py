"""TIFF and BMP files: filled without loss, or refused for a reason."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from pgi.errors import PictureError
from pgi.files.deep_pictures import read_file
from pgi.files.masks import read_mask
from tests.files.picture_files import (
    ALPHA,
    COMPRESSIONS,
    FILL,
    GREY,
    HEIGHT,
    HOLE,
    JPEG,
    NOISE,
    OTHER,
    RGB,
    WIDTH,
    chunk,
    decoded,
    encoded,
    filled_any,
    overlapping_exif,
    png,
    read_any,
    rgba,
    tiff,
)
from tests.files.test_encoding import ICC
from tests.training.test_reading import UPRIGHT

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

# TIFF of 8 bits

MODES = {mode: RGB.convert(mode) for mode in ("1", "L", "P", "RGB", "CMYK")}
MODES |= {"RGBA": rgba(), "LA": Image.merge("LA", [GREY, Image.fromarray(ALPHA)])}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_a_tiff_stays_one_and_keeps_known_pixels_and_its_compression(mode, compression):
    content = encoded(MODES[mode], "TIFF", compression=compression)
    after = decoded(filled_any(content))
    wider = {"1": "L", "P": "RGB"}.get(mode, mode)
    assert (after.format, after.mode, after.size) == ("TIFF", wider, (WIDTH, HEIGHT))
    assert after.info["compression"] == compression
    before = np.asarray(decoded(content).convert(wider))
    np.testing.assert_array_equal(np.asarray(after)[~HOLE], before[~HOLE])
    assert (np.asarray(after)[HOLE] != before[HOLE]).any()
    assert filled_any(filled_any(content, fill=OTHER)) == filled_any(
        filled_any(content, fill=NOISE)
    )


@pytest.mark.parametrize("mode, compression", [("1", "group4"), ("RGB", "jpeg")])
def test_other_compressions_become_deflate_without_loss(mode, compression):
    content = encoded(MODES[mode], "TIFF", compression=compression)
    after = decoded(filled_any(content))
    assert after.info["compression"] == "tiff_adobe_deflate"
    before = np.asarray(decoded(content).convert(after.mode))
    np.testing.assert_array_equal(np.asarray(after)[~HOLE], before[~HOLE])


def test_a_tiff_keeps_what_describes_it_and_not_what_shows_it():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    texts = {270: "Scan", 271: "Maker", 305: "Program", 306: "2026:11:29 00:00:00", 315: "Grüße"}
    for tag, text in texts.items():
        tags[tag] = text.encode("latin-1")
    tags[282], tags[283], tags[296] = 118.11, 59.0, 3
    tags[34377], tags.tagtype[34377] = b"8BIM layers", 7
    tags[37724], tags.tagtype[37724] = b"Adobe Photoshop Document Data Block", 7
    tags[700], tags.tagtype[700] = b"<xmp/>", 1
    for compression in COMPRESSIONS:
        content = encoded(RGB, "TIFF", compression=compression, tiffinfo=tags, icc_profile=ICC)
        assert b"8BIM" in content
        written = filled_any(content)
        after = decoded(written).tag_v2
        assert {tag: after[tag] for tag in texts} == texts
        assert [float(after[tag]) for tag in (282, 283)] == pytest.approx([118.11, 59.0])
        assert after[296] == 3 and after[700] == b"<xmp/>" and after[34675] == ICC
        assert b"8BIM" not in written and b"Data Block" not in written


def exif_of_a_camera() -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[256] = "Camera", 6, 9999
    exif.get_ifd(ExifTags.IFD.Exif)[0x829A] = 0.01
    exif.get_ifd(ExifTags.IFD.Exif)[0xA005] = {1: "R98"}
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    return exif.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_passes_into_a_tiff_and_out_of_it(kind):
    content = encoded(RGB, kind, exif=exif_of_a_camera(), icc_profile=ICC)
    tiff = read_any(content).encode("TIFF")
    upright = np.asarray(ImageOps.exif_transpose(decoded(content)))
    np.testing.assert_array_equal(np.asarray(decoded(tiff)), upright)
    again = read_any(tiff).encode("PNG")
    np.testing.assert_array_equal(np.asarray(decoded(again)), upright)
    for written in (tiff, again):
        exif = decoded(written).getexif()
        assert exif[0x010F] == "Camera" and exif.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N"}
        assert exif.get_ifd(ExifTags.IFD.Exif)[0x829A] == pytest.approx(0.01)
        assert exif.get_ifd(ExifTags.IFD.Interop) == {1: "R98"}
        assert decoded(written).info["icc_profile"] == ICC
    assert not {256, 273, 279} & set(decoded(again).getexif())


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_turned_tiff_is_filled_and_written_upright(orientation):
    tags = {274: orientation}
    content = encoded(RGB, "TIFF", tiffinfo=tags)
    upright, hole, fill = (UPRIGHT[orientation](x) for x in (NOISE, HOLE, FILL))
    np.testing.assert_array_equal(read_any(content).rgb, upright)
    after = decoded(read_any(content).with_hole(fill, hole).encode())
    np.testing.assert_array_equal(np.asarray(after), np.where(hole[..., None], fill, upright))
    assert after.getexif().get(274, 1) == 1


FOUR = (1, 2, 3, 4)


@pytest.mark.parametrize("compression", ["raw", "tiff_adobe_deflate"])
@pytest.mark.parametrize(
    "tag, value", [(270, 7), (282, FOUR), (296, FOUR), (274, FOUR), (274, 0), (274, 6000)]
)
def test_tags_of_odd_values_are_dropped(tag, value, compression):
    exif = Image.Exif()
    exif[tag] = value
    if compression == "raw":
        exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    content = encoded(RGB, "PNG", exif=exif.tobytes())
    after = decoded(read_any(content).encode("TIFF"))
    assert after.info["compression"] == compression
    np.testing.assert_array_equal(np.asarray(after), NOISE)


def test_cmyk_passes_between_jpeg_and_tiff():
    after = decoded(read_any(JPEG["CMYK"]).encode("TIFF"))
    assert after.mode == "CMYK"
    np.testing.assert_array_equal(np.asarray(after), np.asarray(decoded(JPEG["CMYK"])))


# Refused

THREE_PAGES = encoded(RGB, "TIFF", save_all=True, append_images=[RGB, RGB])


FIVE = np.concatenate([NOISE, OTHER[..., :1]], axis=-1)
WIDE = NOISE.astype(np.uint16) * 257 ^ OTHER


def twelve_bits() -> bytes:
    """A black grey TIFF of 12 bits, which neither Pillow nor tifffile writes."""
    size = HEIGHT * WIDTH * 12 // 8
    shape = [(256, WIDTH), (257, HEIGHT), (258, 12), (259, 1), (262, 1)]
    place = [(273, 8), (277, 1), (278, HEIGHT), (279, size)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in shape + place)
    head = struct.pack("<2sHI", b"II", 42, 8 + size)
    return head + bytes(size) + struct.pack("<H", 9) + entries + bytes(4)


@pytest.mark.parametrize(
    "content, message",
    [
        (THREE_PAGES, "must have one page, got several"),
        (tiff(FIVE, extrasamples=["unspecified"]), "no channels beside colour and alpha, got 4"),
        (encoded(Image.fromarray(NOISE[..., 0].astype(np.float32)), "TIFF"), "got 32 .mode F."),
        (encoded(Image.fromarray(NOISE[..., 0].astype(np.int32)), "TIFF"), "got 32 .mode I."),
        (tiff(np.dstack([WIDE, WIDE[..., 0]]), "separated"), "must have 16 bits as grey, RGB or"),
        (
            tiff(np.dstack([WIDE, WIDE[..., 0]]), extrasamples=["assocalpha"]),
            "must have 16 bits as",
        ),
        (tiff(WIDE.transpose(2, 0, 1).copy(), planarconfig="separate"), "must have 16 bits as"),
        (png(WIDE[..., :2], 16, 4), "must have 16 bits as grey, RGB or RGBA.* got grey with alpha"),
        (png(WIDE, 16, 2, chunk(b"tRNS", bytes(6))), "16 bits .* got a transparent colour"),
        (tiff(WIDE, bigtiff=True), "must have 16 bits as .* got a BigTIFF"),
        (twelve_bits(), "must have 8 or 16 bits per channel, got 12 "),
        (tiff(WIDE.astype(np.float32)), "^TIFF of a kind that is not read, or its header is"),
        (encoded(RGB.convert("LAB"), "TIFF"), "must be grey, RGB or CMYK, got LAB"),
        (
            encoded(Image.new("L", (9000, 8000)), "TIFF", compression="tiff_lzw"),
            "at most 64 megapix",
        ),
        (encoded(RGB, "GIF"), "GIF is not read: convert it to PNG"),
        (b"\0\0\0\x20ftypavif", "AVIF is not read: convert it to PNG"),
        (encoded(RGB, "PPM"), "no PNG, JPEG, WebP, TIFF or BMP, or its header is damaged"),
        (encoded(RGB, "BMP")[:900], "damaged: "),
        (encoded(RGB, "TIFF", compression="tiff_lzw")[:900], "damaged: |header is damaged"),
    ],
)
def test_what_cannot_be_written_back_is_refused(content, message):
    with pytest.raises(PictureError, match=message):
        read_any(content)


def directory(**tags: int) -> bytes:
    """A TIFF's header and directory, of tags `t256=...`, without any pixels."""
    entries = b"".join(struct.pack("<HHII", int(tag[1:]), 4, 1, tags[tag]) for tag in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(200)


PLAIN = {"t258": 8, "t259": 1, "t262": 1, "t277": 1}


@pytest.mark.parametrize("reader", [read_file, read_mask])
@pytest.mark.parametrize(
    "content, message",
    [
        (directory(t256=10**5, t257=10**5, **PLAIN, t273=200, t279=9), "at most 64 megapixels"),
        (
            directory(t256=9, t257=9, **PLAIN, t322=9 * 10**4, t323=9 * 10**4, t324=200, t325=9),
            "a tile of at most 64 megapixels",
        ),
        (
            b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, 2**20, 9, 1, 8, 1, *[0] * 5),
            "sides",
        ),
    ],
)
def test_a_header_of_very_many_pixels_is_refused_before_they_are_read(content, message, reader):
    tracemalloc.start()
    with pytest.raises(PictureError, match=message):
        reader(content, 64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3e6


def test_directories_whose_values_are_all_the_whole_file_take_no_memory():
    content = overlapping_exif(tags=1000, size=60_000)[6:]
    for reader in (read_file, read_mask):
        tracemalloc.start()
        with pytest.raises(PictureError):
            reader(content, 64)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3e6


def test_two_widths_in_one_directory_are_refused():
    content = bytearray(tiff(WIDE))
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    places = {struct.unpack_from("<H", content, start + 2 + 12 * n)[0]: n for n in range(count)}
    entry = start + 2 + 12 * places[305]  # Software becomes a second width.
    content[entry : entry + 12] = struct.pack("<HHII", 256, 4, 1, WIDTH)
    with pytest.raises(PictureError, match=r"must have 16 bits as grey|damaged"):
        read_any(bytes(content))


# BMP


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_bmp_stays_one_and_keeps_known_pixels(mode):
    content = encoded(RGB.convert(mode), "BMP", dpi=(300, 150))
    after = decoded(filled_any(content))
    assert (after.format, after.size) == ("BMP", (WIDTH, HEIGHT))
    before = np.asarray(decoded(content).convert(after.mode))
    np.testing.assert_array_equal(np.asarray(after)[~HOLE], before[~HOLE])
    assert after.info["dpi"] == pytest.approx((300, 150), abs=0.1)


def test_a_bmp_takes_what_is_opaque():
    with pytest.raises(PictureError, match="BMP has no transparency: write PNG, WebP or TIFF"):
        filled_any(encoded(rgba()), "BMP")
    with pytest.raises(PictureError, match="BMP has no CMYK: write JPEG or TIFF"):
        filled_any(JPEG["CMYK"], "BMP")
    erased = encoded(rgba(np.where(HOLE, 0, 255).astype(np.uint8)))
    after = decoded(filled_any(erased, "BMP", opaque=True))
    np.testing.assert_array_equal(np.asarray(after), np.where(HOLE[..., None], FILL, NOISE))
