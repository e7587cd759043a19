"""Whatever bytes a file consists of, it is filled or refused with the one error."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from pgi.errors import PictureError, RuleError
from pgi.files.deep_pictures import DeepPicture, read_file
from pgi.files.exif import to_stored
from pgi.files.masks import read_mask, resize_mask
from pgi.files.pictures import Picture
from tests.files.picture_files import JPEG, KINDS, LOSSLESS, NOISE, chunk, decoded, encoded, png
from tests.files.test_metadata import FULL

FILES = 2000


TIFF = (
    b"II*\0\x08\0\0\0\3\0"
    + b"".join(
        struct.pack("<HHII", *entry)
        for entry in ((274, 3, 1, 6), (282, 5, 1, 60), (0x8769, 4, 1, 8))
    )
    + struct.pack("<IIIHHHII", 50, 72, 1, 1, 0x0201, 4, 1, 99)
)


def turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274], exif[282] = orientation, 72.0
    return encoded(Image.fromarray(NOISE), kind, exif=exif, icc_profile=bytes(200))


WHOLE = [
    *LOSSLESS,
    *JPEG.values(),
    *(turned(kind, n) for kind in ("PNG", "JPEG", "WEBP") for n in (3, 6)),
    encoded(Image.fromarray(NOISE), "JPEG", progressive=True),
    encoded(Image.fromarray(NOISE), dpi=(300, 300)),
    encoded(Image.fromarray(NOISE), save_all=True, append_images=[Image.fromarray(NOISE[::-1])]),
    *(encoded(Image.fromarray(NOISE), "TIFF", compression=x) for x in ("raw", "tiff_lzw")),
    encoded(Image.fromarray(NOISE), "BMP"),
    encoded(Image.fromarray(NOISE), "GIF"),  # A mask only.
    png(NOISE.astype(np.uint16) * 257, 16, 2),
    *FULL.values(),
]


def flipped(rng: np.random.Generator, content: bytes) -> bytes:
    changed = bytearray(content)
    # Half of them where the headers are.
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 150)
    for place in rng.integers(0, reach, rng.integers(1, 6)):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def truncated(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: rng.integers(len(content))]


def spliced(rng: np.random.Generator, content: bytes) -> bytes:
    other = WHOLE[rng.integers(len(WHOLE))]
    start, end = sorted(rng.integers(0, len(other), 2))
    place = rng.integers(len(content))
    return content[:place] + other[start:end] + content[place + rng.integers(0, 100) :]


def of_another_size(rng: np.random.Generator, content: bytes) -> bytes:
    """Where the formats keep their sizes, other numbers."""
    changed, place = (
        bytearray(content),
        {b"\x89": 16, b"R": 24, b"\xff": 163, b"I": 18, b"B": 18, b"G": 6}[content[:1]],
    )
    number = rng.choice([0, 1, 35, 4000, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1])
    struct.pack_into(rng.choice([">I", "<I"]), changed, place + rng.integers(0, 5), number)
    return bytes(changed)


def noise(rng: np.random.Generator, content: bytes) -> bytes:
    return content[: rng.integers(30)] + rng.bytes(rng.integers(300))


def with_odd_metadata(rng: np.random.Generator, content: bytes) -> bytes:
    exif = flipped(rng, b"Exif\0\0" + TIFF) if rng.random() < 0.8 else rng.bytes(50)
    kind, options = KINDS[rng.integers(len(KINDS))]
    content = encoded(Image.fromarray(NOISE), kind, exif=exif, icc_profile=rng.bytes(20), **options)
    if kind == "PNG":
        name = rng.choice([b"tRNS", b"PLTE", b"pHYs", b"iCCP", b"gAMA", b"cHRM", b"tEXt", b"iTXt"])
        content = content[:33] + chunk(name, rng.bytes(rng.integers(40))) + content[33:]
    return content


def with_right_checksums(content: bytes) -> bytes:
    """PNG readers look no further into a chunk whose checksum is wrong."""
    changed, start = bytearray(content), 8
    while content[:1] == b"\x89" and start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        end = start + 8 + length
        changed[end : end + 4] = struct.pack(">I", zlib.crc32(content[start + 4 : end]))
        start = end + 4
    return bytes(changed[: len(content)])


def files(rng: np.random.Generator, count: int) -> Iterator[bytes]:
    mutations = [flipped] * 3 + [truncated, spliced, of_another_size, noise]
    mutations += [with_odd_metadata] * 3
    for _ in range(count):
        content = WHOLE[rng.integers(len(WHOLE))]
        content = mutations[rng.integers(len(mutations))](rng, content)
        yield with_right_checksums(content) if rng.random() < 0.8 else content


def shown(picture: Picture | DeepPicture) -> np.ndarray:
    if isinstance(picture, DeepPicture):
        return picture.samples
    return np.asarray(picture.image.convert("RGBA"))


@pytest.mark.filterwarnings("ignore:::PIL")
def test_every_file_is_filled_or_refused():
    refused = 0
    mask = read_mask(WHOLE[0], max_megapixels=0.1).hole
    for content in files(np.random.default_rng(0), FILES):
        with contextlib.suppress(PictureError, RuleError):
            mask = read_mask(content, max_megapixels=0.1).hole
        try:
            picture = read_file(content, max_megapixels=0.1)
        except PictureError:
            refused += 1
            continue
        hole = resize_mask(mask, *picture.shape)
        try:
            written = picture.with_hole(~picture.rgb, hole).encode()
        except PictureError as error:
            assert "cannot be written" in str(error)
            continue
        before, after = decoded(content), decoded(written)
        assert after.size == before.size
        if before.format in ("PNG", "WEBP", "TIFF", "BMP"):
            again = read_file(written, max_megapixels=0.1)
            np.testing.assert_array_equal(shown(again)[~hole], shown(picture)[~hole])
            stored = [np.asarray(x.convert("RGB")) for x in (before, after)]
            known = np.asarray(to_stored(Image.fromarray(~hole), picture.orientation))
            np.testing.assert_array_equal(stored[1][known], stored[0][known])
    assert 0.3 < refused / FILES < 0.7
