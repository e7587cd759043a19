"""Reading what a picture file carries beside its pixels, format by format."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image, TiffTags

from pgi.files.exif import IPTC, PHOTOSHOP, STRUCTURE, TIFF_KEPT, ReadExif
from pgi.files.metadata import (
    IPTC_RESOURCE,
    PHOTOSHOP_SEGMENT,
    XMP_SEGMENT,
    XMP_TEXT,
    Metadata,
    is_grey,
)
from pgi.files.segments import (
    APP,
    COMMENT,
    END_OF_IMAGE,
    jpeg_segments,
    photoshop_resources,
    png_chunks,
    tiff_entries,
    webp_chunks,
    without_pictures,
)

PICTURES = "thumbnails and other pictures inside its metadata, which show what was removed"
_SIGNATURE = "content credentials (C2PA, JUMBF), whose signature would be wrong"
_FOLLOWS = "what follows its end, such as a film or further pictures"
_ASPECT = "aspect ratio of its pixels"
_MOST = 20  # Names of what is lost.
_MOST_TEXT = 2**20  # Bytes of a PNG's text, unpacked; Pillow's limit too.

_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENDED_HEAD = len(_EXTENDED_XMP) + 40  # Then a digest, its whole length, and its place there.
_JUMBF, _C2PA_TAG = 0xEB, 52545  # A JPEG's marker, a TIFF's tag.
# Of Photoshop's resources.
_THUMBNAILS = (1033, 1036)
# Also resolution, copyright's flag and URL, IPTC's digest, paths.
_PHOTOSHOP_KEPT = {IPTC_RESOURCE, 1005, 1034, 1035, 1061, 1025, *range(2000, 3000)}

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_COLOUR = (b"cHRM", b"cICP", b"gAMA", b"sRGB")
# How the pixels are stored; iCCP, eXIf and pHYs, which Pillow reads; one frame's animation.
_PNG_KNOWN = (
    *(b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"iDOT", b"acTL", b"fcTL", b"fdAT"),
    *(b"iCCP", b"eXIf", b"pHYs", b"IEND"),
)
_WEBP_KNOWN = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP ", b"")


def read_metadata(image: Image.Image, content: bytes, exif: ReadExif) -> Metadata:
    """Reads what a file carries beside its pixels.

    Args:
        image: loaded, as Pillow opened it.
        content: the file's bytes.
        exif: from `read_exif`.
    """
    readers: dict[str, Callable[[Any, bytes, list[str]], Metadata]] = {
        "PNG": _of_png,
        "WEBP": _of_webp,
        "TIFF": _of_tiff,
        "BMP": _of_bmp,
    }
    lost: list[str] = []
    # Any other format is JPEG's of several pictures, MPO.
    found = readers.get(str(image.format), _of_jpeg)(image, content, lost)
    profile, dpi = _bytes_of(image, "icc_profile"), image.info.get("dpi")
    if is_grey(profile) and image.mode not in ("1", "L", "LA"):
        profile = b""
        lost.append("ICC profile, which is for grey")
    found = replace(found, xmp=_bytes_of(image, "xmp"))
    cleaned = replace(
        found,
        xmp=without_pictures(found.xmp),
        extended_xmp=_cleaned(found.extended_xmp),
        photoshop=without_pictures(found.photoshop),
    )
    if exif.had_pictures or cleaned != found:
        lost.append(PICTURES)
    names = sorted(set(lost))
    if len(names) > _MOST:
        names[_MOST:] = ["more"]
    return replace(
        cleaned,
        exif=exif.content,
        orientation=exif.orientation,
        icc_profile=profile,
        dpi=dpi if isinstance(dpi, tuple) and all(0 < x < 2**16 for x in dpi) else (),
        lost=tuple(names),
    )


def _cleaned(extended_xmp: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Without pictures, which reach over several segments."""
    texts = [data[_EXTENDED_HEAD:] for data in extended_xmp]
    text, cleaned = without_pictures(b"".join(texts)), []
    for data in extended_xmp:
        size = len(data[_EXTENDED_HEAD:])
        cleaned.append(data[:_EXTENDED_HEAD] + text[:size])
        text = text[size:]
    return tuple(cleaned)


def _of_jpeg(image: Any, content: bytes, lost: list[str]) -> Metadata:
    photoshop: list[bytes] = []
    comments, extended, end = [], [], len(content)
    for marker, start, stop in jpeg_segments(content):
        data = content[start:stop]
        if marker == END_OF_IMAGE:
            end = stop
        elif marker == COMMENT:
            comments.append(data)
        elif marker not in APP or data.startswith(b"Adobe") or _is_read(image, data):
            continue  # Adobe's tells how colours are stored.
        elif data.startswith(b"JFIF\0"):
            unit, across, down = data[7:8], data[8:10], data[10:12]
            lost.extend([_ASPECT] * (unit == b"\0" and across != down))
            lost.extend([PICTURES] * any(data[12:14]))
        elif data.startswith(b"JFXX\0"):
            lost.append(PICTURES)
        elif data.startswith(_EXTENDED_XMP):
            extended.append(data)
        elif data.startswith(PHOTOSHOP_SEGMENT):
            photoshop.append(data.removeprefix(PHOTOSHOP_SEGMENT))
        elif not data.startswith(b"MPF\0"):  # Places of the pictures that follow.
            lost.append(_segment_name(marker, data))
    if content[end:].strip(b"\0"):
        lost.append(_FOLLOWS)
    return Metadata(
        photoshop=_photoshop(b"".join(photoshop), lost),
        comments=tuple(comments),
        extended_xmp=tuple(extended),
    )


def _is_read(image: Any, data: bytes) -> bool:
    """Whether Pillow has read a segment; if it lacks parts, it has not."""
    return data.startswith((b"Exif\0\0", XMP_SEGMENT)) or (
        data.startswith(b"ICC_PROFILE\0") and bool(image.info.get("icc_profile"))
    )


def _segment_name(marker: int, data: bytes) -> str:
    if marker == _JUMBF and data.startswith(b"JP"):
        return _SIGNATURE
    # A file from anywhere must not write to a terminal.
    name = re.match(rb"[\w .:/-]{2,40}", data)
    return f"APP{marker & 15} {name[0].decode() if name else ''}".strip()


def _photoshop(data: bytes, lost: list[str]) -> bytes:
    kept = []
    for number, whole in photoshop_resources(data):
        if number in _PHOTOSHOP_KEPT:
            kept.append(whole)
        else:
            lost.append(PICTURES if number in _THUMBNAILS else "Photoshop's settings")
    return b"".join(kept)


def _of_png(image: Any, content: bytes, lost: list[str]) -> Metadata:
    texts, colour, comments = [], [], []
    for name, data in png_chunks(content):
        key = data.split(b"\0", 1)[0]
        if name in _TEXTS:
            text = _text(name, data)
            if key == XMP_TEXT and name == b"iTXt" and _bytes_of(image, "xmp"):
                continue  # Pillow has read it.
            if key.startswith(b"Raw profile type "):
                # Pillow reads EXIF of it. The others can contain thumbnails, too.
                lost.extend(["ImageMagick's raw profiles"] * (key != b"Raw profile type exif"))
            elif text is None:
                lost.append("texts that cannot be read")
            elif without_pictures(text) != text:
                lost.append(PICTURES)
            else:
                texts.append((name, data))
                comments.extend([text] * (key == b"Comment"))
        elif name in _COLOUR or (name == b"bKGD" and _stays(data, *content[24:26])):
            colour.append((name, data))
        elif name == b"pHYs" and data[8:] == b"\0" and data[:4] != data[4:8]:
            lost.append(_ASPECT)
        elif name == b"IEND" and data.strip(b"\0"):
            lost.append(_FOLLOWS)
        elif name == b"iCCP" and not image.info.get("icc_profile"):
            lost.append("ICC profile, which is damaged")
        elif name not in _PNG_KNOWN:
            lost.append(_chunk_name(name))
    return Metadata(texts=tuple(texts), colour=tuple(colour), comments=tuple(comments))


def _text(name: bytes, data: bytes) -> bytes | None:
    """The text of a PNG's chunk in UTF-8; None if it is damaged or would take much memory.

    Not Pillow's: it has one text of those under one name, and none that it cannot decode.
    """
    text = data.partition(b"\0")[2]
    packed = name == b"zTXt"
    if name == b"iTXt":  # Two flags, language, translated name.
        packed, text = text[:1] == b"\1", text[2:].split(b"\0", 2)[-1]
    try:
        if packed:
            inflate = zlib.decompressobj()
            text = inflate.decompress(text[1:] if name == b"zTXt" else text, _MOST_TEXT)
            if not inflate.eof:
                return None
        return text.decode("utf-8" if name == b"iTXt" else "latin-1").encode()
    except (zlib.error, UnicodeDecodeError):
        return None


def _stays(background: bytes, bits: int, colour_type: int) -> bool:
    """Whether a background is written as it stands; palettes and few bits become 8 bits."""
    return bits >= 8 and len(background) == {0: 2, 4: 2, 2: 6, 6: 6}.get(colour_type)


def _of_webp(image: Any, content: bytes, lost: list[str]) -> Metadata:
    for name, data in webp_chunks(content):
        if name not in _WEBP_KNOWN:
            lost.append(_chunk_name(name))
        elif not name and data.strip(b"\0"):
            lost.append(_FOLLOWS)
    return Metadata()


def _chunk_name(name: bytes) -> str:
    if name in (b"caBX", b"C2PA"):
        return _SIGNATURE
    return f"{name.decode()} chunk" if name.isalnum() else "chunks of odd names"


def _of_tiff(image: Any, content: bytes, lost: list[str]) -> Metadata:
    tags = image.tag_v2
    found = {tag for tag, _ in tiff_entries(content)} | set(tags)
    photoshop, iptc = (tags.get(tag, b"") for tag in (PHOTOSHOP, IPTC))
    for tag, value in ((PHOTOSHOP, photoshop), (IPTC, iptc)):
        found -= {tag} if isinstance(value, bytes) else set()
    photoshop = _photoshop(photoshop, lost) if isinstance(photoshop, bytes) else b""
    if isinstance(iptc, bytes) and iptc and not Metadata(photoshop=photoshop).iptc:
        header = b"8BIM" + IPTC_RESOURCE.to_bytes(2, "big") + b"\0\0" + len(iptc).to_bytes(4, "big")
        photoshop += header + iptc + b"\0" * (len(iptc) % 2)
    for tag in sorted(found - STRUCTURE - TIFF_KEPT):
        name = TiffTags.lookup(tag).name
        lost.append(f"TIFF tag {tag}" + f" ({name})" * (name != "unknown"))
        if tag == _C2PA_TAG:
            lost[-1] = _SIGNATURE
    return Metadata(photoshop=photoshop)


def _of_bmp(image: Any, content: bytes, lost: list[str]) -> Metadata:
    # A header of 108 bytes or more has a colour space, and perhaps a profile.
    if content[14] >= 108 and content[70:74] not in (b"BGRs", b" niW"):
        lost.append("colour space")
    return Metadata()


def _bytes_of(image: Image.Image, name: str) -> bytes:
    value = image.info.get(name)
    return value if isinstance(value, bytes) else b""  # A PNG text may have the same name.
