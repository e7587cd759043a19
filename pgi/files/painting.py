"""A picture file with paint over its hole: filled, and what the levels made of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pgi.errors import PictureError
from pgi.files.pictures import read_picture, resize_mask


class LevelInpainter(Protocol):
    """What is needed of a `pgi.inference.Inpainter`."""

    def completed_levels(self, image: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        """The levels' completed images, coarsest first, the last one the result."""


@dataclass(frozen=True)
class Filled:
    """A photograph whose hole is filled.

    Args:
        content: of a PNG file, of the photograph's mode, with its alpha and EXIF.
        hole: `[H, W]` bool, upright.
        before: `[H, W, 3]` uint8, upright, the photograph.
        levels: uint8 `[H / 2**k, W / 2**k, 3]`, rounded up, coarsest first; the last is the result.
        warned: what the inpainter warned of.
    """

    content: bytes
    hole: np.ndarray
    before: np.ndarray
    levels: list[np.ndarray]
    warned: list[str]


def fill_painted(
    inpainter: LevelInpainter,
    content: bytes,
    layers: Sequence[np.ndarray],
    max_megapixels: float = 64.0,
) -> Filled:
    """Fills what is painted; what is behind the button of `pgi.demo`.

    Args:
        inpainter: fills the hole of one upright photograph.
        content: of a PNG, JPEG or WebP file.
        layers: of paint, `[h, w, 4]` uint8, of the upright photograph's shape but for the scale.
            What is covered by more than half (alpha above 127) is the hole.
        max_megapixels: a larger photograph is refused.

    Raises:
        PictureError: the file cannot be used, or nothing or everything is painted.
        RuleError: the inpainter refuses the picture.

    Source: ours. Departs from it: nothing.
    """
    picture = read_picture(content, max_megapixels)
    if picture.image.mode == "CMYK":
        raise PictureError("must be RGB or grey to be written as PNG, got CMYK")
    hole = np.zeros(picture.shape, bool)
    for layer in layers:
        hole |= resize_mask(layer[..., 3] > 127, *picture.shape)
    if not hole.any():
        raise PictureError("nothing is painted: paint over what is to be replaced")
    if hole.all():
        raise PictureError("everything is painted: leave something to go by")
    before = picture.rgb
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        levels = inpainter.completed_levels(before, hole)
    warned = [str(w.message) for w in caught if w.category is UserWarning]
    return Filled(picture.with_hole(levels[-1], hole).encode("PNG"), hole, before, levels, warned)
