"""Filling of picture files, one after the other.

A bad file counts as a failure and does not end the run. Outputs are written atomically, so a
stopped run continues with the outputs that are missing.
"""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from pgi.arrays import BoolArray, UInt8Array
from pgi.atomic import remove_leftovers, write_atomically
from pgi.errors import PictureError, UserError
from pgi.files.claims import claimed
from pgi.files.deep_pictures import DeepPicture, read_file
from pgi.files.jobs import Job
from pgi.files.kinds import FORMAT_OF
from pgi.files.masks import Mask, grow, read_mask, resize_mask
from pgi.files.opening import no_memory
from pgi.files.pictures import Picture
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
        grow_mask: distance in pixels by which holes grow.
        overwrite: whether outputs that exist are made again.
    """

    polarity: str = "white"
    resize_masks: bool = False
    max_megapixels: float = 64.0
    grow_mask: int = 0
    overwrite: bool = False


@dataclass
class Outcome:
    """What became of the jobs.

    Args:
        done: number of filled images.
        unchanged: number of images whose mask has no hole; they are copied.
        skipped: number of those whose output exists.
        elsewhere: number of those that another process is filling.
        failures: the reason of each failure.
        left: number of those that were not tried, since the disk is full.
    """

    done: int = 0
    unchanged: int = 0
    skipped: int = 0
    elsewhere: int = 0
    failures: dict[Job, str] = field(default_factory=dict)
    left: int = 0

    def __str__(self) -> str:
        parts = [f"{self.done} done"]
        if self.unchanged:
            parts.append(f"{self.unchanged} unchanged (their masks have no hole)")
        parts.append(f"{self.skipped} skipped (exist; --overwrite replaces them)")
        if self.elsewhere:
            parts.append(f"{self.elsewhere} left to another process, which is filling them")
        parts.append(f"{len(self.failures)} failed")
        if self.left:
            parts.append(f"{self.left} not done (the disk is full)")
        return ", ".join(parts)


def inpaint_files(jobs: Sequence[Job], inpainter: Fill, settings: Settings) -> Outcome:
    """Fills all images, with a progress bar and warnings on stderr; a full disk ends it.

    Several processes may fill the same images at once: each takes those whose output does not exist
    and that no other is filling.

    Args:
        jobs: those without a problem.
        inpainter: fills the hole of one upright picture.
        settings: for all jobs.
    """
    outcome, said = Outcome(), set[str]()
    for folder in {job.output.parent for job in jobs}:
        remove_leftovers(folder)
    # A log file gets one line a minute.
    interval = 0.1 if sys.stderr.isatty() else 60
    bar = tqdm(jobs, unit="file", mininterval=interval, maxinterval=max(interval, 10))
    for number, job in enumerate(bar, 1):
        try:
            with contextlib.nullcontext(True) if settings.overwrite else claimed(job.output) as own:
                if not own:
                    exists = job.output.is_file()
                    outcome.skipped += exists
                    outcome.elsewhere += not exists
                    continue
                filled = inpaint_file(job, inpainter, settings)
        except _FullDiskError as error:
            outcome.failures[job] = str(error)
            outcome.left = len(jobs) - number
            break
        # Of any type, since the network fails too.
        except Exception as error:
            outcome.failures[job] = _reason(error)
            continue
        outcome.done += not filled.unchanged
        outcome.unchanged += filled.unchanged
        for warning in filled.warnings:
            tqdm.write(f"warning: {job.image}: {warning}", file=sys.stderr)
        _say_once(f"mask {job.mask}, and others like it: ", filter(None, [filled.reading]), said)
        _say_once(f"warning: {job.image}, and others like it: not kept: ", filled.lost, said)
    return outcome


def _say_once(head: str, notes: Iterable[str], said: set[str]) -> None:
    """Prints what was not said of another file."""
    if new := [note for note in notes if note not in said]:
        said.update(new)
        tqdm.write(head + ", ".join(new), file=sys.stderr)


@dataclass(frozen=True)
class FilledFile:
    """What there is to say about a filled image.

    Args:
        warnings: about its mask and its format.
        reading: of its mask, see `pgi.files.masks.Mask`.
        lost: names of the image's metadata that the output does not have.
        unchanged: whether its mask has no hole.
    """

    warnings: Sequence[str]
    reading: str
    lost: Sequence[str]
    unchanged: bool


def inpaint_file(job: Job, inpainter: Fill, settings: Settings) -> FilledFile:
    """Fills one image.

    Raises:
        PictureError: the image or its mask cannot be used, or the output cannot be written.
        RuleError: the mask's values are 0 and 1.
        Exception: the inpainter failed.
    """
    content = _read(job.image)
    picture = read_file(content, settings.max_megapixels)
    with _memory_named(*picture.shape):
        return _fill(job, content, picture, inpainter, settings)


def _fill(
    job: Job, content: bytes, picture: Picture | DeepPicture, inpainter: Fill, settings: Settings
) -> FilledFile:
    mask = _read_hole(job, picture, settings)
    hole, warnings = grow(mask.hole, settings.grow_mask), []
    if hole.all():
        hint = _polarity_hint(job) if mask.hole.all() else " once it has grown (see --grow-mask)"
        raise PictureError(
            f"must have known pixels outside the hole, got a mask that covers it all{hint}"
        )
    if hole.any():
        filled = inpainter(picture.rgb, hole)
        picture = picture.with_hole(filled, hole, opaque=job.mask is None)
    else:
        warnings.append(f"unchanged: {_no_hole(job, settings)}")
    lost: Sequence[str] = ()
    format = job.format or picture.format
    if hole.any() or format != picture.format:
        content, lost = picture.encode(format), picture.lost[format]
    _write(job.output, content)
    if warning := mask_warning(hole):
        warnings.append(warning + _polarity_hint(job))
    named_jpeg = FORMAT_OF.get(job.image.suffix.lower()) == "JPEG"
    if named_jpeg and format == "JPEG" and picture.format != "JPEG":
        warnings.append(
            f"a {picture.format} in a file named {job.image.suffix}: written as JPEG, in which "
            "known pixels are not exact"
        )
    return FilledFile(warnings, mask.reading, lost, not hole.any())


def _read_hole(job: Job, picture: Picture | DeepPicture, settings: Settings) -> Mask:
    """The hole, in the image's size."""
    if job.mask is None:
        alpha = picture.alpha
        if alpha is None:
            raise PictureError("must have alpha to use as its mask, got none")
        return Mask(alpha <= 127)
    try:
        mask = read_mask(_read(job.mask), settings.max_megapixels, settings.polarity)
    except UserError as error:
        raise PictureError(f"mask {job.mask}: {error}") from error
    if mask.hole.shape != picture.shape:
        height, width = picture.shape
        if not settings.resize_masks:
            raise PictureError(
                f"mask {job.mask} must have the image's {width} x {height} pixels, got "
                f"{mask.hole.shape[1]} x {mask.hole.shape[0]} (see --resize-masks)"
            )
        mask = replace(mask, hole=resize_mask(mask.hole, height, width))
    return mask


def _no_hole(job: Job, settings: Settings) -> str:
    if job.mask is None:
        return "its alpha has no hole (no pixel of at most 127)"
    side = "above" if settings.polarity == "white" else "of at most"
    return f"its mask {job.mask} has no hole (no pixel {side} 127)"


def _polarity_hint(job: Job) -> str:
    return "" if job.mask is None else " (see --mask-polarity)"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror}") from error


class _FullDiskError(PictureError):
    """No further picture can be written either."""


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        kind = _FullDiskError if error.errno in (errno.ENOSPC, errno.EDQUOT) else PictureError
        raise kind(f"{path} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _memory_named(height: int, width: int) -> Iterator[None]:
    """Turns errors of memory, TensorFlow's and OpenCV's too, into one that names the size."""
    try:
        yield
    except Exception as error:
        names = {kind.__name__ for kind in type(error).__mro__}
        if not names & {"MemoryError", "ResourceExhaustedError"} and (
            "insufficient memory" not in str(error).lower()
        ):
            raise
        raise no_memory(width, height) from error


def _reason(error: Exception) -> str:
    # TensorFlow's messages often begin with a line without information.
    lines = [line for line in str(error).splitlines() if line.strip() not in ("", _NO_REASON)]
    line = lines[0] if lines else ""
    if isinstance(error, UserError):
        return line
    return f"{type(error).__name__}: {line}"
