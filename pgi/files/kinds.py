"""Kinds of picture files, by their suffixes and by their first bytes."""

from __future__ import annotations

from pathlib import Path

# What is filled and written; a GIF (a palette, perhaps animated) can only be a mask.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
MASK_FORMATS = (*FORMATS, "GIF")
# What the page takes and returns: what every browser shows.
WEB_FORMATS = ("PNG", "JPEG", "WEBP")

# New names get the first suffix of their format.
SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
}
FORMAT_OF = {suffix: format for format in FORMATS for suffix in SUFFIXES[format]}
MASK_FORMAT_OF = {suffix: format for format in MASK_FORMATS for suffix in SUFFIXES[format]}

_NOT_READ = {
    "GIF": (".gif",),
    "APNG": (".apng",),
    "AVIF": (".avif", ".avifs"),
    "HEIC": (".heic", ".heif", ".hif"),
    "JPEG 2000": (".jp2", ".j2k", ".jpf", ".jpx", ".jpc"),
    "JPEG XL": (".jxl",),
    "Photoshop": (".psd", ".psb"),
    "GIMP": (".xcf",),
    "camera raw": (
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
    ),
    "OpenEXR": (".exr",),
    "Radiance": (".hdr", ".pic"),
    "SVG": (".svg", ".svgz"),
    "icon": (".ico",),
    "PNM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
}
_NAME_OF = {suffix: name for name, suffixes in _NOT_READ.items() for suffix in suffixes}
# Place, bytes there, name. What is no picture must not match by chance.
_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBPVP8", "WEBP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"GIF8", "GIF"),
    *((4, b"ftyp" + brand, "AVIF") for brand in (b"avif", b"avis")),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"heic", b"heix", b"mif1", b"msf1")),
    (4, b"jP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"JXL \r\n\x87\n", "JPEG XL"),
    (0, b"8BPS\0", "Photoshop"),
    (0, b"gimp xcf", "GIMP"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance"),
)
_HEAD = 32


def name_of(content: bytes) -> str:
    """The kind of picture that a file begins like, such as "PNG" or "HEIC"; else empty."""
    for place, signature, name in _SIGNATURES:
        if content.startswith(signature, place):
            return name
    # Two letters alone could begin a text; the four bytes are reserved.
    return "BMP" if content[:2] == b"BM" and content[6:10] == bytes(4) else ""


def unread_picture(path: Path) -> str:
    """Why a file whose suffix is not that of `FORMATS` is not read; empty if it is no picture."""
    name = _NAME_OF.get(path.suffix.lower(), "")
    if not name:
        try:
            with open(path, "rb") as file:
                name = name_of(file.read(_HEAD))
        except OSError:
            return ""
    if name in FORMATS:
        return f"{name} under a name that does not end in {SUFFIXES[name][0]}: rename it"
    if name == "GIF":
        return "GIF is read as a mask only: convert it to PNG"
    return f"{name} is not read: convert it to PNG" if name else ""


def looks_like_picture(path: Path) -> bool:
    """Whether a file's name or first bytes are those of a picture of any kind."""
    return path.suffix.lower() in MASK_FORMAT_OF or bool(unread_picture(path))
