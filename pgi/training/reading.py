"""Photographs by number, as 8-bit RGB pixels.

Files may be grey, palette, CMYK, 16-bit, with alpha, truncated, tiny, or no images at all. Those
with known colours are converted to RGB; the others are skipped, with one warning each.
"""

from __future__ import annotations

import abc
import functools
import hashlib
import os
import threading
from collections.abc import Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import logging
from PIL import UnidentifiedImageError

from pgi.arrays import UInt8Array
from pgi.errors import NoUsableImageError
from pgi.files.kinds import looks_like_picture
from pgi.folders import files_below
from pgi.training.decoding import image_size, read_image
from pgi.training.lists import listed_paths

# Smaller images are icons rather than photographs, and would be enlarged into blur.
MIN_SIDE = 32
# If so many images in a row are unusable, the dataset as a whole is broken.
_PROBED = 100
# Files whose headers a thread reads in one go: a million single tasks would fill the memory.
_AT_ONCE = 100


class ImageSource(abc.ABC):
    """Images by number.

    Callers use `read`, which replaces an unusable image by the next usable one, or `try_read`,
    which returns None for it. Subclasses implement `decode`.

    Args:
        keep: whether decoded pixels stay in memory; for few images, since decoding them again takes
            much of each step's time on a small machine.

    Attributes:
        skipped: reasons why images are unusable, by key, of the images tried so far.
    """

    def __init__(self, keep: bool = False) -> None:
        self.skipped: dict[Any, str] = {}
        self._lock = threading.Lock()
        self._pixels = functools.cache(self.decode) if keep else self.decode

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def identity(self) -> str:
        """A text that is the same only for the same images in the same order, wherever stored."""

    @abc.abstractmethod
    def key(self, number: int) -> Hashable:
        """The key of an image in `skipped`; also its name in messages."""

    @abc.abstractmethod
    def name(self, number: int) -> str:
        """The name of an image, the same wherever the images are stored."""

    @abc.abstractmethod
    def decode(self, number: int) -> UInt8Array:
        """The image of that number, `[H, W, 3]`; raises OSError if it is unreadable."""

    def try_read(self, number: int) -> UInt8Array | None:
        """The image of that number, `[H, W, 3]`, or None, with one warning, if it is unusable."""
        key = self.key(number)
        if key in self.skipped:
            return None
        try:
            image = self._pixels(number)
            problem = _size_problem(*image.shape[1::-1])
        except OSError as error:
            problem = str(error)
        if problem is None:
            return image
        self.skip(key, problem)
        return None

    def read(self, number: int) -> UInt8Array:
        """The image of that number or, if it is unusable, the next usable one.

        So a number always gives the same image, and a continued run sees the images that an
        uninterrupted one sees.

        Returns:
            `[H, W, 3]`.

        Raises:
            NoUsableImageError: no image is usable.
        """
        for offset in range(len(self)):
            image = self.try_read((number + offset) % len(self))
            if image is not None:
                return image
        example = "; ".join(f"{key}: {reason}" for key, reason in [*self.skipped.items()][:1])
        raise NoUsableImageError(f"none of {len(self)} images can be read; {example}")

    def check_usable(self) -> None:
        """Raises NoUsableImageError if the first hundred images are all unusable."""
        probed = range(min(len(self), _PROBED))
        if all(self.try_read(number) is None for number in probed):
            raise NoUsableImageError(
                f"the first {len(probed)} images are all unusable; "
                f"{self.key(0)}: {self.skipped[self.key(0)]}"
            )

    def skip(self, key: Hashable, reason: str) -> None:
        """Records an unusable image, with one warning."""
        with self._lock:
            known = key in self.skipped
            self.skipped.setdefault(key, reason)
        if not known:
            logging.warning("skipped %s: %s", key, reason.removeprefix(f"{key}: "))


class FileSource(ImageSource):
    """Images in files; their keys are their paths.

    Args:
        paths: of image files, at least one.
        keep: as for `ImageSource`.

    Raises:
        NoUsableImageError: there is no path.
    """

    def __init__(self, paths: Sequence[str | Path], keep: bool = False) -> None:
        super().__init__(keep)
        if not paths:
            raise NoUsableImageError("no image file was given")
        # There may be millions, and `Path`s take five times the memory of strings.
        self._paths = [os.fspath(path) for path in paths]
        # `commonpath` rejects a mix of absolute and relative paths.
        self._start = os.path.commonprefix(self._paths).rfind(os.sep) + 1  # noqa: RUF071

    @property
    def paths(self) -> list[Path]:
        """The paths of all files, in order."""
        return [Path(path) for path in self._paths]

    def part(self, numbers: Iterable[int]) -> FileSource:
        """A source of only these files."""
        return FileSource([self._paths[number] for number in numbers])

    def __len__(self) -> int:
        return len(self._paths)

    def identity(self) -> str:
        names = "\n".join(self.name(number) for number in range(len(self)))
        return "files " + hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest()[:16]

    def key(self, number: int) -> Path:
        return Path(self._paths[number])

    def name(self, number: int) -> str:
        return self._paths[number][self._start :]

    def decode(self, number: int) -> UInt8Array:
        return read_image(self.key(number))


def find_images(folder: str | Path) -> FileSource:
    """The usable images of a folder tree, in the order of their paths.

    Linked subfolders are searched too, each real folder once. Subfolders that cannot be listed,
    links to nothing and unusable images are skipped, with a warning each; files that do not even
    look like an image with one warning together. Reads only the headers of the files. Damage after
    the header shows when a file is first used.

    Args:
        folder: root of the tree; hidden files and folders are ignored.

    Raises:
        NoUsableImageError: the folder is missing, cannot be listed, or has no usable image.
    """
    folder = Path(folder).expanduser()
    try:
        names, problems = files_below(folder, once=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoUsableImageError(f"no such folder: {folder}") from error
    except OSError as error:
        raise NoUsableImageError(f"{folder} cannot be listed: {error.strerror}") from error
    start = str(folder / "x")[:-1]  # As `Path` joins: "" for the current folder.
    usable, others = [], {}
    for name, (problem, is_picture) in zip(names, _header_problems(start, names)):
        if problem is None:
            usable.append(start + name)
        elif is_picture:
            problems[name] = problem
        else:
            others[name] = problem
    if not usable:
        counted = f"{len(names)} files, none of them usable" if names else "no file"
        shown = [f"{name}: {problem}" for name, problem in sorted({**problems, **others}.items())]
        reasons = "; ".join(shown[:3])
        raise NoUsableImageError(f"no usable image in {folder}: {counted}. {reasons}".rstrip(". "))
    source = FileSource(usable)
    for name, problem in sorted(problems.items()):
        source.skip(Path(start + name), problem)
    if others:
        counted = f"{len(others)} of {len(names)} files"
        logging.warning("left out as no images: %s, the first %s%s", counted, start, min(others))
    source.read(0)  # If all files are damaged after the header, this raises now.
    return source


def listed_images(path: str | Path) -> FileSource:
    """The images listed in a text file, one path a line, in its order; see `listed_paths`.

    Reads the images only up to the first usable one, since a list may have millions. The others
    are checked when they are first used.

    Args:
        path: of the text file.

    Raises:
        NoUsableImageError: as `listed_paths`, or the first hundred images are all unusable.
    """
    source = FileSource(listed_paths(Path(path).expanduser()))
    source.check_usable()
    return source


def _header_problems(start: str, names: Sequence[str]) -> Iterator[tuple[str | None, bool]]:
    """For each file why it is unusable, or None, and whether it looks like a picture."""

    def check(part: int) -> list[tuple[str | None, bool]]:
        return [_header_problem(Path(start + name)) for name in names[part : part + _AT_ONCE]]

    with ThreadPoolExecutor() as pool:
        for checked in pool.map(check, range(0, len(names), _AT_ONCE)):
            yield from checked


def _header_problem(path: Path) -> tuple[str | None, bool]:
    try:
        return _size_problem(*image_size(path)), True
    except OSError as error:
        unknown = isinstance(error.__cause__, UnidentifiedImageError)
        return str(error), not unknown or looks_like_picture(path)


def _size_problem(width: int, height: int) -> str | None:
    if min(width, height) >= MIN_SIDE:
        return None
    return f"both sides must be at least {MIN_SIDE} px, got {width} x {height}"
