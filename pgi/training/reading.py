"""Photographs by number: which are fit for training, and their pixels as 8-bit RGB.

Photographs of the wild come as grey, palette, CMYK, 16-bit, with alpha, truncated, tiny, or are no
images at all. What has colours to show is converted; the rest is skipped, each file with one
warning, and counted.
"""

from __future__ import annotations

import abc
import functools
import hashlib
import os
import threading
import warnings
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from pgi.errors import NoUsableImageError

# Pillow warns of odd metadata and of large photographs. Set once and for all: `catch_warnings`
# around each file would swap the whole program's filters from several threads at once.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Smaller ones would be enlarged into blur: no photograph, rather an icon.
MIN_SIDE = 32
# If so many in a row are unusable, the fault is not theirs.
_PROBED = 100


def read_image(file: str | Path | BinaryIO) -> np.ndarray:
    """Reads a file as 8-bit RGB, upright.

    Grey becomes RGB, palettes and CMYK are converted, 16-bit values keep their high byte, alpha is
    dropped, the orientation in EXIF is applied.

    Args:
        file: one that Pillow can read, by its path or open.

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        OSError: the file is unreadable, truncated or no image, or its pixels are floats.

    Source: ours. Departs from it: nothing.
    """
    try:
        with Image.open(file) as image:
            image.load()
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except OSError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they stumble over.
        raise OSError(str(error)) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise OSError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow would clip it at 255 instead of scaling it.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    return image.convert("RGB")


class ImageSource(abc.ABC):
    """Images by number; remembers which turned out to be unusable, and why, under their keys.

    Args:
        keep: whether pixels stay in memory once read: for a few files, whose decoding would
            otherwise take its share of a small machine at every step.
    """

    def __init__(self, keep: bool = False) -> None:
        self.skipped: dict[Any, str] = {}
        self._lock = threading.Lock()
        self._decode = functools.cache(self.decode) if keep else self.decode

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def identity(self) -> str:
        """What tells these images, in this order, from others: the same wherever they are kept."""

    @abc.abstractmethod
    def key(self, number: int) -> Hashable:
        """What names the image of that number, in messages too."""

    @abc.abstractmethod
    def name(self, number: int) -> str:
        """What names the image of that number wherever the images are kept."""

    @abc.abstractmethod
    def decode(self, number: int) -> np.ndarray:
        """The image of that number, `[H, W, 3]` uint8; raises OSError if it is unreadable."""

    def load(self, number: int) -> np.ndarray:
        """The same, but that it also raises OSError if the image is too small to be trained on."""
        image = self._decode(number)
        if problem := _size_problem(*image.shape[1::-1]):
            raise OSError(problem)
        return image

    def read(self, number: int) -> np.ndarray:
        """The image of that number or, if it is unusable, the next usable one's.

        So every number stands for one image, whatever was read before, and a run that is
        continued sees what it would have seen.

        Returns:
            `[H, W, 3]` uint8.

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
        """Reads images until one is usable.

        Raises:
            NoUsableImageError: the first hundred are all unusable.
        """
        probed = range(min(len(self), _PROBED))
        if all(self.try_read(number) is None for number in probed):
            raise NoUsableImageError(
                f"the first {len(probed)} images are all unusable; "
                f"{self.key(0)}: {self.skipped[self.key(0)]}"
            )

    def try_read(self, number: int) -> np.ndarray | None:
        """The image of that number, or None and a warning, once, if it is unusable."""
        key = self.key(number)
        if key not in self.skipped:
            try:
                return self.load(number)
            except OSError as error:
                self.skip(key, str(error))
        return None

    def skip(self, key: Hashable, reason: str) -> None:
        """Warns of an unusable image, once, and counts it."""
        with self._lock:
            known = key in self.skipped
            self.skipped.setdefault(key, reason)
        if not known:
            logging.warning("skipped %s: %s", key, reason.removeprefix(f"{key}: "))


class FileSource(ImageSource):
    """Image files; their keys are their paths.

    Args:
        paths: of image files.
        keep: as for `ImageSource`.

    Raises:
        NoUsableImageError: there is no path.
    """

    def __init__(self, paths: Sequence[str | Path], keep: bool = False) -> None:
        super().__init__(keep)
        if not paths:
            raise NoUsableImageError("no image file was given")
        # Not as `Path`s, which take five times the memory: there may be millions.
        self._paths = [os.fspath(path) for path in paths]
        # Paths may be relative or not, so that they need not have a folder in common.
        self._start = os.path.commonprefix(self._paths).rfind(os.sep) + 1  # noqa: RUF071

    @property
    def paths(self) -> list[Path]:
        """Of all files, in order."""
        return [Path(path) for path in self._paths]

    def part(self, numbers: Iterable[int]) -> FileSource:
        """The files of those numbers, as a source."""
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

    def decode(self, number: int) -> np.ndarray:
        return read_image(self.key(number))


def find_images(folder: str | Path) -> FileSource:
    """All usable images of a folder tree, in the order of their paths.

    Reads every file's header; damage further in shows when the file is first used, but if there is
    nothing else, now.

    Args:
        folder: searched with all folders below; hidden files and folders are left out.

    Raises:
        NoUsableImageError: the folder is missing or holds no usable image.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise NoUsableImageError(f"no such folder: {folder}")
    paths = sorted(path for path in folder.rglob("*") if os.path.isfile(path))
    paths = [p for p in paths if not any(x.startswith(".") for x in p.relative_to(folder).parts)]
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(_header_problem, paths))
    usable = [path for path, problem in zip(paths, problems) if problem is None]
    if not usable:
        counted = f"{len(paths)} files, none of them usable" if paths else "no file"
        shown = "; ".join(_reasons(paths, problems))
        raise NoUsableImageError(f"no usable image in {folder}: {counted}. {shown}".rstrip(". "))
    source = FileSource(usable)
    for path, problem in zip(paths, problems):
        if problem is not None:
            source.skip(path, problem)
    source.read(0)  # Else files that are all damaged further in would show in the first step only.
    return source


def listed_images(path: str | Path) -> FileSource:
    """The images that a text file names, in its order: one path a line, as DeepFill's lists.

    Reads no more than the first usable one: a list may have millions. The others show when they
    are first used.

    Args:
        path: of a text file; relative paths in it are relative to the current directory.

    Raises:
        NoUsableImageError: there is no such file, it is empty, or its first hundred images are
            all unusable.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise NoUsableImageError(f"no such list of images: {path}")
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise NoUsableImageError(f"{path} names no image")
    source = FileSource([*dict.fromkeys(names)])  # One that comes twice could be in both parts.
    source.check_usable()
    return source


def _reasons(paths: Iterable[Path], problems: Iterable[str | None], most: int = 3) -> list[str]:
    reasons = [f"{path.name}: {problem}" for path, problem in zip(paths, problems) if problem]
    return reasons[:most]


def _header_problem(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
    except Exception as error:  # As in read_image.
        return str(error).removeprefix(f"{path}: ")
    return _size_problem(width, height)


def _size_problem(width: int, height: int) -> str | None:
    if min(width, height) >= MIN_SIDE:
        return None
    return f"both sides must be at least {MIN_SIDE} px, got {width} x {height}"
