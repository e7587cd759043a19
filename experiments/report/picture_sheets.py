"""Sheets of an evaluation's pictures: truth, masked, each method, each level of ours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pgi.evaluation.results import CropList
from pgi.evaluation.tasks import SHOWN, write_png
from pgi.sheets import sheet
from pgi.training.decoding import read_image


def draw(
    crop_lists: Iterable[CropList],
    pictures: Mapping[str, Path],
    titles: Mapping[str, str],
    ours: str | None,
    output: Path,
) -> list[Path]:
    """Writes a sheet for each crop list and mask set with pictures.

    Args:
        crop_lists: of the crops that are shown.
        pictures: folder of pictures by method, and by `TRUTH` and `MASKED`, in the order of the
            columns.
        titles: of the methods.
        ours: a method; its levels are shown too, last.
        output: folder for the sheets.

    Returns:
        Their paths, `sheet_DATASET_SIZE_MASKS.png`.
    """
    written = []
    for crops, masks in itertools.product(crop_lists, SHOWN):
        place = Path(crops.folder) / masks
        columns = {}
        for method, folder in pictures.items():
            if found := _read(folder / place):
                columns[titles.get(method, method)] = found
        if ours in pictures:
            for level in sorted((pictures[str(ours)] / place).glob("level_*")):
                images = _read(level)
                side = next(iter(images.values())).shape[0]
                columns[f"level {level.name[6:]}: {side} px"] = images
        names = sorted(set.intersection(*(set(x) for x in columns.values()))) if columns else []
        if names and len(columns) > 2:
            side = max(images[names[0]].shape[0] for images in columns.values())
            cells = {
                title: np.stack([_enlarged(images[name], side) for name in names])
                for title, images in columns.items()
            }
            written.append(output / f"sheet_{crops.folder.rpartition('_')[0]}_{masks}.png")
            write_png(written[-1], sheet(cells))
    return written


def _read(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: read_image(path) for path in sorted(folder.glob("*.png"))}


def _enlarged(image: np.ndarray, side: int) -> np.ndarray:
    return image.repeat(side // len(image), axis=0).repeat(side // len(image), axis=1)
