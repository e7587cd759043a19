"""Writing a picture file: its pixels, and the metadata of the file that it came from."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin

from pgi.errors import PictureError
from pgi.files.exif import DIRECTORIES, IPTC, PHOTOSHOP, XMP, tiff_tags
from pgi.files.kinds import FORMATS
from pgi.files.metadata import (
    IN_SEGMENT,
    PHOTOSHOP_SEGMENT,
    XMP_SEGMENT,
    XMP_TEXT,
    Metadata,
    is_grey,
)

# Of a TIFF, for all modes.
_LOSSLESS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma")
_APP1, _APP13, _COMMENT = b"\xff\xe1", b"\xff\xed", b"\xff\xfe"

Options = dict[str, Any]


def save_options(
    image: Image.Image, metadata: Metadata
) -> tuple[dict[str, Options], dict[str, tuple[str, ...]]]:
    """Options of `Image.save` that keep a picture's metadata, and what is lost of it.

    All but JPEG are written without loss, TIFF compressed like its source or with deflate; JPEG
    with the quantisation tables and the subsampling of a source that was JPEG, else at quality 95,
    4:4:4.

    Args:
        image: loaded, as Pillow opened it.
        metadata: of its file.

    Returns:
        For each of `FORMATS`, the options, and names of what is lost.
    """
    makers: dict[str, Callable[[Image.Image, Metadata], Options]] = {
        "PNG": _png_options,
        "JPEG": _jpeg_options,
        "TIFF": _tiff_options,
        "BMP": lambda image, held: _dpi(held),
        "WEBP": _webp_options,
    }
    held = {format: metadata.within(format) for format in FORMATS}
    options = {format: makers[format](image, held[format]) for format in FORMATS}
    lost = {format: held[format].lost for format in FORMATS}
    lost["TIFF"] += tuple(tiff_tags(held["TIFF"].exif)[1])
    return options, lost


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
    if converted.mode in ("RGB", "RGBA") and is_grey(options.get("icc_profile", b"")):
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


def _dpi(held: Metadata) -> Options:
    return {"dpi": held.dpi} if held.dpi else {}


def _kept(held: Metadata) -> Options:
    return {"exif": held.exif, "icc_profile": held.icc_profile}


def _png_options(image: Image.Image, held: Metadata) -> Options:
    png = PngImagePlugin.PngInfo()
    for name, data in (*held.colour, *held.texts):
        png.add(name, data)
    if held.xmp:
        # As it stands, since it may not be UTF-8.
        png.add(b"iTXt", XMP_TEXT + bytes(5) + held.xmp)
    if image.format != "PNG":  # Whose comment is among its texts.
        for comment in held.comments:
            png.add_text("Comment", _text(comment))
    return {**_kept(held), **_dpi(held), "pnginfo": png}


def _text(comment: bytes) -> str:
    comment = comment.rstrip(b"\0")
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("latin-1")


def _webp_options(image: Image.Image, held: Metadata) -> Options:
    return {**_kept(held), "xmp": held.xmp, "lossless": True, "exact": True}


def _tiff_options(image: Image.Image, held: Metadata) -> Options:
    tags, _ = tiff_tags(held.exif)
    for tag, value in ((XMP, held.xmp), (PHOTOSHOP, held.photoshop), (IPTC, held.iptc)):
        if value:
            tags[tag] = value
    compression = image.info.get("compression")
    if any(tag in tags for tag in DIRECTORIES):  # Pillow writes them only without compression.
        compression = "raw"
    elif compression not in _LOSSLESS:
        compression = "tiff_adobe_deflate"
    # A TIFF's own tags have its resolution, perhaps per centimetre.
    resolution = {} if image.format == "TIFF" else _dpi(held)
    profile = {"icc_profile": held.icc_profile}
    return {**profile, **resolution, "compression": compression, "exif": tags}


def _jpeg_options(image: Image.Image, held: Metadata) -> Options:
    extra = [(_APP1, XMP_SEGMENT + held.xmp)] if held.xmp else []
    extra += [(_APP1, data) for data in held.extended_xmp]
    size = IN_SEGMENT - len(PHOTOSHOP_SEGMENT)
    for start in range(0, len(held.photoshop), size):
        extra.append((_APP13, PHOTOSHOP_SEGMENT + held.photoshop[start : start + size]))
    extra += [(_COMMENT, comment) for comment in held.comments]
    options = {
        **_kept(held),
        **_dpi(held),
        "comment": b"",  # Pillow writes one.
        "extra": b"".join(x + struct.pack(">H", len(data) + 2) + data for x, data in extra),
    }
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return {**options, "quality": 95, "subsampling": 0}
    # One table for each channel; Pillow uses the last one for all further channels. Its own
    # `quality="keep"` needs an unchanged JPEG, and takes the tables in the order of their numbers.
    tables = [image.quantization[number] for *_, number in image.layer]
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    # Pillow can write three kinds of subsampling; for any other, 4:4:4 loses nothing.
    subsampling = max(JpegImagePlugin.get_sampling(image), 0)
    return {**options, "qtables": tables, "subsampling": subsampling}
