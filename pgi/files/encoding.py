"""Writing a picture file: its pixels, and the metadata of the file that it came from."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin

from pgi.errors import PictureError
from pgi.files.exif import tiff_tags

# Of a TIFF, for all modes.
_LOSSLESS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma")
# Texts and colour spaces. Pillow writes some other chunks itself; the rest may not be true of the
# filled picture.
_KEPT_CHUNKS = (b"cHRM", b"cICP", b"gAMA", b"sRGB", b"tEXt", b"zTXt", b"iTXt")


def save_options(image: Image.Image, content: bytes, exif: bytes) -> dict[str, dict[str, Any]]:
    """Options of `Image.save` that keep a picture's metadata, for each of `FORMATS`.

    All but JPEG are written without loss, TIFF compressed like its source or with deflate; JPEG
    with the quantisation tables and the subsampling of a source that was JPEG, else at quality 95,
    4:4:4. Pillow writes no ICC profile and no texts into a BMP.

    Args:
        image: loaded, as Pillow opened it.
        content: the file's bytes.
        exif: the EXIF to write.
    """
    kept: dict[str, Any] = {"exif": exif, "icc_profile": _bytes_of(image, "icc_profile")}
    dpi, resolution = image.info.get("dpi"), {}
    if isinstance(dpi, tuple) and all(0 < value < 2**16 for value in dpi):
        resolution["dpi"] = dpi
    png = PngImagePlugin.PngInfo()
    if image.format == "PNG":
        for name, data in png_chunks(content):
            # ImageMagick's texts of raw profiles can contain EXIF with a thumbnail.
            if name in _KEPT_CHUNKS and not data.startswith(b"Raw profile type "):
                png.add(name, data)
    return {
        "PNG": {**kept, **resolution, "pnginfo": png},
        "JPEG": {**kept, **resolution, **_jpeg_options(image)},
        "TIFF": {"icc_profile": kept["icc_profile"], **_tiff_options(image, exif, resolution)},
        "BMP": resolution,
        "WEBP": {**kept, "xmp": _bytes_of(image, "xmp"), "lossless": True, "exact": True},
    }


def encode(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    """The bytes of a picture file.

    Args:
        image: of mode L, LA, RGB, RGBA or CMYK.
        format: one of `FORMATS`.
        options: from `save_options`.

    Raises:
        PictureError: the format cannot hold the picture.
    """
    converted, file = _in_mode_of(format, image), io.BytesIO()
    profile = options.get("icc_profile", b"")
    if converted.mode in ("RGB", "RGBA") and profile[16:20] == b"GRAY":
        options = {**options, "icc_profile": b""}
    try:
        converted.save(file, format, **options)
    except Exception as error:  # Pillow's encoders raise errors of many types.
        raise PictureError(f"cannot be written as {format}: {error}") from error
    return file.getvalue()


def _in_mode_of(format: str, image: Image.Image) -> Image.Image:
    if image.mode == "CMYK" and format not in ("JPEG", "TIFF"):
        raise PictureError(f"{format} has no CMYK: write JPEG or TIFF")
    if format in ("JPEG", "BMP"):  # A BMP's alpha is not read by most, Pillow included.
        if image.has_transparency_data and image.getchannel("A").getextrema() != (255, 255):
            raise PictureError(f"{format} has no transparency: write PNG, WebP or TIFF")
        return image.convert(image.mode.removesuffix("A"))
    if format == "WEBP":
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image


def _tiff_options(image: Image.Image, exif: bytes, resolution: dict[str, Any]) -> dict[str, Any]:
    tags, directories = tiff_tags(exif, _bytes_of(image, "xmp"))
    compression = image.info.get("compression")
    if directories:
        compression = "raw"
    elif compression not in _LOSSLESS:
        compression = "tiff_adobe_deflate"
    # A TIFF's own tags have its resolution, perhaps per centimetre.
    resolution = {} if image.format == "TIFF" else resolution
    return {**resolution, "compression": compression, "exif": tags}


def _jpeg_options(image: Image.Image) -> dict[str, Any]:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        # XMP of other formats can be too long for JPEG.
        return {"quality": 95, "subsampling": 0, "xmp": b""}
    # One table for each channel; Pillow uses the last one for all further channels. Its own
    # `quality="keep"` needs an unchanged JPEG, and takes the tables in the order of their numbers.
    tables = [image.quantization[number] for *_, number in image.layer]
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    # Pillow can write three kinds of subsampling; for any other, 4:4:4 loses nothing.
    subsampling = max(JpegImagePlugin.get_sampling(image), 0)
    return {"qtables": tables, "subsampling": subsampling, "xmp": _bytes_of(image, "xmp")}


def _bytes_of(image: Image.Image, name: str) -> bytes:
    value = image.info.get(name)
    return value if isinstance(value, bytes) else b""  # A PNG text may have the same name.


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a PNG file's chunks."""
    start = 8
    while start + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        yield name, content[start + 8 : start + 8 + length]
        start += 12 + length
