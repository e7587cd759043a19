"""Pairing of images, masks and outputs, before anything is read or written."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgi.errors import PlanError
from pgi.files.encoding import FORMATS

# New names get the first suffix of their format.
_SUFFIXES = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "WEBP": (".webp",)}
_FORMAT_OF = {suffix: format for format in FORMATS for suffix in _SUFFIXES[format]}


@dataclass(frozen=True)
class Job:
    """One image to be filled.

    Args:
        image: file to read.
        mask: file to read; None if the image's own alpha is the mask.
        output: file to write.
        format: of the output; None for the image's own.
        problem: why this image cannot be filled, if that is already known.
    """

    image: Path
    mask: Path | None
    output: Path
    format: str | None = None
    problem: str = ""


def plan(
    images: Path, masks: Path | None, output: Path, format: str | None = None
) -> tuple[Job, ...]:
    """Pairs images with masks and outputs.

    Args:
        images: a file, or the root of a folder tree; hidden folders, `masks` and `output` inside it
            are ignored.
        masks: a file for all images; or a folder, in which a mask has its image's path except for
            the suffix; or None if each image's own alpha is its mask.
        output: a folder, in which a result has its image's path; or, for one image, a file whose
            suffix gives the format.
        format: one of `FORMATS`, or None for each image's own.

    Returns:
        The jobs, in the order of the images' paths.

    Raises:
        PlanError: images or masks are missing, or an output would overwrite an image, a mask or
            another output.
    """
    for name, place in (("images", images), ("masks", masks)):
        if place is not None and not place.exists():
            raise PlanError(f"{name} must be a file or a folder, got {place}, which does not exist")
    one_file = output.suffix.lower() in _FORMAT_OF and not output.is_dir()
    if one_file:
        format = _format_of_file(images, output, format)
    elif output.exists() and not output.is_dir():
        raise PlanError(f"output must be a folder or have a picture's suffix, got {output}")
    paths, root = [Path(images.name)], images.parent
    if masks is not None:
        _check_apart("masks", masks, "images", images)
    if images.is_dir():
        _check_apart("output", output, "images", images)
        paths, root = _find(images, [output, masks]), images
    masks_of = defaultdict(list)
    if masks is not None and masks.is_dir():
        _check_apart("output", output, "masks", masks)
        for path in _find(masks, [output, images]):
            masks_of[path.with_suffix("")].append(masks / path)
    jobs = []
    for path in paths:
        target = output if one_file else output / _renamed(path, format)
        mask, problem = masks, ""
        if masks is not None and masks.is_dir():
            mask, problem = _only_one(masks_of[path.with_suffix("")], masks / path.with_suffix(""))
        jobs.append(Job(root / path, mask, target, format, problem))
    _check_outputs(jobs)
    return tuple(jobs)


def _check_apart(name: str, place: Path, other_name: str, other: Path) -> None:
    if place.exists() and os.path.samefile(place, other):
        raise PlanError(f"{name} and {other_name} must be two places, got {place} for both")


def _format_of_file(images: Path, output: Path, format: str | None) -> str:
    if images.is_dir():
        raise PlanError(f"output must be a folder, since images is one, got {output}")
    own = _FORMAT_OF[output.suffix.lower()]
    if format not in (None, own):
        raise PlanError(f"output must have a suffix of {format}, got {output}")
    return own


def _find(folder: Path, left_out: Sequence[Path | None]) -> list[Path]:
    """The files of a tree with a picture's suffix, as sorted paths relative to it."""
    closed = {os.path.realpath(place) for place in left_out if place}

    def is_open(parent: str, name: str) -> bool:
        hidden = name.startswith(".")
        return not hidden and os.path.realpath(os.path.join(parent, name)) not in closed

    found = []
    for parent, folders, files in os.walk(folder, onerror=_refuse_unlisted):
        folders[:] = [name for name in folders if is_open(parent, name)]
        paths = [Path(parent, name) for name in files if is_open(parent, name)]
        found += [path for path in paths if path.suffix.lower() in _FORMAT_OF and path.is_file()]
    if not found:
        raise PlanError(f"{folder} must hold a file of {', '.join(_FORMAT_OF)}, got none")
    return sorted(path.relative_to(folder) for path in found)


def _refuse_unlisted(error: OSError) -> None:
    raise PlanError(f"{error.filename} cannot be listed: {error.strerror}")


def _only_one(found: Sequence[Path], name: Path) -> tuple[Path | None, str]:
    """The one mask that was found, or None and the problem."""
    if len(found) == 1:
        return found[0], ""
    if found:
        return None, f"several masks: {', '.join(map(str, found))}"
    return None, f"no mask {name} with one of {', '.join(_FORMAT_OF)}"


def _renamed(path: Path, format: str | None) -> Path:
    if format is None or path.suffix.lower() in _SUFFIXES[format]:
        return path
    return path.with_suffix(_SUFFIXES[format][0])


def _check_outputs(jobs: Sequence[Job]) -> None:
    read = {os.path.realpath(place) for job in jobs for place in (job.image, job.mask) if place}
    written: dict[str, Path] = {}
    for job in jobs:
        place = os.path.realpath(job.output)
        if place in read:
            raise PlanError(f"output must not overwrite an image or a mask, got {job.output}")
        if place in written:
            raise PlanError(
                f"{written[place]} and {job.image} must have outputs of their own, got "
                f"{job.output} for both"
            )
        written[place] = job.image
