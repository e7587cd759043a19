"""Files from strangers: only known formats, no programs, no memory beyond the limits."""

from __future__ import annotations

import io
import struct
import subprocess
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageFile

from pgi.pillow import MAX_SIDE
from pgi.training import decoding
from pgi.training.decoding import FORMATS, image_size, read_image
from tests.files.picture_files import chunk, overlapping_exif
from tests.training.test_reading import encoded, picture

COLOURS = Image.fromarray(picture())
BOTH = pytest.mark.parametrize("function", [read_image, image_size])


def black_png(width: int, height: int) -> io.BytesIO:
    """A whole 1-bit PNG, of about a thousandth of its pixels in bytes."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + -(-width // 8)) * height))
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def tiff(*tags: tuple[int, int, int, int], rest: bytes = b"") -> io.BytesIO:
    """A TIFF file of tags (number, type, count, value); `rest` begins at byte 14 + 12 per tag."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    start = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return io.BytesIO(start + entries + bytes(4) + rest)


def grey_tiff(side: int, tile: int) -> io.BytesIO:
    """A grey picture in one deflated tile, which may be larger than the picture."""
    packed = zlib.compress(bytes(tile * tile))
    known = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile}
    place = 14 + 12 * (len(known) + 2)
    known |= {324: place, 325: len(packed)}
    return tiff(*((tag, 4, 1, value) for tag, value in known.items()), rest=packed)


# Formats


def test_no_file_starts_a_program(tmp_path, monkeypatch):
    started = []

    def start(*arguments, **_):
        started.append(arguments)
        raise OSError("not to be started")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # As if Pillow had not looked for it.
    path = tmp_path / "holiday.jpg"
    path.write_bytes(encoded(COLOURS, "EPS"))
    for function in (read_image, image_size):
        with pytest.raises(OSError, match=r"no JPEG, PNG, .* image"):
            function(path)
    assert not started
    # Without a list of formats, Pillow does start one.
    with pytest.raises(OSError), Image.open(path) as image:
        image.load()
    assert started


def test_only_the_listed_formats_are_read_by_whatever_name():
    Image.init()
    read = set()
    for kind in set(Image.SAVE) & set(Image.OPEN):
        try:
            content = encoded(COLOURS.quantize() if kind in ("GIF", "PALM") else COLOURS, kind)
        except (OSError, ValueError):  # A format without colours.
            continue
        try:
            assert read_image(io.BytesIO(content)).shape == picture().shape
            read.add(kind)
        except OSError as error:
            assert str(error) == f"no {', '.join(FORMATS)} image, or its header is damaged"
    assert read == set(FORMATS)
    assert read_image(io.BytesIO(encoded(COLOURS, "MPO"))).shape == picture().shape


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "MPO", "AVIF"])
def test_of_several_pictures_the_first_is_read(kind):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("#f00", "#00f")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as written:
        assert getattr(written, "n_frames", 1) == 2
    pixels = read_image(io.BytesIO(content)).astype(int)
    assert abs(pixels - (255, 0, 0)).max() <= 4  # Lossy formats change some grey levels.


# Sizes


@BOTH
@pytest.mark.parametrize("kind", FORMATS)
def test_the_size_in_the_header_is_checked_in_every_format(monkeypatch, kind, function):
    monkeypatch.setattr(decoding, "MAX_MEGAPIXELS", 0.09)
    fits, large = (encoded(Image.new("L", (300, side)), kind) for side in (300, 301))
    function(io.BytesIO(fits))
    with pytest.raises(OSError) as error:
        function(io.BytesIO(large))
    assert str(error.value) == "must have at most 0.09 megapixels, got 0.0903 (300 x 301)"


@BOTH
@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (8000, 8001, r"at most 64 megapixels, got 64.008 \(8000 x 8001\)$"),
        (14000, 13000, r"at most 64 megapixels: Image size \(182000000 pixels\)"),
        (20000, 20000, r"at most 64 megapixels: Image size \(400000000 pixels\)"),
        (MAX_SIDE + 1, 40, r"sides of at most 65535 px, got 65536 x 40$"),
    ],
)
def test_a_small_file_of_many_pixels_is_refused_before_they_are_read(
    monkeypatch, width, height, message, function
):
    def load(_):
        raise AssertionError("pixels are read")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)  # Pillow's, which programs change.
    with pytest.raises(OSError, match=message):
        function(black_png(width, height))


def test_what_is_allowed_is_allowed_by_pillow():
    for width, height in ((8000, 8000), (MAX_SIDE, 976)):
        assert image_size(black_png(width, height)) == (width, height)


@pytest.mark.slow
def test_as_many_pixels_as_are_allowed_are_read(recwarn):
    pixels = read_image(black_png(8000, 8000))
    assert pixels.shape == (8000, 8000, 3) and not pixels.any()
    assert not recwarn.list


def test_a_tile_that_is_larger_than_its_picture_is_checked_too():
    np.testing.assert_array_equal(read_image(grey_tiff(40, 48)), np.zeros([40, 40, 3]))
    with pytest.raises(OSError, match=r"a tile of at most 64 megapixels, got 64.2563 \(8016 x 80"):
        read_image(grey_tiff(40, 8016))


def test_a_text_in_the_place_of_a_tile_s_side_is_not_multiplied():
    """A megabyte of memory for the refusal; 10 MB and more if the text were repeated."""
    content = tiff(
        *((tag, 4, 1, 40) for tag in (256, 257, 278)),
        *((tag, 3, 1, value) for tag, value in ((258, 8), (259, 1), (262, 1), (277, 1))),
        (273, 4, 1, 14 + 12 * 11),
        (279, 4, 1, 1600),
        (322, 2, 2, int.from_bytes(b"x\0", "little")),
        (323, 4, 1, 10**7),
        rest=bytes(1600),
    ).getvalue()
    with pytest.raises(OSError, match="must have tiles whose sides are whole numbers"):
        read_image(io.BytesIO(content))
    assert peak(content) < 1e6


# What unpacks or multiplies while a header is read


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_text_that_unpacks_into_much_is_an_error(name):
    packed = {b"iTXt": b"x\0\1\0\0\0"}.get(name, b"x\0\0") + zlib.compress(bytes(10**8), 9)
    whole = encoded(COLOURS)
    with pytest.raises(OSError, match=r"[Tt]oo [Ll]arge"):
        read_image(io.BytesIO(whole[:33] + chunk(name, packed) + whole[33:]))


def peak(content: bytes) -> int:
    """The most bytes that Python held while reading, also of a file that is refused."""
    tracemalloc.start()
    try:
        read_image(io.BytesIO(content))
    except OSError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


@pytest.mark.filterwarnings("ignore:the values of a directory:UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_values_that_are_all_the_whole_file_are_not_all_kept(kind):
    exif = overlapping_exif(tags=1000, size=60_000)
    content = exif[6:] if kind == "TIFF" else encoded(COLOURS, kind, exif=exif)
    assert peak(content) < 2e6
