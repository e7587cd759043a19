"""Fills pictures in files, one after the other.

A bad file is one failure among the results and never the end of the run. No output is ever
half-written, so a run that was stopped goes on where it was with the outputs that are missing.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pgi.atomic import write_atomically
from pgi.errors import PictureError, RuleError
from pgi.files.jobs import Job
from pgi.files.pictures import Picture, read_mask, read_picture, resize_mask

# `[H, W, 3]` uint8 and `[H, W]` bool, True = hole, to `[H, W, 3]` uint8.
Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]


_NO_REASON = "Graph execution error:"


@dataclass(frozen=True)
class Settings:
    """How files are read.

    Args:
        polarity: which side of mid-grey of a mask is the hole, "white" or "black".
        resize_masks: whether a mask of another size than its image is resized, and not refused.
        max_megapixels: larger images and masks are refused.
    """

    polarity: str = "white"
    resize_masks: bool = False
    max_megapixels: float = 64.0


def inpaint_files(jobs: Sequence[Job], inpainter: Fill, settings: Settings) -> dict[Path, str]:
    """Fills all images, with a progress bar on stderr, where the inpainter's warnings go too.

    Args:
        jobs: without a problem.
        inpainter: fills the hole of one upright picture; may warn and raise.
        settings: for all.

    Returns:
        For each image that failed, why.
    """
    failures = {}
    # A file that collects messages gets a line a minute.
    interval = 0.1 if sys.stderr.isatty() else 60
    for job in tqdm(jobs, unit="file", mininterval=interval, maxinterval=max(interval, 10)):
        try:
            for warning in inpaint_file(job, inpainter, settings):
                tqdm.write(f"warning: {job.image}: {warning}", file=sys.stderr)
        # A network raises what a file can cause, too: one that is too large for the memory.
        except Exception as error:
            failures[job.image] = _reason(error)
    return failures


def inpaint_file(job: Job, inpainter: Fill, settings: Settings) -> list[str]:
    """Fills one image.

    Returns:
        What the inpainter warned of.

    Raises:
        PictureError: the image or its mask cannot be used, or the output cannot be written.
        Exception: whatever the inpainter raises.
    """
    content = _read(job.image)
    picture = read_picture(content, settings.max_megapixels)
    mask, caught = _read_hole(job, picture, settings), []
    if mask.all():
        raise PictureError(
            "must have pixels outside the hole to go by, got a mask that covers it all"
            + _polarity_hint(job)
        )
    if mask.any():
        rgb = picture.rgb  # Out here, lest Pillow's warnings pass for the inpainter's.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            filled = inpainter(rgb, mask)
        picture = picture.with_hole(filled, mask, opaque=job.mask is None)
    if mask.any() or job.format not in (None, picture.format):
        content = picture.encode(job.format)
    _write(job.output, content)
    return [str(w.message) + _polarity_hint(job) for w in caught if w.category is UserWarning]


def _read_hole(job: Job, picture: Picture, settings: Settings) -> np.ndarray:
    """`[H, W]` bool, True = hole."""
    if job.mask is None:
        alpha = picture.alpha
        if alpha is None:
            raise PictureError("must have alpha, which is to be the mask, got none")
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
    # TensorFlow's own messages often begin with a line that says nothing.
    lines = [line for line in str(error).splitlines() if line.strip() not in ("", _NO_REASON)]
    line = lines[0] if lines else ""
    if isinstance(error, (PictureError, RuleError)):
        return line
    return f"{type(error).__name__}: {line}"
