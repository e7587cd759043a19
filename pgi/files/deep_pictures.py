"""One PNG or TIFF file of 16 bits per channel: its hole is filled, and nothing else changes.

Pillow has no colours of 16 bits, so OpenCV reads and writes the pixels. Pillow checks the file and
reads its metadata. The network sees 8 bits; its results are stretched to 16.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pgi.arrays import BoolArray, UInt8Array
from pgi.errors import PictureError
from pgi.files.encoding import Options, save_options
from pgi.files.exif import (
    DIRECTORIES,
    IPTC,
    ORIENTATION,
    PHOTOSHOP,
    RESOLUTION,
    TEXTS,
    XMP,
    read_exif,
    to_stored,
    to_upright,
)
from pgi.files.kinds import FORMATS
from pgi.files.metadata_reading import read_metadata
from pgi.files.opening import opened
from pgi.files.pictures import Picture, bits_per_channel, load_picture, white_is_zero
from pgi.files.segments import png_chunks, tiff_entries
from pgi.pillow import Image

UInt16Array = npt.NDArray[np.uint16]

_SCALE = 257  # 65535 / 255
_COLOUR_TYPES = {0: 1, 2: 3, 6: 4}  # Channels, by a PNG's colour type.
_COLOUR_TYPE = 25  # Its offset.
_SHORT, _ASCII, _BYTE = 3, 2, 1  # TIFF's types.
_UNITS, _INCH = (1, 2, 3), 2  # None, inch, centimetre.


@dataclass(frozen=True)
class DeepPicture:
    """The content of a picture file of 16 bits per channel; otherwise like `Picture`.

    Args:
        samples: `[H, W, C]`, upright: grey, RGB or RGBA.
        format: "PNG" or "TIFF".
        orientation: of the stored pixels, 1 to 8, as in EXIF.
        options: from `pgi.files.encoding.save_options`, for each format.
        lost: the same, names of the metadata that a format does not keep.
    """

    samples: UInt16Array
    format: str
    orientation: int
    options: dict[str, Options]
    lost: dict[str, tuple[str, ...]]

    @property
    def shape(self) -> tuple[int, int]:
        """`(H, W)`, upright."""
        return self.samples.shape[0], self.samples.shape[1]

    @property
    def rgb(self) -> UInt8Array:
        """`[H, W, 3]`, upright, rounded to 8 bits; alpha is dropped."""
        rgb = _to_8_bits(self.samples[..., :3])
        return np.ascontiguousarray(np.broadcast_to(rgb, [*self.shape, 3]))

    @property
    def alpha(self) -> UInt8Array | None:
        """`[H, W]`, upright, rounded to 8 bits; None if the file has no transparency."""
        return _to_8_bits(self.samples[..., 3]) if self.samples.shape[2] == 4 else None

    def with_hole(self, rgb: UInt8Array, hole: BoolArray, opaque: bool = False) -> DeepPicture:
        """As `Picture.with_hole`; new colours are multiples of 257."""
        colours, known = self.samples[..., :3], self.samples[..., :3][~hole]
        if (known == known[:, :1]).all():
            grey = np.asarray(Image.fromarray(rgb).convert("L"))
            rgb = np.broadcast_to(grey[..., None], rgb.shape)
        samples = self.samples.copy()
        samples[hole, :3] = rgb[hole][:, : colours.shape[2]].astype(np.uint16) * _SCALE
        if opaque:
            samples[hole, 3:] = 65535
        return replace(self, samples=samples)

    def encode(self, format: str | None = None) -> bytes:
        """The file's bytes, as PNG or TIFF, by default in the picture's own format.

        Raises:
            PictureError: the format has no 16 bits.
        """
        format = format or self.format
        planes = [to_stored(x, self.orientation) for x in _planes(self.samples)]
        stored = np.dstack([np.asarray(plane, np.uint16) for plane in planes])
        if format == "PNG":
            return _png(stored, self.options["PNG"])
        if format == "TIFF":
            return _tiff(stored, self.options["TIFF"])
        raise PictureError(f"{format} has no 16 bits per channel: write PNG or TIFF")


def read_file(content: bytes, max_megapixels: float) -> Picture | DeepPicture:
    """Reads a picture file of 8 or 16 bits per channel.

    Raises:
        PictureError: as of `read_picture`; a file of 16 bits has alpha beside grey, a transparent
            colour, CMYK, or another layout that is not read.
    """
    with opened(content, max_megapixels, FORMATS) as image:
        bits = bits_per_channel(image, content)
        if bits > 8 and bits != 16:
            raise PictureError(
                f"must have 8 or 16 bits per channel, got {bits} (mode {image.mode})"
            )
        if bits != 16:
            return load_picture(image, content)
        channels = _channels(image, content)
        # Pillow turns a TIFF upright when it loads it, and upright it is written.
        turned = image.getexif().get(ORIENTATION, 1) if image.format == "TIFF" else 1
        image.load()
        exif = read_exif(image)
        orientation = turned if turned in range(2, 9) else exif.orientation
        samples = _decoded(content, channels)
        if white_is_zero(image):
            samples = ~samples
        planes = [to_upright(x, orientation) for x in _planes(samples)]
        upright = np.dstack([np.asarray(plane, np.uint16) for plane in planes])
        if upright.shape[:2] != to_upright(image, exif.orientation).size[::-1]:
            raise PictureError("damaged: two sizes")
        options, lost = save_options(image, read_metadata(image, content, exif))
        if any(tag in options["TIFF"]["exif"] for tag in DIRECTORIES):
            lost["TIFF"] += ("EXIF of the camera and of GPS",)
        return DeepPicture(upright, str(image.format), exif.orientation, options, lost)


def _to_8_bits(samples: UInt16Array) -> UInt8Array:
    return ((samples.astype(np.uint32) + _SCALE // 2) // _SCALE).astype(np.uint8)


def _planes(samples: UInt16Array) -> list[Image.Image]:
    """Each channel as an image that Pillow can turn."""
    return [Image.fromarray(np.ascontiguousarray(x)) for x in np.moveaxis(samples, -1, 0)]


def _channels(image: Image.Image, content: bytes) -> int:
    if image.format == "PNG":
        channels = _COLOUR_TYPES.get(content[_COLOUR_TYPE], 2)
        fits = channels != 2 and b"tRNS" not in dict(png_chunks(content))
        layout = "grey with alpha" if channels == 2 else "a transparent colour"
    else:
        tags = image.tag_v2  # type: ignore[attr-defined]
        channels = int(tags.get(277, 1))
        kind = (tags.get(262), channels, tuple(tags.get(338, ())))
        fits = kind in ((0, 1, ()), (1, 1, ()), (2, 3, ()), (2, 4, ()), (2, 4, (2,)))
        fits = fits and set(tags.get(339, (1,))) == {1} and set(tags.get(258)) == {16}
        # Of two widths, Pillow could check one and OpenCV read the other.
        found = [tag for tag, _ in tiff_entries(content)]
        fits = fits and tags.get(284, 1) == 1 and 0 < len(found) == len(set(found))
        layout = "a TIFF of another layout" if found else "a BigTIFF"
    if not fits:
        rule = "16 bits as grey, RGB or RGBA, or 8 bits per channel"
        raise PictureError(f"must have {rule}, got {layout}")
    return channels


def _not_turned(content: bytes) -> bytes:
    """A file whose TIFF tag of the orientation is 1, since some releases of OpenCV turn by it."""
    changed = bytearray(content)
    for tag, place in tiff_entries(content):
        if tag == ORIENTATION:
            changed[place + 8 : place + 12] = b"\1\0\0\0" if content[0] == 73 else b"\0\1\0\0"
    return bytes(changed)


def _pixels_only(png: bytes) -> bytes:
    """A PNG without metadata, of which libpng would write to stderr."""
    return _joined([x for x in png_chunks(png) if x[0] in (b"IHDR", b"IDAT")])


def _joined(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG file; its last chunk is added."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*x) for x in (*chunks, (b"IEND", b"")))


def _decoded(content: bytes, channels: int) -> UInt16Array:
    from pgi.opencv import cv2  # `pgi --help` does not need it.

    is_png = content.startswith(b"\x89PNG")
    content = _pixels_only(content) if is_png else _not_turned(content)
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16:
        raise PictureError("its pixels cannot be read: damaged, or of a rare compression")
    samples = samples.reshape([*samples.shape[:2], -1])
    if samples.shape[2] != channels:
        raise PictureError(f"must have {channels} channels, got {samples.shape[2]}")
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    return np.asarray(samples[..., order], np.uint16)


def _png(samples: UInt16Array, options: Options) -> bytes:
    from pgi.opencv import cv2

    order = [2, 1, 0, 3][: samples.shape[2]] if samples.shape[2] > 1 else [0]
    written, pixels = cv2.imencode(".png", np.ascontiguousarray(samples[..., order]))
    if not written:
        raise PictureError("cannot be written as PNG")
    # OpenCV writes no metadata; Pillow's are those of a picture of one pixel.
    file = io.BytesIO()
    Image.new("L" if samples.shape[2] == 1 else "RGB", (1, 1)).save(file, "PNG", **options)
    header, *rest = png_chunks(pixels.tobytes())
    kept = [x for x in png_chunks(file.getvalue()) if x[0] not in (b"IHDR", b"IDAT", b"IEND")]
    return _joined([header, *kept, *(x for x in rest if x[0] == b"IDAT")])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _tiff(samples: UInt16Array, options: Options) -> bytes:
    import tifffile

    tags, file = dict(options["exif"]), io.BytesIO()
    extra: list[tuple[int, int, int | None, Any, bool]] = [
        (tag, _ASCII, None, tags[tag], True) for tag in TEXTS if tag in tags
    ]
    extra += [(tag, _BYTE, None, tags[tag], True) for tag in (XMP, PHOTOSHOP, IPTC) if tag in tags]
    if ORIENTATION in tags:
        extra.append((ORIENTATION, _SHORT, 1, int(tags[ORIENTATION]), True))
    horizontal, vertical, unit = (float(tags.get(tag, 0)) for tag in RESOLUTION)
    if "dpi" in options:
        horizontal, vertical, unit = *map(float, options["dpi"]), _INCH
    tifffile.imwrite(
        file,
        samples.squeeze(-1) if samples.shape[2] == 1 else samples,
        photometric="minisblack" if samples.shape[2] == 1 else "rgb",
        extrasamples=["unassalpha"] if samples.shape[2] == 4 else None,
        compression=None if options["compression"] == "raw" else "zlib",
        software=False,
        # Scanners write 1/0, too.
        resolution=(horizontal, vertical) if 0 < horizontal * vertical < math.inf else None,
        resolutionunit=int(unit) if unit in _UNITS else _INCH,
        iccprofile=options["icc_profile"] or None,
        extratags=extra,
        metadata=None,
    )
    return file.getvalue()
