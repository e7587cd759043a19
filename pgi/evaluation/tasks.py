"""Tasks that every method is given: frozen crops under a frozen set of masks."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pgi.arrays import BoolArray, UInt8Array
from pgi.atomic import write_atomically
from pgi.evaluation import mask_sets
from pgi.evaluation.crops import Crops
from pgi.evaluation.methods import Case
from pgi.evaluation.progress import progress
from pgi.rules import check_choice
from pgi.sheets import png

# Pictures are kept of these masks, those of the paper's Tables 1 and 2 and Figures 3 to 5.
SHOWN = ("center", "union")
# Folders of pictures beside those of the methods.
TRUTH, MASKED = "truth", "masked"
_GREY = np.uint8(127)
_PICTURES = 4
_BLOCK = 16  # Masks drawn at once.


@dataclass(frozen=True, eq=False)
class Task:
    """Crops under a mask set; mask n goes with crop n.

    Attributes:
        crops: with their truth.
        masks: the mask set's name.
    """

    crops: Crops
    masks: str

    @property
    def place(self) -> str:
        """Folder of its pictures: "div2k_512_1a2b3c4d/center"."""
        return f"{self.crops.listed.folder}/{self.masks}"

    @property
    def where(self) -> dict[str, Any]:
        """Its dataset, size and masks, as columns of `pgi.evaluation.results`."""
        crops = self.crops.listed
        return {"dataset": crops.dataset, "size": crops.size, "masks": self.masks}

    @functools.cached_property
    def masks_sha256(self) -> str:
        """Of the holes; cached, since a hundred large masks take a while."""
        size = self.crops.listed.size
        return mask_sets.sha256_of_first(self.masks, len(self.crops), size, size)

    def hole(self, n: int) -> BoolArray:
        """The hole in a crop, `[size, size]` bool; drawn together with some of its neighbours."""
        hole: BoolArray = self._block(n // _BLOCK)[n % _BLOCK, ..., 0]
        return hole

    @functools.cached_property
    def _block(self) -> Callable[[int], BoolArray]:
        size, count = self.crops.listed.size, len(self.crops)

        @functools.lru_cache(maxsize=1)
        def block(number: int) -> BoolArray:
            first = number * _BLOCK
            return mask_sets.draw(self.masks, min(_BLOCK, count - first), size, size, first)

        return block

    def case(self, n: int) -> Case:
        """A crop to fill, grey under the hole, so that no method sees the truth.

        Raises:
            RuleError: as `Crops.image`.
        """
        hole = self.hole(n)
        blank = np.where(hole[..., np.newaxis], _GREY, self.crops.image(n))
        return Case(self.place, self.crops.name(n), blank, hole)

    def shown(self) -> list[int]:
        """Numbers of the crops of which pictures are kept: one of each of the first photographs."""
        if self.masks not in SHOWN:
            return []
        return [numbers[0] for numbers in self.crops.by_photograph[:_PICTURES]]


def tasks(crops: Crops, masks: Iterable[str]) -> list[Task]:
    """Crops under each of the named mask sets.

    Raises:
        RuleError: a mask set is unknown.
    """
    names = list(masks)
    for name in names:
        check_choice("masks", tuple(mask_sets.MASK_SETS), name)
    return [Task(crops, name) for name in names]


def by_crops(compared: Iterable[Task]) -> list[list[Task]]:
    """The tasks of each crop list, so that a photograph is read once for all of its masks."""
    groups: dict[str, list[Task]] = {}
    for task in compared:
        groups.setdefault(task.crops.listed.folder, []).append(task)
    return [*groups.values()]


def dump_inputs(compared: Iterable[Task], output: Path) -> None:
    """Writes images and masks for another method, to be scored on the same crops and masks.

    Images are `OUTPUT/images/div2k_512_1a2b3c4d/center/0000.png`, grey in the hole; masks are
    `OUTPUT/masks/...`, white = hole. `OUTPUT/inputs.json` has the hashes of crops and masks.
    `pgi.evaluation.methods.Outputs` reads the results, from folders named as those of `images`.
    """
    every = list(compared)
    for group in by_crops(every):
        crops = group[0].crops
        with progress(f"writing {crops.listed.folder}", len(crops), unit="crop") as bar:
            for n in range(len(crops)):
                for task in group:
                    case, file = task.case(n), f"{task.place}/{crops.name(n)}.png"
                    write_png(output / "images" / file, case.image)
                    write_png(output / "masks" / file, np.uint8(255) * case.hole)
                bar.update()
    listed = [
        {
            "folder": task.place,
            "masks_sha256": task.masks_sha256,
            "crops": asdict(task.crops.listed),
        }
        for task in every
    ]
    write_atomically(output / "inputs.json", json.dumps(listed, indent=1).encode() + b"\n")


def write_png(path: Path, picture: UInt8Array) -> None:
    """Writes `[H, W, 3]` RGB or `[H, W]` uint8, whole or not at all; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png(picture))
