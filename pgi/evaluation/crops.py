"""Frozen crops: which part of which photograph is evaluated.

A crop depends only on its number and on the name of the photograph's file, without folder and
suffix: not on the order or number of the photographs, nor on a library's random numbers. At every
size it lies at the same relative place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from pgi.arrays import AnyArray, UInt8Array
from pgi.config import CROPS
from pgi.errors import NoUsableImageError
from pgi.evaluation.results import CropList
from pgi.images import resize
from pgi.rules import check, check_choice
from pgi.training.reading import ImageSource


@dataclass(frozen=True)
class Crops:
    """Crops and their list.

    Attributes:
        listed: places and hashes, for results.
        images: `[N, size, size, 3]` uint8.
        names: of files, one per crop.
    """

    listed: CropList
    images: UInt8Array
    names: tuple[str, ...]


def place(
    name: str, number: int, height: int, width: int, *, size: int, crop: str
) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of a photograph's crop, in pixels.

    Section 4 evaluates on random crops of DIV2K and does not list them: the places are ours.

    Args:
        name: of the photograph's file; its folder and suffix are ignored.
        number: of the crop, from 0.
        height, width: of the photograph in pixels.
        size: of the crop in pixels.
        crop: "random": a square of `size` pixels; "random_resized": a square of at least that;
            "resize": the whole photograph.

    Returns:
        The place, or None if the photograph is smaller than the crop: it is never enlarged.
    """
    if min(height, width) < size:
        return None
    if crop == "resize":
        return 0, 0, height, width
    across, down, zoom = _fractions(f"{PurePosixPath(name).stem}\n{number}")
    side = size if crop == "random" else size + int(zoom * (min(height, width) - size + 1))
    return int(down * (height - side + 1)), int(across * (width - side + 1)), side, side


def _fractions(text: str) -> tuple[float, float, float]:
    """Three numbers in [0, 1) from the text's SHA-256."""
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).digest()
    # Integers below 2 ** 53 are exact in float64, so none is rounded up to 1.
    first, second, third = (int.from_bytes(digest[n : n + 6], "big") / 2**48 for n in (0, 6, 12))
    return first, second, third


def cut(
    source: ImageSource, dataset: str, size: int, crop: str, photographs: int = 100, each: int = 1
) -> Crops:
    """Cuts the frozen crops out of a source's photographs.

    Args:
        source: of photographs.
        dataset: its name, for results.
        size: of the crops in pixels, a multiple of 8.
        crop: as for `place`.
        photographs: maximum number of photographs, from the source's first on; small and
            unreadable ones are skipped.
        each: number of crops per photograph; under "resize" always one.

    Raises:
        RuleError: an argument breaks its rule.
        NoUsableImageError: no photograph is large enough.
    """
    check("size", "a positive multiple of 8", size > 0 and size % 8 == 0, size)
    check_choice("crop", CROPS, crop)
    check("photographs", "positive", photographs > 0, photographs)
    check("crops of each photograph", "positive", each > 0, each)
    images: list[AnyArray] = []
    lines: list[str] = []
    used: set[str] = set()
    for index in range(len(source)):
        if len(used) == photographs:
            break
        image, name = source.try_read(index), source.name(index)
        if image is None:
            continue
        for number in range(1 if crop == "resize" else each):
            if where := place(name, number, *image.shape[:2], size=size, crop=crop):
                top, left, height, width = where
                images.append(resize(image[top : top + height, left : left + width], size, size))
                lines.append(" ".join(map(str, (name, *where))))
                used.add(name)
    if not images:
        raise NoUsableImageError(f"{dataset} has no photograph of {size} px and more to evaluate")
    pixels = np.stack(images)
    listed = CropList(
        dataset=dataset,
        size=size,
        crop=crop,
        lines=lines,
        sha256=_sha256("\n".join([f"{size} {crop}", *lines]).encode(errors="surrogateescape")),
        pixels_sha256=_sha256(pixels.tobytes()),
    )
    return Crops(listed, pixels, tuple(f"{n:04d}" for n in range(len(images))))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
