"""EXIF: which way up a picture stands, and the thumbnail that shows what was removed from it."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
# Where the thumbnail's JPEG begins, and how many bytes it has.
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202


def read_exif(image: Image.Image) -> tuple[bytes, int]:
    """A picture's EXIF, without a thumbnail, and its orientation.

    The orientation may also stand in XMP or in ImageMagick's text, which not every format can keep.
    Then it is put into the EXIF.

    Args:
        image: loaded, as Pillow opened it.

    Returns:
        The bytes with the prefix that JPEG asks for, or none; and 1 to 8, 1 where nothing is said.

    Source: ours. Departs from it: nothing.
    """
    raw = image.info.get("exif", b"")
    raw = PREFIX + raw.removeprefix(PREFIX) if isinstance(raw, bytes) and raw else b""
    try:
        found, own = image.getexif(), Image.Exif()
        own.load(raw)
        orientation = found.get(_ORIENTATION, 1)
        if orientation not in range(1, 9):
            orientation = 1
        elif orientation != own.get(_ORIENTATION, 1):
            raw = PREFIX + found.tobytes().removeprefix(PREFIX)
    except Exception:  # Pillow's parser raises whatever it stumbles over.
        orientation = 1
    return _without_thumbnail(raw), int(orientation)


def to_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns pixels as they are stored into what the eye is to see.

    Args:
        pixels: `[H, W, ...]`.
        orientation: 1 to 8.

    Returns:
        `[H, W, ...]`, from 5 on `[W, H, ...]`.

    Source: EXIF 2.32, tag 274. Departs from it: nothing.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return _flipped(pixels, orientation)


def to_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of `to_upright`."""
    pixels = _flipped(pixels, orientation)
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels


def _flipped(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _without_thumbnail(exif: bytes) -> bytes:
    """Unlinks the second directory and blanks its JPEG; all else keeps its place."""
    tiff = bytearray(exif.removeprefix(PREFIX))
    order = ">" if tiff.startswith(b"MM") else "<"
    try:
        link = _end_of_directory(tiff, order, *struct.unpack_from(f"{order}I", tiff, 4))
        (second,) = struct.unpack_from(f"{order}I", tiff, link)
        if not second:
            return exif
        end = _end_of_directory(tiff, order, second)
        entries = range(second + 2, end, 12)
        values = dict(struct.unpack_from(f"{order}H6xI", tiff, entry) for entry in entries)
    except struct.error:  # Cut short: no reader finds a thumbnail in it either.
        return exif
    start, length = values.get(_THUMBNAIL, 0), values.get(_THUMBNAIL_LENGTH, 0)
    if start >= end:  # Else it is no thumbnail's place, and something else would be lost.
        tiff[start : start + length] = bytes(len(tiff[start : start + length]))
    struct.pack_into(f"{order}I", tiff, link, 0)
    return PREFIX + bytes(tiff)


def _end_of_directory(tiff: bytearray, order: str, start: int) -> int:
    (entries,) = struct.unpack_from(f"{order}H", tiff, start)
    return start + 2 + 12 * entries
