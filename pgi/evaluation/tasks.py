"""Tasks that every method is given: frozen crops under a frozen set of masks."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pgi.arrays import BoolArray, UInt8Array
from pgi.atomic import write_atomically
from pgi.evaluation import mask_sets
from pgi.evaluation.crops import Crops
from pgi.evaluation.methods import Case
from pgi.sheets import png

# Pictures are kept of these masks, those of the paper's Tables 1 and 2 and Figures 3 to 5.
SHOWN = ("center", "union")
_GREY = np.uint8(127)
_PICTURES = 4


@dataclass(frozen=True)
class Task:
    """Crops under a mask set.

    Attributes:
        crops: with their truth.
        masks: the mask set's name.
        holes: `[N, size, size, 1]` bool, one for each crop.
    """

    crops: Crops
    masks: str
    holes: BoolArray

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
        return mask_sets.sha256(self.holes)

    def cases(self) -> list[Case]:
        """The images to fill, grey under the hole, so that no method sees the truth."""
        blank = np.where(self.holes, _GREY, self.crops.images)
        parts = zip(self.crops.names, blank, self.holes[..., 0])
        return [Case(self.place, name, image, hole) for name, image, hole in parts]

    def shown(self) -> list[int]:
        """Numbers of the crops of which pictures are kept: one of each of the first photographs."""
        if self.masks not in SHOWN:
            return []
        photographs = self.crops.listed.photographs
        return [photographs.index(name) for name in dict.fromkeys(photographs)][:_PICTURES]


def tasks(crops: Crops, masks: Iterable[str]) -> list[Task]:
    """Crops under each of the named mask sets.

    Raises:
        RuleError: a mask set is unknown.
    """
    count, height, width, _ = crops.images.shape
    return [Task(crops, name, mask_sets.draw(name, count, height, width)) for name in masks]


def dump_inputs(compared: Iterable[Task], output: Path) -> None:
    """Writes images and masks for another method, to be scored on the same crops and masks.

    Images are `OUTPUT/images/div2k_512_1a2b3c4d/center/0000.png`, grey in the hole; masks are
    `OUTPUT/masks/...`, white = hole. `OUTPUT/inputs.json` has the hashes of crops and masks.
    `pgi.evaluation.methods.Outputs` reads the results, from folders named as those of `images`.
    """
    listed = []
    for task in compared:
        for case in task.cases():
            write_png(output / "images" / task.place / f"{case.name}.png", case.image)
            write_png(output / "masks" / task.place / f"{case.name}.png", np.uint8(255) * case.hole)
        crops = asdict(task.crops.listed)
        listed.append({"folder": task.place, "masks_sha256": task.masks_sha256, "crops": crops})
    write_atomically(output / "inputs.json", json.dumps(listed, indent=1).encode() + b"\n")


def write_png(path: Path, picture: UInt8Array) -> None:
    """Writes `[H, W, 3]` RGB or `[H, W]` uint8, whole or not at all; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png(picture))
