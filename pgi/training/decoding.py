"""Decoding of one photograph's file, which may come from a stranger.

Only formats in which photographs come, and which Pillow decodes by itself: for EPS it would start
Ghostscript. Sizes are checked in the header, since a small file can hold very many pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ImageOps, UnidentifiedImageError

from pgi.arrays import UInt8Array
from pgi.pillow import Image, size_problem

# To Pillow a JPEG of several pictures (MPO) is a JPEG, and PBM and PGM are PPM. Of files with
# several pictures the first is read.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
MAX_MEGAPIXELS = 64.0


def read_image(file: str | Path | BinaryIO) -> UInt8Array:
    """A file's pixels as 8-bit RGB, upright.

    Grey, palettes and CMYK are converted, 16-bit values keep their high byte, alpha is dropped,
    the orientation in EXIF is applied.

    Args:
        file: path or open file, in one of `FORMATS`.

    Returns:
        `[H, W, 3]`.

    Raises:
        OSError: the file is unreadable, truncated, too large or in another format, or its pixels
            are floats.
    """
    with _opened(file) as image:
        image.load()
        return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))


def image_size(file: str | Path | BinaryIO) -> tuple[int, int]:
    """Width and height as stored, from the header alone; errors as of `read_image`."""
    with _opened(file) as image:
        return image.size


def suffixes() -> list[str]:
    """The suffixes of the names of files in `FORMATS`, lower-case, each with its dot."""
    return [suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS]


@contextlib.contextmanager
def _opened(file: str | Path | BinaryIO) -> Iterator[Image.Image]:
    """An image whose pixels are not loaded yet; all errors inside become OSError."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if problem := size_problem(image, MAX_MEGAPIXELS):
                raise OSError(problem)
            yield image
    except UnidentifiedImageError as error:
        raise OSError(f"no {', '.join(FORMATS)} image, or its header is damaged") from error
    except OSError:
        raise
    except Image.DecompressionBombError as error:  # Before our own check, at twice as many pixels.
        raise OSError(f"must have at most {MAX_MEGAPIXELS:g} megapixels: {error}") from error
    except Exception as error:  # Pillow's decoders raise errors of many types on damaged files.
        raise OSError(str(error)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise OSError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        # 16-bit grey, which Pillow would clip at 255 instead of scaling it.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    return image.convert("RGB")
