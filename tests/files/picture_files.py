"""Picture files for tests: one of every mode that PNG, JPEG and WebP know; and what fills them.

All are of HEIGHT x WIDTH pixels and none is like another under turning.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from pgi.files.deep_pictures import DeepPicture, read_file
from pgi.files.pictures import Picture, read_picture

HEIGHT, WIDTH = 24, 34
HOLE = np.zeros([HEIGHT, WIDTH], bool)
HOLE[5:14, 9:22] = True
RNG = np.random.default_rng(0)
COMPRESSIONS = ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"]  # Of TIFF.
NOISE, FILL, OTHER = RNG.integers(0, 256, [3, HEIGHT, WIDTH, 3], dtype=np.uint8)
RGB = Image.fromarray(NOISE)
GREY, BILEVEL = Image.fromarray(NOISE[..., 1]), Image.fromarray(NOISE[..., 0] > 99)
ALPHA = RNG.choice([0, 1, 127, 128, 255], [HEIGHT, WIDTH]).astype(np.uint8)
PALETTE = RNG.integers(0, 256, [256, 3], dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(content: bytes) -> Any:
    """Pillow's image, whose attributes depend on the format."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def overlapping_exif(tags: int, size: int) -> bytes:
    """EXIF of `size` bytes whose tags all have nearly the whole of it as their value."""
    entries = b"".join(struct.pack("<HHII", 40_000 + n, 7, size - 1, 1) for n in range(tags))
    start = struct.pack("<2sHIH", b"II", 42, 8, tags)
    return b"Exif\0\0" + (start + entries).ljust(size, b"\0")


def png(samples: np.ndarray, bits: int, colour_type: int, *chunks: bytes) -> bytes:
    """For what Pillow does not write: `[H, W]` samples, or `[H, W, C]` of 8 or 16 bits."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1)
    if bits < 8:
        rows = np.packbits(
            np.unpackbits(rows[..., None], axis=-1)[..., -bits:].reshape(height, -1), 1
        )
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(samples: np.ndarray, photometric: str = "rgb", **options: Any) -> bytes:
    """For what Pillow does not write."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric=photometric, metadata=None, **options)
    return file.getvalue()


def rgba(alpha: np.ndarray = ALPHA) -> Image.Image:
    return Image.fromarray(np.dstack([NOISE, alpha]))


def palette_image(colours: int) -> Image.Image:
    image = Image.fromarray((NOISE[..., 0] % colours).astype(np.uint8))
    image.putpalette(PALETTE[:colours].tobytes())
    return image


OPAQUE = {
    "1": encoded(BILEVEL),
    "L": encoded(GREY),
    "L of 2 bits": png(NOISE[..., 1] % 4, 2, 0),
    "L of 4 bits": png(NOISE[..., 1] % 16, 4, 0),
    "P": encoded(palette_image(256)),
    "P of 1 colour": encoded(palette_image(1)),
    "P of 3 colours": encoded(palette_image(3)),
    "P of 8 bits and 5 colours": png(
        NOISE[..., 0] % 5, 8, 3, chunk(b"PLTE", PALETTE[:5].tobytes())
    ),
    "RGB": encoded(Image.fromarray(NOISE)),
    "WebP": encoded(Image.fromarray(NOISE), "WEBP", lossless=True),
    "lossy WebP": encoded(Image.fromarray(NOISE), "WEBP"),
}
TRANSPARENT = {
    "1": encoded(BILEVEL, transparency=1),
    "L": encoded(GREY, transparency=int(NOISE[8, 12, 1])),
    "L of 2 bits": png(NOISE[..., 1] % 4, 2, 0, chunk(b"tRNS", b"\0\2")),
    "LA": encoded(Image.merge("LA", [GREY, Image.fromarray(ALPHA)])),
    "P, one colour": encoded(palette_image(64), transparency=7),
    "P, many colours": encoded(palette_image(64), transparency=bytes(range(0, 160, 5))),
    "RGB": encoded(Image.fromarray(NOISE), transparency=tuple(map(int, NOISE[8, 12]))),
    "RGBA": encoded(rgba()),
    "WebP": encoded(rgba(), "WEBP", lossless=True, exact=True),
    "lossy WebP": encoded(rgba(), "WEBP", exact=True),
}
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("JPEG", {"quality": 90}),
    ("WEBP", {"lossless": True}),
]
LOSSLESS = [*OPAQUE.values(), *TRANSPARENT.values()]
NAMES = [*OPAQUE, *(f"{name}, transparent" for name in TRANSPARENT)]
JPEG = {
    mode: encoded(Image.fromarray(NOISE).convert(mode), "JPEG", quality=80)
    for mode in ("L", "RGB", "CMYK")
}


def read(content: bytes) -> Picture:
    return read_picture(content, max_megapixels=64)


def filled(content: bytes, fill: np.ndarray = FILL, opaque: bool = False) -> bytes:
    return read(content).with_hole(fill, HOLE, opaque).encode()


def converted(content: bytes, kind: str) -> Any:
    return decoded(read(content).with_hole(FILL, HOLE).encode(kind))


# As `pgi inpaint` reads them: of all formats, of 8 or 16 bits.


def read_any(content: bytes) -> Picture | DeepPicture:
    return read_file(content, max_megapixels=64)


def filled_any(
    content: bytes, format: str | None = None, fill: np.ndarray = FILL, **options: bool
) -> bytes:
    return read_any(content).with_hole(fill, HOLE, **options).encode(format)


MASK = encoded(Image.fromarray(HOLE))
FILLED = np.where(HOLE[..., None], FILL, NOISE)


def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Ignores the hole, and spoils what it should leave alone."""
    assert image.dtype == np.uint8 and mask.dtype == bool and mask.shape == image.shape[:2]
    return np.where(mask[..., None], FILL[: len(mask), : mask.shape[1]], 255 - image)
