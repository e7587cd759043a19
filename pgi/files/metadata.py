"""What is kept of what a picture file carries beside its pixels, and what is lost.

What stays true of the filled picture is kept: descriptions, rights, texts, colour, resolution.
Pictures inside it, which would show what was removed, and signatures, which would be wrong, are
not. What is not known is not kept either. Of everything that is lost, `Metadata` has the name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from PIL import Image

from pgi.files.exif import ORIENTATION
from pgi.files.segments import photoshop_resources

XMP_TEXT = b"XML:com.adobe.xmp"
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
PHOTOSHOP_SEGMENT = b"Photoshop 3.0\0"
IN_SEGMENT = 65_533  # Most bytes of a JPEG's segment.
IPTC_RESOURCE = 1028  # Its number among Photoshop's resources.

# What it is called, and the formats that hold it.
_WEB = ("PNG", "JPEG", "WEBP", "TIFF")
_HELD: dict[str, tuple[str, tuple[str, ...]]] = {
    "exif": ("EXIF", _WEB),
    "icc_profile": ("ICC profile", _WEB),
    "xmp": ("XMP", _WEB),
    "extended_xmp": ("extended XMP", ("JPEG",)),
    "photoshop": ("IPTC or other data of Photoshop", ("JPEG", "TIFF")),
    "comments": ("comment", ("PNG", "JPEG")),
    "texts": ("texts", ("PNG",)),
    "colour": ("colour space", ("PNG",)),
    "dpi": ("resolution", ("PNG", "JPEG", "TIFF", "BMP")),
}
_JPEG_LIMITS = {"exif": IN_SEGMENT, "xmp": IN_SEGMENT - len(XMP_SEGMENT)}


@dataclass(frozen=True)
class Metadata:
    """What a picture file carries beside its pixels.

    Args:
        exif: with its prefix, without pictures; or empty.
        icc_profile: or empty.
        xmp: or empty.
        extended_xmp: contents of a JPEG's segments.
        photoshop: image resources with IPTC and others that are kept; or empty.
        comments: a JPEG's, or a PNG's text of this name.
        texts: a PNG's chunks, name and content, of texts.
        colour: the same of colour, and of the background.
        dpi: horizontal and vertical resolution, or empty.
        orientation: of the stored pixels, 1 to 8, as in EXIF.
        lost: names of what no format keeps.
    """

    exif: bytes = b""
    icc_profile: bytes = b""
    xmp: bytes = b""
    extended_xmp: tuple[bytes, ...] = ()
    photoshop: bytes = b""
    comments: tuple[bytes, ...] = ()
    texts: tuple[tuple[bytes, bytes], ...] = ()
    colour: tuple[tuple[bytes, bytes], ...] = ()
    dpi: tuple[float, ...] = ()
    orientation: int = 1
    lost: tuple[str, ...] = ()

    @property
    def iptc(self) -> bytes:
        """IPTC's records, or empty."""
        for number, whole in photoshop_resources(self.photoshop):
            if number == IPTC_RESOURCE:
                body = 8 + whole[6] // 2 * 2
                return whole[body + 4 :][: int.from_bytes(whole[body : body + 4], "big")]
        return b""

    def within(self, format: str) -> Metadata:
        """What one of `FORMATS` holds of it; what else there is, is among `lost`."""
        empty, lost, dropped = Metadata(), list(self.lost), {}
        for field, (name, formats) in _HELD.items():
            value = getattr(self, field)
            if value and not (format in formats and self._fits(field, format)):
                lost.append(name)
                dropped[field] = getattr(empty, field)
        held = replace(self, **dropped, lost=tuple(lost))
        if "exif" in dropped and format == "JPEG":
            exif = Image.Exif()
            exif[ORIENTATION] = self.orientation
            held = replace(held, exif=exif.tobytes())
        return held

    def _fits(self, field: str, format: str) -> bool:
        if field == "icc_profile":
            return format != "WEBP" or not is_grey(self.icc_profile)  # Of RGB always.
        if field == "comments":
            return format != "JPEG" or all(len(comment) <= IN_SEGMENT for comment in self.comments)
        return format != "JPEG" or len(getattr(self, field)) <= _JPEG_LIMITS.get(field, math.inf)


def is_grey(icc_profile: bytes) -> bool:
    """Whether a profile is for grey pictures."""
    return icc_profile[16:20] == b"GRAY"
