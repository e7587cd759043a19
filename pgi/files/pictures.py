"""One picture file: its hole is filled, and nothing else changes.

A picture of 8 bits per channel keeps its format, its size, every pixel outside the hole, its alpha,
EXIF, ICC profile and resolution. Palettes and 1-bit pictures are written as RGB or grey, and a
transparent colour as alpha, since only then can a hole have any colour. Files that cannot be
written back intact are rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import TiffImagePlugin

from pgi.arrays import BoolArray, UInt8Array
from pgi.errors import PictureError
from pgi.files.encoding import Options, encode, save_options
from pgi.files.exif import read_exif, to_stored, to_upright
from pgi.files.kinds import FORMATS, WEB_FORMATS
from pgi.files.metadata_reading import read_metadata
from pgi.files.opening import opened
from pgi.pillow import Image

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
_PNG_BIT_DEPTH = 24  # Offset of the bits per channel.
_TIFF_BIT_DEPTHS, _TIFF_PHOTOMETRIC, _TIFF_CHANNELS = 258, 262, 277  # Tags.


@dataclass(frozen=True)
class Picture:
    """The content of a picture file.

    Args:
        image: upright pixels, of mode L, LA, RGB, RGBA or CMYK.
        format: one of `FORMATS`.
        orientation: of the stored pixels, 1 to 8, as in EXIF.
        options: from `pgi.files.encoding.save_options`, for each format.
        lost: the same, names of the metadata that a format does not keep.
    """

    image: Image.Image
    format: str
    orientation: int
    options: dict[str, Options]
    lost: dict[str, tuple[str, ...]]

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
        stored = self.image if format == "BMP" else to_stored(self.image, self.orientation)
        return encode(stored, format, self.options[format])


def read_picture(
    content: bytes, max_megapixels: float, formats: Sequence[str] = WEB_FORMATS
) -> Picture:
    """Reads a picture file of 8 bits per channel.

    Args:
        content: of the file.
        max_megapixels: larger pictures are rejected before their pixels are read.
        formats: which are accepted, of `FORMATS`.

    Raises:
        PictureError: the content is no such file, damaged, too large, of several frames or pages,
            or of other channels than 8-bit grey, RGB, alpha and CMYK.
    """
    with opened(content, max_megapixels, formats) as image:
        return load_picture(image, content)


def load_picture(image: Image.Image, content: bytes) -> Picture:
    """As `read_picture`, of a file that is opened already."""
    bits = bits_per_channel(image, content)
    if bits > 8 or image.mode in ("F", "I"):
        raise PictureError(f"must have 8 bits per channel, got {bits} (mode {image.mode})")
    if image.mode not in _MODES:
        raise PictureError(f"must be grey, RGB or CMYK, got {image.mode}")
    # Pillow leaves out channels that it does not know.
    if channels(image) != len(image.getbands()):
        raise PictureError(
            f"must have no channels beside colour and alpha, got {channels(image)} channels"
        )
    image.load()
    exif = read_exif(image)
    format = image.format if image.format in FORMATS else "JPEG"  # It is MPO.
    saving = save_options(image, read_metadata(image, content, exif))
    upright = to_upright(_fillable(image, bits), exif.orientation)
    return Picture(upright, format, exif.orientation, *saving)


def bits_per_channel(image: Image.Image, content: bytes) -> int:
    """Bits of a stored sample; Pillow reads 16-bit colour as 8-bit without telling."""
    if image.format == "PNG":
        return content[_PNG_BIT_DEPTH]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(_TIFF_BIT_DEPTHS, (1,))))
    return 8


def white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF's samples are inverted, which Pillow undoes for 8 bits only."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(_TIFF_PHOTOMETRIC) == 0)


def channels(image: Image.Image) -> int:
    """Stored samples of a pixel, in a TIFF also those that Pillow leaves out."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2.get(_TIFF_CHANNELS, 1))
    return len(image.getbands())


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
    with opened(content, max_megapixels, WEB_FORMATS) as image:
        return np.asarray(image.convert("RGBA"))


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
