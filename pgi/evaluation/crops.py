"""Frozen crops: which part of which photograph is evaluated, now and by anyone else.

A crop follows from the name of the photograph's file, without folder and suffix, and nothing else:
not from the order of the photographs, their number, or a library's random numbers. At every size it
lies at the same relative place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from pgi.config import CROPS
from pgi.errors import NoUsableImageError
from pgi.evaluation.results import CropList
from pgi.images import resize
from pgi.rules import check, check_choice
from pgi.training.reading import ImageSource


@dataclass(frozen=True)
class Crops:
    """Crops, and what names them.

    Attributes:
        listed: what goes into results.
        images: `[N, size, size, 3]` uint8.
        names: one each, fit for a file.
    """

    listed: CropList
    images: np.ndarray
    names: tuple[str, ...]


def place(
    name: str, number: int, height: int, width: int, *, size: int, crop: str
) -> tuple[int, int, int, int] | None:
    """Where crop `number` of a photograph lies: top, left, height, width in pixels.

    Args:
        name: of the photograph's file; its folder and suffix count for nothing.
        number: of the crop, from 0.
        height, width: of the photograph in pixels.
        size: of the crop in pixels.
        crop: "random": `size` pixels a side; "random_resized": any square of at least that;
            "resize": the whole photograph.

    Returns:
        The place, or None if the photograph is too small: a truth is never enlarged.

    Source: section 4, random crops of DIV2K. Departs from it: the places are ours.
    """
    if min(height, width) < size:
        return None
    if crop == "resize":
        return 0, 0, height, width
    across, down, zoom = _fractions(f"{PurePosixPath(name).stem}\n{number}")
    side = size if crop == "random" else size + int(zoom * (min(height, width) - size + 1))
    return int(down * (height - side + 1)), int(across * (width - side + 1)), side, side


def _fractions(text: str) -> tuple[float, float, float]:
    """Three numbers in [0, 1), made of the text's SHA-256."""
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).digest()
    # Less than 2 ** 53 each, so that they are exact in float64 and never rounded up to 1.
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
        photographs: how many at most, the source's first; those that are too small or unreadable
            are passed over.
        each: crops of each photograph; under "resize" there is one.

    Raises:
        RuleError: an argument breaks its rule.
        NoUsableImageError: no photograph is large enough.

    Source: section 4. Departs from it: nothing.
    """
    check("size", "a positive multiple of 8", size > 0 and size % 8 == 0, size)
    check_choice("crop", CROPS, crop)
    check("photographs", "positive", photographs > 0, photographs)
    check("crops of each photograph", "positive", each > 0, each)
    images: list[np.ndarray] = []
    cut_from: list[str] = []
    places: list[tuple[int, int, int, int]] = []
    for index in range(len(source)):
        if len(set(cut_from)) == photographs:
            break
        image, name = source.try_read(index), source.name(index)
        if image is None:
            continue
        for number in range(1 if crop == "resize" else each):
            if where := place(name, number, *image.shape[:2], size=size, crop=crop):
                top, left, height, width = where
                images.append(resize(image[top : top + height, left : left + width], size, size))
                cut_from.append(name)
                places.append(where)
    if not images:
        raise NoUsableImageError(f"{dataset} has no photograph of {size} px and more to evaluate")
    pixels = np.stack(images)
    lines = [" ".join(map(str, (name, *where))) for name, where in zip(cut_from, places)]
    text = "\n".join([f"{size} {crop}", *lines])
    listed = CropList(
        dataset=dataset,
        size=size,
        crop=crop,
        photographs=cut_from,
        places=[list(where) for where in places],
        sha256=_sha256(text.encode(errors="surrogateescape")),
        pixels_sha256=_sha256(pixels.tobytes()),
    )
    return Crops(listed, pixels, tuple(f"{n:04d}" for n in range(len(images))))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
