"""Frozen crops: which part of which photograph is evaluated.

A crop depends only on its number and on the name of the photograph's file, without folder and
suffix: not on the order or number of the photographs, nor on a library's random numbers. At every
size it lies at the same relative place.

No pixels are kept, since a dataset may have tens of thousands of photographs: one pass makes the
list and the hashes, and each crop is cut again when it is asked for.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pgi.arrays import UInt8Array
from pgi.config import CROPS
from pgi.errors import NoUsableImageError, RuleError
from pgi.evaluation.progress import progress
from pgi.evaluation.results import CropList
from pgi.images import resize
from pgi.rules import check, check_choice
from pgi.training.reading import ImageSource


@dataclass(frozen=True, eq=False)
class Crops:
    """A source's crops, in the order of its photographs.

    Attributes:
        listed: places and hashes, for results.
        source: of the photographs.
        numbers: the photograph's number in the source, for each crop.
        digests: SHA-256 of each crop's pixels.
    """

    listed: CropList
    source: ImageSource
    numbers: Sequence[int]
    digests: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, n: int) -> str:
        """The name of a crop's files, without suffix."""
        return f"{n:04d}"

    @property
    def names(self) -> list[str]:
        """The names of all crops."""
        return [self.name(n) for n in range(len(self))]

    @functools.cached_property
    def by_photograph(self) -> list[range]:
        """The numbers of each photograph's crops."""
        counts = [len([*same]) for _, same in itertools.groupby(self.numbers)]
        return [range(end - n, end) for n, end in zip(counts, itertools.accumulate(counts))]

    def image(self, n: int) -> UInt8Array:
        """The pixels of a crop, `[size, size, 3]` uint8.

        The last photograph and the last crop stay in memory, so that the crops of a photograph, one
        after another, decode it once.

        Raises:
            RuleError: the photograph cannot be read any more, or its pixels have changed.
        """
        return self._image(n)

    @functools.cached_property
    def _image(self) -> Callable[[int], UInt8Array]:
        size, places = self.listed.size, self.listed.places
        read = functools.lru_cache(maxsize=1)(self.source.try_read)

        @functools.lru_cache(maxsize=1)
        def image(n: int) -> UInt8Array:
            photograph, place = read(self.numbers[n]), places[n]
            crop = None if photograph is None else _cut(photograph, place, size)
            if crop is None or hashlib.sha256(crop.tobytes()).digest() != self.digests[n]:
                name = self.listed.lines[n].rsplit(" ", 4)[0]
                found = self.source.skipped.get(self.source.key(self.numbers[n]), "other pixels")
                raise RuleError(f"{name} must stay as it is while it is evaluated, got {found}")
            return crop

        return image


def _cut(photograph: UInt8Array, place: Sequence[int], size: int) -> UInt8Array | None:
    """A crop, or None if its place is not inside the photograph."""
    top, left, height, width = place
    part = photograph[top : top + height, left : left + width]
    # A copy, since a view would keep the whole photograph in memory.
    return resize(part, size, size).copy() if part.shape[:2] == (height, width) else None


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
    """Lists the frozen crops of a source's photographs, each of which is read once.

    Args:
        source: of photographs.
        dataset: its name, for results.
        size: of the crops in pixels, a multiple of 8.
        crop: as for `place`.
        photographs: maximum number of photographs, from the source's first on, 0 for all; small and
            unreadable ones are skipped.
        each: number of crops per photograph; under "resize" always one.

    Raises:
        RuleError: an argument breaks its rule.
        NoUsableImageError: no photograph is large enough.
    """
    check("size", "a positive multiple of 8", size > 0 and size % 8 == 0, size)
    check_choice("crop", CROPS, crop)
    check("photographs", "positive, or 0 for all", photographs >= 0, photographs)
    check("crops of each photograph", "positive", each > 0, each)
    most = min(photographs or len(source), len(source))
    numbers, digests, lines, pixels = [], [], [], hashlib.sha256()
    used: set[str] = set()
    with progress(f"cutting crops of {size} px", most) as bar:
        for index in range(len(source)):
            if len(used) == most:
                break
            image, name = source.try_read(index), source.name(index)
            if image is None:
                continue
            for number in range(1 if crop == "resize" else each):
                where = place(name, number, *image.shape[:2], size=size, crop=crop)
                part = _cut(image, where, size) if where else None
                if where is None or part is None:
                    continue
                pixels.update(part.tobytes())
                numbers.append(index)
                digests.append(hashlib.sha256(part.tobytes()).digest())
                lines.append(" ".join(map(str, (name, *where))))
                used.add(name)
            bar.update(len(used) - bar.n)
    if not lines:
        raise NoUsableImageError(f"{dataset} has no photograph of {size} px and more to evaluate")
    listed = CropList(
        dataset=dataset,
        size=size,
        crop=crop,
        lines=lines,
        sha256=_sha256("\n".join([f"{size} {crop}", *lines]).encode(errors="surrogateescape")),
        pixels_sha256=pixels.hexdigest(),
    )
    return Crops(listed, source, numbers, digests)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
