"""Photographs from files: which are fit for training, and their pixels as 8-bit RGB.

Photographs of the wild come as grey, palette, CMYK, 16-bit, with alpha, truncated, tiny, or are no
images at all. What has colours to show is converted; the rest is skipped, each file with one
warning, and counted.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image, ImageOps

# Pillow warns of odd metadata and of large photographs. Set once and for all: `catch_warnings`
# around each file would swap the whole program's filters from several threads at once.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Smaller ones would be enlarged into blur: no photograph, rather an icon.
MIN_SIDE = 32


class NoUsableImageError(ValueError):
    """Nothing to train on; the message names the place and what was found there."""


def read_image(path: str | Path) -> np.ndarray:
    """Reads a file as 8-bit RGB, upright.

    Grey becomes RGB, palettes and CMYK are converted, 16-bit values keep their high byte, alpha is
    dropped, the orientation in EXIF is applied.

    Args:
        path: of a file that Pillow can read.

    Returns:
        `[H, W, 3]` uint8.

    Raises:
        OSError: the file is unreadable, truncated or no image, or its pixels are floats.

    Source: ours. Departs from it: nothing.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except OSError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they stumble over.
        raise OSError(f"{path}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise OSError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow would clip it at 255 instead of scaling it.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    return image.convert("RGB")


class FileSource:
    """Image files, by number; remembers which turned out to be unusable.

    Args:
        paths: of image files.
        keep: whether pixels stay in memory once read: for a few files, whose decoding would
            otherwise take its share of a small machine at every step.

    Raises:
        NoUsableImageError: there is no path.
    """

    def __init__(self, paths: Sequence[str | Path], keep: bool = False) -> None:
        if not paths:
            raise NoUsableImageError("no image file was given")
        self.paths = [Path(path) for path in paths]
        self.skipped: dict[Path, str] = {}
        self._lock = threading.Lock()
        self._read = functools.cache(read_image) if keep else read_image

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> np.ndarray:
        """The image of that number or, if it is unusable, the next usable one's.

        So every number stands for one image, whatever was read before, and a run that is
        continued sees what it would have seen.

        Returns:
            `[H, W, 3]` uint8.

        Raises:
            NoUsableImageError: no file is usable.
        """
        for offset in range(len(self.paths)):
            image = self.try_read(self.paths[(index + offset) % len(self.paths)])
            if image is not None:
                return image
        example = "; ".join(f"{path}: {reason}" for path, reason in [*self.skipped.items()][:1])
        raise NoUsableImageError(f"none of {len(self.paths)} image files can be read; {example}")

    def try_read(self, path: Path) -> np.ndarray | None:
        """That file's image, or None and a warning, once, if it is unusable."""
        if path not in self.skipped:
            try:
                return self._read(path)
            except OSError as error:
                self.skip(path, str(error))
        return None

    def skip(self, path: Path, reason: str) -> None:
        """Warns of an unusable file, once, and counts it."""
        with self._lock:
            known = path in self.skipped
            self.skipped.setdefault(path, reason)
        if not known:
            logging.warning("skipped %s: %s", path, reason.removeprefix(f"{path}: "))


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


def _reasons(paths: Iterable[Path], problems: Iterable[str | None], most: int = 3) -> list[str]:
    reasons = [f"{path.name}: {problem}" for path, problem in zip(paths, problems) if problem]
    return reasons[:most]


def _header_problem(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
    except Exception as error:  # As in read_image.
        return str(error).removeprefix(f"{path}: ")
    if min(width, height) < MIN_SIDE:
        return f"both sides must be at least {MIN_SIDE} px, got {width} x {height}"
    return None
