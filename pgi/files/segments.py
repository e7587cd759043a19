"""The parts of picture files, of which libraries show only some; lengths are not trusted.

Every function takes time in proportion to the file, and reads nothing beyond its end.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

# JPEG's markers.
START_OF_SCAN, END_OF_IMAGE, COMMENT = 0xDA, 0xD9, 0xFE
APP = range(0xE0, 0xF0)
# Those outside the coded pixels; what has no length is left out, but for the end of the picture.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
# Where a JPEG inside of other data begins and ends, which it cannot contain by chance.
_EMBEDDED_JPEG = re.compile(rb"\xff\xd8(?=\xff[\xc0\xc4\xdb\xe0-\xef\xfe])|\xff\xd9")
# What JPEG, PNG, WebP, GIF and TIFF begin with in base64; perhaps in lines, with XML's line ends.
_BASE64 = re.compile(
    rb"(?<![A-Za-z0-9+/])(?:/9j/|iVBOR|UklGR|R0lGOD|SUkq|TU0A)"
    rb"(?:[A-Za-z0-9+/]{40,}(?:\s|&#(?:10|13|x[aAdD]);)*)+[A-Za-z0-9+/]*=*"
)


def jpeg_segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of a JPEG's segments up to the end of its (first) picture."""
    place = 0
    while marker := _MARKER.search(jpeg, place):
        place, number = marker.end(), marker[1][0]
        if number == END_OF_IMAGE:
            yield number, place, place
            return
        length = int.from_bytes(jpeg[place : place + 2], "big")
        yield number, place + 2, place + length
        place += length


def png_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a PNG's chunks; the last one is IEND, whose content is what follows."""
    start, name = 8, b""
    while start + 8 <= len(png) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", png, start)
        start += 12 + length
        yield name, png[start:] if name == b"IEND" else png[start - 4 - length : start - 4]


def webp_chunks(webp: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of a WebP's chunks; the last has no name and is what follows."""
    start, end = 12, 8 + int.from_bytes(webp[4:8], "little")
    while start + 8 <= min(end, len(webp)):
        name, length = struct.unpack_from("<4sI", webp, start)
        yield name, webp[start + 8 : start + 8 + length]
        start += 8 + length + length % 2
    yield b"", webp[end:]


def tiff_entries(tiff: bytes) -> list[tuple[int, int]]:
    """Tag and place of the entries of a TIFF's first directory; none of a BigTIFF's."""
    order = "<" if tiff.startswith(b"II") else ">"
    if tiff[:4] not in (b"II*\0", b"MM\0*"):
        return []
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    places = range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12)
    return [(struct.unpack_from(f"{order}H", tiff, place)[0], place) for place in places]


def photoshop_resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers of Photoshop's image resources, and each as it stands; 0 for what is none."""
    start = 0
    while data[start : start + 4] == b"8BIM":
        number = int.from_bytes(data[start + 4 : start + 6], "big")
        # A name and its length, padded to an even number.
        body = start + 8 + sum(data[start + 6 : start + 7]) // 2 * 2
        length = int.from_bytes(data[body : body + 4], "big")
        end = body + 4 + length + length % 2
        if body + 4 + length > len(data):
            break
        yield number, data[start:end]
        start = end
    if data[start:].strip(b"\0"):
        yield 0, data[start:]


def without_pictures(data: bytes) -> bytes:
    """Data in which JPEGs, and pictures in base64, are blanked; no byte moves.

    What looks like the start of a JPEG without an end is blanked up to the last end that follows,
    which is that of another; if none follows, it is left.
    """
    blank, start, depth, end = bytearray(data), 0, 0, 0
    for found in _EMBEDDED_JPEG.finditer(data):
        if found[0] == b"\xff\xd8":  # Perhaps in another's own metadata.
            start, end = (start, end) if depth else (found.start(), 0)
            depth += 1
        elif depth:
            depth, end = depth - 1, found.end()
            if not depth:
                blank[start : found.end()] = bytes(found.end() - start)
    if depth and end:
        blank[start:end] = bytes(end - start)
    for found in _BASE64.finditer(data):
        blank[found.start() : found.end()] = b" " * len(found[0])
    return bytes(blank)
