"""Opening a picture file from anywhere: its format and its size are checked in its header."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from itertools import islice

from PIL import UnidentifiedImageError

from pgi.errors import PictureError, UserError
from pgi.files.kinds import FORMATS, name_of
from pgi.files.segments import START_OF_SCAN, jpeg_segments
from pgi.pillow import Image, size_problem

_SHOWN = {"WEBP": "WebP"}
# Most scans of a JPEG. Decoding takes as long for each as for a whole photograph, and progressive
# JPEGs of cameras and programs have about ten.
_SCANS = 100


@contextlib.contextmanager
def opened(content: bytes, max_megapixels: float, formats: Sequence[str]) -> Iterator[Image.Image]:
    """A still picture whose pixels are not loaded yet.

    Args:
        content: of the file.
        max_megapixels: larger pictures are rejected.
        formats: which are accepted.

    Raises:
        PictureError: the content is no such file, damaged, too large, or of several pages or
            frames; all errors inside become one too.
    """
    image = None
    try:
        image = _open(content, max_megapixels, formats)
        yield image
    except UserError:
        raise
    except MemoryError as error:
        raise no_memory(*(image.size if image else (0, 0))) from error
    except UnidentifiedImageError as error:
        *others, last = (_SHOWN.get(format, format) for format in formats)
        problem = f"no {', '.join(others)} or {last}, or its header is damaged"
        name = name_of(content)
        if name and name not in FORMATS:
            problem = f"{name} is not read: convert it to PNG"
        elif name in formats:
            problem = (
                f"{_SHOWN.get(name, name)} of a kind that is not read, or its header is damaged"
            )
        raise PictureError(problem) from error
    except Exception as error:  # Pillow's decoders raise errors of many types on damaged files.
        raise PictureError(f"damaged: {str(error) or type(error).__name__}") from error


def no_memory(width: int, height: int) -> PictureError:
    """The error of a picture that is too large for the machine."""
    size = f"{width} x {height} pixels"
    return PictureError(f"there is not enough memory for its {size}: make it smaller")


def _open(content: bytes, max_megapixels: float, formats: Sequence[str]) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=tuple(formats))
    except Image.DecompressionBombError as error:  # Above twice Pillow's own limit.
        least = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise PictureError(
            f"must have at most {max_megapixels:g} megapixels, got more than {least:g}"
        ) from error
    if problem := size_problem(image, max_megapixels):
        raise PictureError(problem)
    # A JPEG of several pictures (MPO), as some cameras write it, begins with the photograph.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        if image.format == "TIFF":
            raise PictureError("must have one page, got several: save each as a file of its own")
        raise PictureError("must be a still picture, got an animated one")
    if image.format in ("JPEG", "MPO") and _has_many_scans(content):
        raise PictureError(f"must have at most {_SCANS} scans, got more")
    if not image.tile and image.format != "WEBP":
        raise PictureError("damaged: a header without pixels")
    return image


def _has_many_scans(jpeg: bytes) -> bool:
    scans = (marker for marker, *_ in jpeg_segments(jpeg) if marker == START_OF_SCAN)
    return len(list(islice(scans, _SCANS + 1))) > _SCANS
