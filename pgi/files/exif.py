"""EXIF: the orientation of a picture, and its thumbnail, which would show what was removed."""

from __future__ import annotations

import struct
from numbers import Real
from typing import NamedTuple

from PIL import ExifTags, Image, TiffImagePlugin

from pgi.files.segments import without_pictures

PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
# Tags of the offset and the length of the thumbnail, as JPEG and as plain pixels.
_THUMBNAILS = ((0x0201, 0x0202), (0x0111, 0x0117))
_SHORT = 3  # A type of two bytes.

# Of a TIFF: what describes the picture and not how it is stored. Photoshop's own tags are left out,
# since they can hold layers and a thumbnail.
TEXTS = (269, 270, 271, 272, 285, 305, 306, 315, 316, 33432)
RESOLUTION = (282, 283, 296)
_DESCRIPTIONS = (*TEXTS, *RESOLUTION)
XMP, PHOTOSHOP, IPTC = 700, 34377, 33723
DIRECTORIES = (0x8769, 0x8825)  # Of a camera's values and of GPS.
_ICC_PROFILE, _INTEROPERABILITY = 34675, 0xA005
TIFF_KEPT = {*_DESCRIPTIONS, *DIRECTORIES, ORIENTATION, XMP, _ICC_PROFILE}
# Of a TIFF and of its samples: how pixels are stored, in TIFF 6.0 and Adobe's supplements.
STRUCTURE = {
    *(*range(254, 260), 262, 263, 266, 273, 274, 277, 278, 279, 280, 281, 284, 288, 289, 292, 293),
    *(297, 317, *range(320, 326), *range(332, 335), *range(338, 348), *range(512, 522)),
    *range(529, 533),
}

_Turn = Image.Transpose
_TO_UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}
_INVERSE = {6: 8, 8: 6}


def to_upright(image: Image.Image, orientation: int) -> Image.Image:
    """A stored picture turned upright. Orientation is 1 to 8, as in EXIF 2.32, tag 274."""
    return image.transpose(_TO_UPRIGHT[orientation]) if orientation > 1 else image


def to_stored(image: Image.Image, orientation: int) -> Image.Image:
    """The inverse of `to_upright`."""
    return to_upright(image, _INVERSE.get(orientation, orientation))


class ReadExif(NamedTuple):
    """EXIF as it is written again.

    Args:
        content: with the prefix that JPEG requires; or empty.
        orientation: 1 to 8; 1 if absent.
        had_pictures: whether thumbnails or previews were taken out.
    """

    content: bytes
    orientation: int
    had_pictures: bool


def read_exif(image: Image.Image) -> ReadExif:
    """A picture's EXIF without its thumbnail and the previews in a camera's own notes.

    The orientation can also be given by XMP, and the whole EXIF by ImageMagick's text in a PNG,
    which not every format can hold. Then it becomes EXIF.

    Args:
        image: loaded, as Pillow opened it.
    """
    orientation = 1
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow has turned it upright.
        described = image.getexif()
        for tag in set(described) - {*_DESCRIPTIONS, *DIRECTORIES}:
            del described[tag]
        _keep_latin_1(described)
        raw = PREFIX + described.tobytes().removeprefix(PREFIX) if described else b""
    else:
        raw = image.info.get("exif", b"")
        raw = PREFIX + raw.removeprefix(PREFIX) if isinstance(raw, bytes) and raw else b""
        try:
            found, own = image.getexif(), Image.Exif()
            own.load(raw)
            orientation = found.get(ORIENTATION, 1)
            if orientation not in range(1, 9):
                orientation = 1
            elif orientation != own.get(ORIENTATION, 1) or (found and not raw):
                raw = PREFIX + found.tobytes().removeprefix(PREFIX)
        except Exception:  # Pillow's parser raises errors of many types on damaged EXIF.
            orientation = 1
    content = without_pictures(_without_thumbnail(raw))
    return ReadExif(content, int(orientation), content != raw)


def tiff_tags(exif: bytes) -> tuple[Image.Exif, list[str]]:
    """What of EXIF describes a picture, as tags for Pillow to write into a TIFF.

    Returns:
        The tags, and the names of those that are lost.
    """
    tags = Image.Exif()
    try:
        tags.load(exif)
        texts = {tag: tags[tag] for tag in TEXTS if isinstance(tags.get(tag), str)}
        numbers = {
            tag: tags[tag] for tag in (*RESOLUTION, ORIENTATION) if isinstance(tags.get(tag), Real)
        }
        if numbers.get(ORIENTATION) not in range(1, 9):
            numbers.pop(ORIENTATION, None)
        directories = {tag for tag in DIRECTORIES if tags.get_ifd(tag)}
        camera = tags.get_ifd(DIRECTORIES[0])
        if _INTEROPERABILITY in camera:  # Pillow would write its old place.
            camera[_INTEROPERABILITY] = tags.get_ifd(_INTEROPERABILITY)
    except Exception:  # As in `read_exif`.
        return Image.Exif(), ["EXIF"]
    lost = set(tags) - {*texts, *numbers, *directories}
    for tag in lost:
        del tags[tag]
    _keep_latin_1(tags)
    names = (ExifTags.TAGS.get(tag, f"tag {tag}") for tag in sorted(lost - STRUCTURE))
    return tags, [f"EXIF's {name}" for name in names]


def _keep_latin_1(tags: Image.Exif) -> None:
    """Turns texts into bytes: Pillow reads Latin-1, and writes ASCII with question marks."""
    for tag in TEXTS:
        if isinstance(text := tags.get(tag), str):
            tags[tag] = text.encode("latin-1", "replace")


def _without_thumbnail(exif: bytes) -> bytes:
    """Removes the link to the second directory and blanks its picture.

    No byte moves, since offsets in makers' notes would break. Pillow's EXIF writer moves them.
    """
    tiff = bytearray(exif.removeprefix(PREFIX))
    order = ">" if tiff.startswith(b"MM") else "<"
    try:
        link = _end_of_directory(tiff, order, *struct.unpack_from(f"{order}I", tiff, 4))
        (second,) = struct.unpack_from(f"{order}I", tiff, link)
        if not second:
            return exif
        end = _end_of_directory(tiff, order, second)
        values = {}
        for entry in range(second + 2, end, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            code = "H" if kind == _SHORT else "I"
            (values[tag],) = struct.unpack_from(f"{order}{code}", tiff, entry + 8)
    except struct.error:  # The EXIF is cut off, so no reader finds a thumbnail in it.
        return exif
    for place, size in _THUMBNAILS:
        start, length = values.get(place, 0), values.get(size, 0)
        if start >= end:  # A wrong offset would blank something else.
            tiff[start : start + length] = bytes(len(tiff[start : start + length]))
    struct.pack_into(f"{order}I", tiff, link, 0)
    return PREFIX + bytes(tiff)


def _end_of_directory(tiff: bytearray, order: str, start: int) -> int:
    entries: int = struct.unpack_from(f"{order}H", tiff, start)[0]
    return start + 2 + 12 * entries
