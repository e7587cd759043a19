"""One picture file: its hole is filled, and nothing else changes.

A picture of 8 bits per channel keeps its format, its size, every pixel outside the hole, its alpha,
EXIF, ICC profile and resolution. Palettes and 1-bit pictures are written as RGB or grey, and a
transparent colour as alpha, since only then can a hole have any colour. Files that cannot be
written back intact are rejected.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from pgi.arrays import AnyArray, BoolArray, UInt8Array
from pgi.errors import PictureError
from pgi.files.encoding import FORMATS, encode, save_options
from pgi.files.exif import read_exif, to_stored, to_upright
from pgi.pillow import Image

POLARITIES = ("white", "black")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
# Offset of the bits per channel in a PNG; Pillow reads 16-bit colour as 8-bit without telling.
_PNG_BIT_DEPTH = 24
# Most scans of a JPEG. Decoding takes as long for each as for a whole photograph, and progressive
# JPEGs of cameras and programs have about ten.
_SCANS = 100
# Markers outside the coded pixels; what has no length is left out, but for the end of the picture.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_START_OF_SCAN, _END = b"\xda", b"\xd9"


@dataclass(frozen=True)
class Picture:
    """The content of a picture file.

    Args:
        image: upright pixels, of mode L, LA, RGB, RGBA or CMYK.
        format: one of `FORMATS`.
        orientation: of the stored pixels, 1 to 8, as in EXIF.
        options: from `pgi.files.encoding.save_options`.
    """

    image: Image.Image
    format: str
    orientation: int
    options: dict[str, dict[str, Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """`(H, W)`, upright."""
        return self.image.height, self.image.width

    @property
    def rgb(self) -> UInt8Array:
        """`[H, W, 3]`, upright; alpha is dropped."""
        return np.asarray(self.image.convert("RGB"))

    @property
    def alpha(self) -> UInt8Array | None:
        """`[H, W]`, upright; None if the file has no transparency."""
        return np.asarray(self.image.getchannel("A")) if "A" in self.image.getbands() else None

    def with_hole(self, rgb: UInt8Array, hole: BoolArray, opaque: bool = False) -> Picture:
        """The picture with new colours in the hole.

        If all known pixels are grey, also in an RGB file, so are the new ones.

        Args:
            rgb: `[H, W, 3]`, upright; only its hole is used.
            hole: `[H, W]`, upright, True = hole.
            opaque: whether filled pixels become opaque instead of keeping their alpha.
        """
        colours = Image.fromarray(rgb)
        known = self.rgb[~hole]
        if self.image.mode != "CMYK" and (known == known[:, :1]).all():
            colours = colours.convert("L")
        colours = colours.convert(self.image.mode)
        if self.alpha is not None and not opaque:
            colours.putalpha(self.image.getchannel("A"))
        return replace(self, image=Image.composite(colours, self.image, Image.fromarray(hole)))

    def encode(self, format: str | None = None) -> bytes:
        """The file's bytes, by default in the picture's own format.

        Raises:
            PictureError: the format cannot hold the picture.
        """
        format = format or self.format
        return encode(to_stored(self.image, self.orientation), format, self.options[format])


def read_picture(content: bytes, max_megapixels: float) -> Picture:
    """Reads a PNG, JPEG or WebP file of 8 bits per channel.

    Args:
        content: of the file.
        max_megapixels: larger pictures are rejected before their pixels are read.

    Raises:
        PictureError: the content is no such file, damaged, too large, animated or of 16 bits.
    """
    with _damage_as_picture_error():
        image = _open(content, max_megapixels)
        bits = content[_PNG_BIT_DEPTH] if image.format == "PNG" else 8
        if bits > 8 or image.mode not in _MODES:
            raise PictureError(f"must have 8 bits per channel, got {bits} (mode {image.mode})")
        image.load()
        exif, orientation = read_exif(image)
        # A JPEG of several pictures (MPO), as some cameras write it, begins with the photograph.
        format = image.format if image.format in FORMATS else "JPEG"
        options = save_options(image, content, exif)
        return Picture(
            to_upright(_fillable(image, bits), orientation), format, orientation, options
        )


def read_mask(content: bytes, max_megapixels: float, polarity: str = "white") -> BoolArray:
    """Reads a mask file, which may be any still picture; its brightness counts.

    Args:
        content: of a PNG, JPEG or WebP file; 16-bit values count by their high byte.
        max_megapixels: larger masks are rejected before their pixels are read.
        polarity: which side of mid-grey is the hole, "white" (> 127) or "black" (<= 127).

    Returns:
        `[H, W]`, upright, True = hole.

    Raises:
        PictureError: the content is no such file, damaged, too large or animated.
    """
    with _damage_as_picture_error():
        image = _open(content, max_megapixels)
        image.load()
        _, orientation = read_exif(image)
        wide = image.mode.startswith("I")
        image = to_upright(image, orientation)
        grey: AnyArray = np.asarray(image) // 256 if wide else np.asarray(image.convert("L"))
        bright: BoolArray = grey > 127
        return bright if polarity == "white" else ~bright


def read_layer(content: bytes, max_megapixels: float) -> UInt8Array:
    """Reads a layer of paint, as a page's editor sends it.

    Args:
        content: of a PNG, JPEG or WebP file.
        max_megapixels: larger layers are rejected before their pixels are read.

    Returns:
        `[h, w, 4]`, RGBA.

    Raises:
        PictureError: the content is no such file, damaged, too large or animated.
    """
    with _damage_as_picture_error():
        return np.asarray(_open(content, max_megapixels).convert("RGBA"))


def resize_mask(mask: BoolArray, height: int, width: int) -> BoolArray:
    """Nearest-neighbour resize of a `[H, W]` mask to `[height, width]`."""
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


@contextlib.contextmanager
def _damage_as_picture_error() -> Iterator[None]:
    try:
        yield
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError("no PNG, JPEG or WebP, or its header is damaged") from error
    except Exception as error:  # Pillow's decoders raise errors of many types on damaged files.
        raise PictureError(f"damaged: {str(error) or type(error).__name__}") from error


def _open(content: bytes, max_megapixels: float) -> Image.Image:
    """A still picture whose pixels are not loaded yet."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:  # Above twice Pillow's own limit.
        least = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise PictureError(
            f"must have at most {max_megapixels:g} megapixels, got more than {least:g}"
        ) from error
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        size = f"{megapixels:g} ({image.width} x {image.height})"
        raise PictureError(f"must have at most {max_megapixels:g} megapixels, got {size}")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PictureError("must be a still picture, got an animated one")
    if image.format in ("JPEG", "MPO") and _has_many_scans(content):
        raise PictureError(f"must have at most {_SCANS} scans, got more")
    if not image.tile and image.format != "WEBP":
        raise PictureError("damaged: a header without pixels")
    return image


def _has_many_scans(jpeg: bytes) -> bool:
    scans, place = 0, 0
    while scans <= _SCANS:
        marker = _MARKER.search(jpeg, place)
        if marker is None or marker[1] == _END:
            return False
        scans += marker[1] == _START_OF_SCAN
        place = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return True


def _fillable(image: Image.Image, bits: int) -> Image.Image:
    """The picture as L, LA, RGB, RGBA or CMYK, with the same visible pixels."""
    if image.mode == "P":
        colours, highest = len(image.getpalette() or []) // 3, np.asarray(image).max()
        if highest >= colours:
            raise PictureError(f"damaged: a pixel of colour {highest} in a palette of {colours}")
    grey, transparent = image.mode in ("1", "L"), image.info.get("transparency")
    if isinstance(transparent, str):  # A PNG text of this name.
        del image.info["transparency"]
    elif transparent is not None:
        if grey:  # Pillow scales the pixels to 8 bits, but not the value that is transparent.
            largest = 2**bits - 1
            image.info["transparency"] = (transparent & largest) * 255 // largest
        return image.convert("LA" if grey else "RGBA")
    return image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode))
