"""A picture file's bytes: pixels as they are, and all that the source file held besides them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin

from pgi.errors import PictureError
from pgi.files.filling import alpha_of

FORMATS = ("PNG", "JPEG", "WEBP")
# Texts and what the colours mean. Pillow writes others anew, or the filled hole makes them untrue.
_KEPT_CHUNKS = (b"cHRM", b"cICP", b"gAMA", b"sRGB", b"tEXt", b"zTXt", b"iTXt")


def save_options(image: Image.Image, content: bytes, exif: bytes) -> dict[str, dict[str, Any]]:
    """What Pillow is to be told about a picture when it writes it.

    Args:
        image: loaded, as Pillow opened it.
        content: of its file.
        exif: to be written.

    Returns:
        For each of `FORMATS` the options of `Image.save`: PNG and WebP without loss; JPEG with the
        tables and the subsampling of a source that was JPEG, else at quality 95, 4:4:4.

    Source: ours. Departs from it: nothing.
    """
    kept: dict[str, Any] = {"exif": exif, "icc_profile": _bytes_of(image, "icc_profile")}
    dpi, resolution = image.info.get("dpi"), {}
    if isinstance(dpi, tuple) and all(0 < value < 2**16 for value in dpi):
        resolution["dpi"] = dpi
    png = PngImagePlugin.PngInfo()
    if image.format == "PNG":
        for name, data in _png_chunks(content):
            # ImageMagick's texts of EXIF and the like may hold a thumbnail.
            if name in _KEPT_CHUNKS and not data.startswith(b"Raw profile type "):
                png.add(name, data)
    return {
        "PNG": {**kept, **resolution, "pnginfo": png},
        "JPEG": {**kept, **resolution, **_jpeg_options(image)},
        "WEBP": {**kept, "xmp": _bytes_of(image, "xmp"), "lossless": True, "exact": True},
    }


def encode(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    """Writes a picture file.

    A format that does not know the picture's mode gets the next one that holds the same colours.

    Args:
        image: of any mode that the three formats know.
        format: one of `FORMATS`.
        options: from `save_options`.

    Raises:
        PictureError: the format cannot hold the picture.

    Source: ours. Departs from it: nothing.
    """
    converted, file = _in_mode_of(format, image), io.BytesIO()
    profile = options["icc_profile"]
    if converted.mode in ("RGB", "RGBA") and profile[16:20] == b"GRAY":
        options = {**options, "icc_profile": b""}
    try:
        converted.save(file, format, **options)
    except Exception as error:  # Pillow's encoders raise whatever they stumble over.
        raise PictureError(f"cannot be written as {format}: {error}") from error
    content = file.getvalue()
    return _with_alpha(content) if (format, converted.mode) == ("WEBP", "RGBA") else content


def _in_mode_of(format: str, image: Image.Image) -> Image.Image:
    alpha = alpha_of(image)
    if format == "JPEG":
        if alpha is not None and alpha.min() < 255:
            raise PictureError("JPEG has no transparency: write PNG or WebP")
        if image.mode in ("L", "RGB", "CMYK"):
            return image
        return image.convert("L" if image.mode in ("1", "LA") else "RGB")
    if image.mode == "CMYK":
        raise PictureError(f"{format} has no CMYK: write JPEG")
    if format == "WEBP":
        return image.convert("RGB" if alpha is None else "RGBA")
    return image


def _jpeg_options(image: Image.Image) -> dict[str, Any]:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        # XMP of other formats may be too long for JPEG.
        return {"quality": 95, "subsampling": 0, "xmp": b""}
    # One table a channel. Pillow gives the last one to all channels that are left.
    tables = [image.quantization[number] for *_, number in image.layer]
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    # Pillow writes three kinds of subsampling; where it is another, none loses nothing.
    subsampling = max(JpegImagePlugin.get_sampling(image), 0)
    return {"qtables": tables, "subsampling": subsampling, "xmp": _bytes_of(image, "xmp")}


def _bytes_of(image: Image.Image, name: str) -> bytes:
    """What stands under that name, unless it is a text of PNG that is called so."""
    value = image.info.get(name)
    return value if isinstance(value, bytes) else b""


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 8
    while start + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        yield name, content[start + 8 : start + 8 + length]
        start += 12 + length


def _with_alpha(webp: bytes) -> bytes:
    """Says of a lossless WebP that it has alpha, even where it is opaque throughout.

    The encoder says so only of what is transparent somewhere; the mode would change to RGB.
    """
    content, start = bytearray(webp), 12
    while start < len(content):
        name, length = struct.unpack_from("<4sI", content, start)
        if name == b"VP8X":
            content[start + 8] |= 1 << 4
        elif name == b"VP8L":  # The bit follows a signature of 8 bits and twice 14 for the sides.
            content[start + 12] |= 1 << 4
        start += 8 + length + length % 2
    return bytes(content)
