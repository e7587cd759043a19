"""Filling the painted part of a picture file, for `pgi.demo`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgi.arrays import BoolArray, UInt8Array
from pgi.errors import PictureError
from pgi.files.masks import resize_mask
from pgi.files.pictures import read_picture
from pgi.inference import Inpainter
from pgi.rules import mask_warning


@dataclass(frozen=True)
class Filled:
    """A photograph whose hole is filled.

    Args:
        content: of the result's PNG file, with the photograph's alpha and EXIF.
        hole: `[H, W]`, upright.
        before: `[H, W, 3]`, upright, the photograph.
        levels: `[H / 2**k, W / 2**k, 3]`, rounded up, coarsest first; the last is the result.
        warning: about the hole; None without one.
    """

    content: bytes
    hole: BoolArray
    before: UInt8Array
    levels: list[UInt8Array]
    warning: str | None


def fill_painted(
    inpainter: Inpainter,
    content: bytes,
    layers: Sequence[UInt8Array],
    max_megapixels: float = 64.0,
) -> Filled:
    """Fills the painted part of a photograph.

    Args:
        inpainter: fills the hole of one upright photograph.
        content: of a PNG, JPEG or WebP file.
        layers: of paint, `[h, w, 4]` RGBA, of the upright photograph's aspect ratio. The hole is
            where the alpha of any layer is above 127.
        max_megapixels: larger photographs are rejected.

    Raises:
        PictureError: the file cannot be used, or nothing or everything is painted.
        RuleError: the inpainter rejects the picture.
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
        raise PictureError("everything is painted: leave a part of the photograph unpainted")
    before = picture.rgb
    levels = inpainter.completed_levels(before, hole)
    content = picture.with_hole(levels[-1], hole).encode("PNG")
    return Filled(content, hole, before, levels, mask_warning(hole))
