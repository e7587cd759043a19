"""Pairing of images, masks and outputs, before anything is read or written."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pgi.errors import PlanError
from pgi.files.kinds import FORMAT_OF, MASK_FORMAT_OF, SUFFIXES
from pgi.files.tree import Tree, find

# Of masks in the images' own folder, as LaMa's program has them: photo.png, photo_mask001.png.
MASK_SUFFIX = "_mask*"


@dataclass(frozen=True)
class Job:
    """One image to be filled.

    Args:
        image: file to read.
        mask: file to read; None if the image's own alpha is the mask.
        output: file to write.
        problem: why this image cannot be filled, if that is already known.
    """

    image: Path
    mask: Path | None
    output: Path
    problem: str = ""

    @property
    def format(self) -> str | None:
        """The output's, by its name, one of `FORMATS`; None for the image's own."""
        return FORMAT_OF.get(self.output.suffix.lower())


def plan(
    images: Path,
    masks: Path | None,
    output: Path,
    format: str | None = None,
    mask_suffix: str | None = None,
) -> tuple[Job, ...]:
    """Pairs images with masks and outputs.

    Args:
        images: a file, or the root of a folder tree; hidden folders, `masks` and `output` inside it
            are ignored.
        masks: a file for all images; or a folder, in which a mask has its image's path except for
            `mask_suffix` and the file name's suffix; or None if each image's own alpha is its mask.
        output: a folder, in which a result has its image's path, or the path of its mask if the
            image has several; or, for one image, a file whose suffix gives the format.
        format: one of `FORMATS`, or None for that of each output's name.
        mask_suffix: what a mask's name has after its image's, a pattern as in a shell; None for
            nothing, or for `MASK_SUFFIX` if images and masks lie in one folder.

    Returns:
        The jobs, in the order of the images' paths. Those of pictures of other kinds, and of
        folders that cannot be listed, have a problem.

    Raises:
        PlanError: images or masks are missing, or an output would overwrite an image, a mask or
            another output.
    """
    for name, place in (("images", images), ("masks", masks)):
        if place is not None and not place.exists():
            raise PlanError(f"{name} must be a file or a folder, got {place}, which does not exist")
    one_file = output.suffix.lower() in FORMAT_OF and not output.is_dir()
    if one_file:
        format = _format_of_file(images, output, format)
    elif output.exists() and not output.is_dir():
        raise PlanError(f"output must be a folder or have a picture's suffix, got {output}")
    folder = images if images.is_dir() else images.parent
    together = masks is not None and masks.is_dir() and os.path.samefile(masks, folder)
    if together:
        mask_suffix = mask_suffix or MASK_SUFFIX
    elif masks is not None:
        _check_apart("masks", masks, "images", images)
    if mask_suffix is not None and (masks is None or not masks.is_dir()):
        raise PlanError(f"masks must be a folder under a mask suffix, got {masks}")
    tree = Tree([Path(images.name)], {})
    if images.is_dir():
        _check_apart("output", output, "images", images)
        tree = find(images, FORMAT_OF, [output, None if together else masks])
    found, problems = tree.files, tree.problems
    pattern = f"?*{mask_suffix}"
    if together and images.is_dir():
        found = [path for path in found if not fnmatchcase(path.stem, pattern)]
    masks_of = None
    if masks is not None and masks.is_dir():
        _check_apart("output", output, "masks", masks)
        masks_of = _Masks(masks, [output, None if together else images], mask_suffix, found)
        if together and images.is_dir():
            alone = [path for path in masks_of.alone if fnmatchcase(path.stem, pattern)]
            problems = {x: y for x, y in problems.items() if not fnmatchcase(x.stem, pattern)}
            problems |= dict.fromkeys(alone, "a mask without its image")
    jobs = [Job(folder / path, None, output / path, problem) for path, problem in problems.items()]
    for path in found:
        target = output if one_file else output / _renamed(path, format)
        chosen: Sequence[tuple[Path | None, str]] = [(masks, "")]
        if masks_of is not None:
            chosen = masks_of.of(path)
        if len(chosen) > 1 and one_file:
            raise PlanError(f"output must be a folder, since {path} has several masks")
        for mask, problem in chosen:
            if mask is not None and len(chosen) > 1:
                target = target.with_name(mask.stem + target.suffix)
            jobs.append(Job(folder / path, mask, target, problem))
    _check_outputs(jobs)
    return tuple(sorted(jobs, key=lambda job: job.image))


class _Masks:
    """The masks of a folder, to be asked for those of an image.

    Args:
        folder: of the masks.
        left_out: places inside it without masks.
        suffix: of a mask's name after its image's, a pattern; None for none.
        images: relative to their folder.

    Attributes:
        alone: the masks that no image has.
    """

    def __init__(
        self,
        folder: Path,
        left_out: Sequence[Path | None],
        suffix: str | None,
        images: Sequence[Path],
    ) -> None:
        self._folder, self._suffix = folder, suffix
        self._images = {image.with_suffix("") for image in images}
        # By image, then by the mask's name without its suffix.
        self._found: dict[Path, dict[Path, list[Path]]] = defaultdict(lambda: defaultdict(list))
        self.alone = []
        tree = find(folder, MASK_FORMAT_OF, left_out)
        for path in tree.files:
            named_after = self._named_after(path)
            for image in named_after:
                self._found[image][path.with_suffix("")].append(path)
            if not named_after:
                self.alone.append(path)
        self._problems = {
            image: f"{folder / path}: {problem}"
            for path, problem in tree.problems.items()
            for image in self._named_after(path)
        }

    def of(self, image: Path) -> Sequence[tuple[Path | None, str]]:
        """The masks of an image, or None and the problem."""
        name = image.with_suffix("")
        found = self._found.get(name, {}).values()
        for same in found:
            if len(same) > 1:
                several = ", ".join(str(self._folder / path) for path in same)
                return [(None, f"several masks: {several}")]
        if found:
            return [(self._folder / path, "") for (path,) in found]
        mask = f"{self._folder / name}{self._suffix or ''}"
        if problem := self._problems.get(name):
            return [(None, f"no mask {mask} that can be read: {problem}")]
        return [(None, f"no mask {mask} with one of {', '.join(MASK_FORMAT_OF)}")]

    def _named_after(self, mask: Path) -> list[Path]:
        """The images that a mask is named after, without suffixes."""
        name = mask.with_suffix("")
        if self._suffix is None:
            return [name] if name in self._images else []
        parts = ((name.name[:end], name.name[end:]) for end in range(1, len(name.name) + 1))
        return [
            name.parent / start
            for start, rest in parts
            if fnmatchcase(rest, self._suffix) and name.parent / start in self._images
        ]


def _check_apart(name: str, place: Path, other_name: str, other: Path) -> None:
    if place.exists() and os.path.samefile(place, other):
        raise PlanError(f"{name} and {other_name} must be two places, got {place} for both")


def _format_of_file(images: Path, output: Path, format: str | None) -> str:
    if images.is_dir():
        raise PlanError(f"output must be a folder, since images is one, got {output}")
    own = FORMAT_OF[output.suffix.lower()]
    if format not in (None, own):
        raise PlanError(f"output must have a suffix of {format}, got {output}")
    return own


def _renamed(path: Path, format: str | None) -> Path:
    if format is None or path.suffix.lower() in SUFFIXES[format]:
        return path
    return path.with_suffix(SUFFIXES[format][0])


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
