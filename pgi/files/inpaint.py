"""Filling of picture files, one after the other.

A bad file counts as a failure and does not end the run. Outputs are written atomically, so a
stopped run continues with the outputs that are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pgi.arrays import BoolArray, UInt8Array
from pgi.atomic import write_atomically
from pgi.errors import PictureError, UserError
from pgi.files.jobs import Job
from pgi.files.pictures import Picture, read_mask, read_picture, resize_mask
from pgi.rules import mask_warning

# From an image `[H, W, 3]` and its hole `[H, W]`, True = hole, to the filled image `[H, W, 3]`.
Fill = Callable[[UInt8Array, BoolArray], UInt8Array]

_NO_REASON = "Graph execution error:"


@dataclass(frozen=True)
class Settings:
    """How files are read.

    Args:
        polarity: which side of mid-grey of a mask is the hole, "white" or "black".
        resize_masks: whether a mask of another size than its image is resized instead of rejected.
        max_megapixels: larger images and masks are rejected.
    """

    polarity: str = "white"
    resize_masks: bool = False
    max_megapixels: float = 64.0


def inpaint_files(jobs: Sequence[Job], inpainter: Fill, settings: Settings) -> dict[Path, str]:
    """Fills all images, with a progress bar and warnings on stderr.

    Args:
        jobs: those without a problem.
        inpainter: fills the hole of one upright picture.
        settings: for all jobs.

    Returns:
        The reason of each failure, by image.
    """
    failures = {}
    # A log file gets one line a minute.
    interval = 0.1 if sys.stderr.isatty() else 60
    for job in tqdm(jobs, unit="file", mininterval=interval, maxinterval=max(interval, 10)):
        try:
            if warning := inpaint_file(job, inpainter, settings):
                tqdm.write(f"warning: {job.image}: {warning}", file=sys.stderr)
        # Of any type, since the network fails too, for example on a picture too large for memory.
        except Exception as error:
            failures[job.image] = _reason(error)
    return failures


def inpaint_file(job: Job, inpainter: Fill, settings: Settings) -> str | None:
    """Fills one image.

    Returns:
        A warning about the mask, if there is one.

    Raises:
        PictureError: the image or its mask cannot be used, or the output cannot be written.
        Exception: the inpainter failed.
    """
    content = _read(job.image)
    picture = read_picture(content, settings.max_megapixels)
    mask = _read_hole(job, picture, settings)
    if mask.all():
        raise PictureError(
            "must have known pixels outside the hole, got a mask that covers it all"
            + _polarity_hint(job)
        )
    if mask.any():
        filled = inpainter(picture.rgb, mask)
        picture = picture.with_hole(filled, mask, opaque=job.mask is None)
    if mask.any() or job.format not in (None, picture.format):
        content = picture.encode(job.format)
    _write(job.output, content)
    warning = mask_warning(mask)
    return warning + _polarity_hint(job) if warning else None


def _read_hole(job: Job, picture: Picture, settings: Settings) -> BoolArray:
    """The hole, `[H, W]`, True = hole."""
    if job.mask is None:
        alpha = picture.alpha
        if alpha is None:
            raise PictureError("must have alpha to use as its mask, got none")
        return alpha <= 127
    try:
        mask = read_mask(_read(job.mask), settings.max_megapixels, settings.polarity)
    except PictureError as error:
        raise PictureError(f"mask {job.mask}: {error}") from error
    if mask.shape != picture.shape:
        height, width = picture.shape
        if not settings.resize_masks:
            raise PictureError(
                f"mask {job.mask} must have the image's {width} x {height} pixels, got "
                f"{mask.shape[1]} x {mask.shape[0]} (see --resize-masks)"
            )
        mask = resize_mask(mask, height, width)
    return mask


def _polarity_hint(job: Job) -> str:
    return "" if job.mask is None else " (see --mask-polarity)"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise PictureError(f"{path} cannot be written: {error.strerror}") from error


def _reason(error: Exception) -> str:
    # TensorFlow's messages often begin with a line without information.
    lines = [line for line in str(error).splitlines() if line.strip() not in ("", _NO_REASON)]
    line = lines[0] if lines else ""
    if isinstance(error, UserError):
        return line
    return f"{type(error).__name__}: {line}"
