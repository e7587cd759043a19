"""One picture file: bytes in, a hole filled, bytes out, and nothing else changed.

A picture of 8 bits per channel keeps its format, its size, its mode, every pixel outside the hole,
its alpha, EXIF, ICC profile and resolution. The network sees it upright and as RGB; the file is
written as it was stored. What would lose something else than the hole is refused.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pgi.errors import PictureError
from pgi.files.encoding import FORMATS, encode, save_options
from pgi.files.exif import read_exif, to_stored, to_upright
from pgi.files.filling import alpha_of, fill_hole

# As in pgi.training.reading, for the same reason.
warnings.filterwarnings("ignore", module=r"PIL\.")

POLARITIES = ("white", "black")
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")


@dataclass(frozen=True)
class Picture:
    """A picture file's content.

    Args:
        image: the pixels as they are stored.
        format: one of `FORMATS`.
        orientation: 1 to 8, as in EXIF.
        options: from `pgi.files.encoding.save_options`.
    """

    image: Image.Image
    format: str
    orientation: int
    options: dict[str, dict[str, Any]]

    @property
    def shape(self) -> tuple[int, int]:
        """`(H, W)`, upright."""
        width, height = self.image.size
        return (width, height) if self.orientation >= 5 else (height, width)

    @property
    def rgb(self) -> np.ndarray:
        """`[H, W, 3]` uint8, upright; alpha is dropped."""
        pixels = np.asarray(self.image.convert("RGB"))
        return np.ascontiguousarray(to_upright(pixels, self.orientation))

    @property
    def alpha(self) -> np.ndarray | None:
        """`[H, W]` uint8, upright; None for a picture that knows no transparency."""
        alpha = alpha_of(self.image)
        return None if alpha is None else to_upright(alpha, self.orientation)

    def with_hole(self, rgb: np.ndarray, mask: np.ndarray, opaque: bool = False) -> Picture:
        """The picture with the hole filled as by `pgi.files.filling.fill_hole`.

        Args:
            rgb: `[H, W, 3]` uint8, upright; only its hole is used.
            mask: `[H, W]` bool, upright, True = hole.
            opaque: whether filled pixels become opaque instead of keeping their alpha.

        Raises:
            PictureError: a palette has no colour to fill with.
        """
        rgb, mask = to_stored(rgb, self.orientation), to_stored(mask, self.orientation)
        return replace(self, image=fill_hole(self.image, rgb, mask, opaque))

    def encode(self, format: str | None = None) -> bytes:
        """The file's bytes, by default in the picture's own format.

        Raises:
            PictureError: the format cannot hold the picture.
        """
        format = format or self.format
        return encode(self.image, format, self.options[format])


def read_picture(content: bytes, max_megapixels: float) -> Picture:
    """Reads a PNG, JPEG or WebP file of 8 bits per channel.

    Args:
        content: of the file.
        max_megapixels: larger ones are refused by their header.

    Raises:
        PictureError: the content is something else, damaged, too large, animated or of 16 bits.

    Source: ours. Departs from it: nothing.
    """
    with _refusing_what_is_damaged():
        image, bits = _open(content, max_megapixels)
        if bits > 8 or image.mode not in _MODES:
            raise PictureError(f"must have 8 bits per channel, got {bits} (mode {image.mode})")
        image.load()
        _check_palette(image)
        _mend_transparency(image, bits)
        exif, orientation = read_exif(image)
        # A JPEG of several pictures, as some cameras write it, begins with the photograph.
        format = image.format if image.format in FORMATS else "JPEG"
        return Picture(image, format, orientation, save_options(image, content, exif))


def read_mask(content: bytes, max_megapixels: float, polarity: str = "white") -> np.ndarray:
    """Reads a mask file: any still picture, as grey.

    Args:
        content: of a PNG, JPEG or WebP file; of 16 bits the higher 8 count.
        max_megapixels: larger ones are refused by their header.
        polarity: which side of mid-grey is the hole, "white" (> 127) or "black" (<= 127).

    Returns:
        `[H, W]` bool, upright, True = hole.

    Raises:
        PictureError: the content is something else, damaged, too large or animated.

    Source: ours. Departs from it: nothing.
    """
    with _refusing_what_is_damaged():
        image, _ = _open(content, max_megapixels)
        image.load()
        if image.mode.startswith("I"):
            grey = np.asarray(image) // 256
        else:
            grey = np.asarray(image.convert("L"))
        _, orientation = read_exif(image)
        return to_upright((grey > 127) == (polarity == "white"), orientation)


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """`[H, W]` bool to `[height, width]`, each pixel as the nearest one."""
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


@contextlib.contextmanager
def _refusing_what_is_damaged() -> Iterator[None]:
    try:
        yield
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError("no PNG, JPEG or WebP, or damaged where it begins") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"too large for Pillow: {error}") from error
    except Exception as error:  # Pillow's decoders raise whatever they stumble over.
        raise PictureError(f"damaged: {str(error) or type(error).__name__}") from error


def _open(content: bytes, max_megapixels: float) -> tuple[Image.Image, int]:
    """A still picture whose pixels are yet to be loaded, and its bits per channel."""
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        size = f"{megapixels:g} ({image.width} x {image.height})"
        raise PictureError(f"must have at most {max_megapixels:g} megapixels, got {size}")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PictureError("must be a still picture, got an animated one")
    if image.format == "WEBP":
        return image, 8
    if not image.tile:
        raise PictureError("damaged: a header without pixels")
    # Pillow reads 16-bit colour as 8-bit and says so here only.
    raw_mode = str(image.tile[0][3])
    narrow = 1 if image.mode == "1" else 8
    return image, next((bits for bits in (16, 4, 2) if f";{bits}" in raw_mode), narrow)


def _check_palette(image: Image.Image) -> None:
    if image.mode == "P":
        colours, highest = len(image.getpalette() or []) // 3, np.asarray(image).max()
        if highest >= colours:
            raise PictureError(f"damaged: a pixel of colour {highest} in a palette of {colours}")


def _mend_transparency(image: Image.Image, bits: int) -> None:
    """Pillow scales grey of few bits to 8, but not the value of it that is transparent."""
    value = image.info.get("transparency")
    if isinstance(value, str):  # A text of this name, not the chunk.
        del image.info["transparency"]
    elif image.mode in ("1", "L") and value is not None:
        largest = 2**bits - 1
        image.info["transparency"] = (value & largest) * 255 // largest
