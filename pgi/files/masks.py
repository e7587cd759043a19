"""Mask files: which pixels are the hole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pgi.arrays import AnyArray, BoolArray, UInt8Array
from pgi.errors import PictureError
from pgi.files.exif import read_exif, to_upright
from pgi.files.kinds import MASK_FORMATS
from pgi.files.opening import opened
from pgi.files.pictures import white_is_zero
from pgi.pillow import Image
from pgi.rules import check_mask_scale

POLARITIES = ("white", "black")
# In a mask of one colour: how far a channel of its pixels may be from it, as a JPEG's are.
_TOLERANCE = 32
# The same for its hue, which is less exact at a JPEG's edges. Palettes of classes differ by 64.
_HUE_TOLERANCE = 60
# How colourful the one colour must be: the difference of its largest and smallest channel.
_LEAST_CHROMA = 64
# Share of what is not black that may have another hue, as at edges in a JPEG.
_OTHER_HUES = 0.01
# At most twice as many pixels are looked at for the colour and these shares; each takes 50 bytes.
_SAMPLE = 2**18


@dataclass(frozen=True)
class Mask:
    """What a mask file says.

    Args:
        hole: `[H, W]`, upright, True = hole.
        reading: how it was read, if not simply by its brightness; else empty.
    """

    hole: BoolArray
    reading: str = ""


def read_mask(content: bytes, max_megapixels: float, polarity: str = "white") -> Mask:
    """Reads a mask file, which may be any still picture.

    Its brightness counts: above 127 is the hole, or at most 127 for "black". There are two
    exceptions:

    * One colour and transparent parts: if alpha lies on both sides of 127, and all pixels with
      alpha above 127 have one colour, these pixels are the hole; for "black" only if the colour is
      dark, and if it is bright, the others are.
    * Strokes of one colour on black, for "white": if no pixel is brighter than 127, and of those
      that are not black more than half have one colour and 99 % its hue, the hole is what is nearer
      to the colour than to black.

    Args:
        content: of a PNG, JPEG, WebP, TIFF, BMP or GIF file; 16-bit values count by their high
            byte, a palette by its colours.
        max_megapixels: larger masks are rejected before their pixels are read.
        polarity: which side of mid-grey is the hole, "white" (> 127) or "black" (<= 127).

    Raises:
        PictureError: the content is no such file, damaged, too large or animated.
        RuleError: its largest value is 1.
    """
    with opened(content, max_megapixels, MASK_FORMATS) as image:
        if image.mode in ("F", "I"):
            raise PictureError(f"must have 8 or 16 bits per channel, got 32 (mode {image.mode})")
        image.load()
        inverted = white_is_zero(image)
        image = to_upright(image, read_exif(image).orientation)
        if image.mode.startswith("I"):
            samples: AnyArray = 65535 - np.asarray(image) if inverted else np.asarray(image)
            check_mask_scale(samples.max())
            grey: AnyArray = samples // 256
        else:
            grey = np.asarray(image.convert("L"))
        check_mask_scale(grey.max())
        opaque = _opaque(image)
        if mask := _one_colour(image, opaque, grey, polarity):
            return mask
        mask = Mask(grey <= 127 if polarity == "black" else grey > 127)
        if polarity == "white":
            mask = _strokes_on_black(image, grey) or mask
        if not opaque.all():
            unused = "its alpha is not used (see --mask-from-alpha)"
            mask = replace(mask, reading="; ".join(filter(None, (mask.reading, unused))))
        return mask


def resize_mask(mask: BoolArray, height: int, width: int) -> BoolArray:
    """Nearest-neighbour resize of a `[H, W]` mask to `[height, width]`."""
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def grow(hole: BoolArray, distance: int) -> BoolArray:
    """A hole `[H, W]` with all pixels whose centre is at most `distance` pixels from one of it."""
    if distance == 0 or not hole.any() or hole.all():
        return hole
    from pgi.opencv import cv2  # `pgi --help` does not need it.

    known = (~hole).astype(np.uint8)
    distances = cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances of pixels are whole numbers.
    grown: BoolArray = distances < np.sqrt(distance**2 + 0.5)
    return grown


def _opaque(image: Image.Image) -> BoolArray:
    if not image.has_transparency_data or image.mode.startswith("I"):
        return np.ones([image.height, image.width], bool)
    return np.asarray(image.convert("RGBA").getchannel("A")) > 127


def _one_colour(
    image: Image.Image, opaque: BoolArray, grey: AnyArray, polarity: str
) -> Mask | None:
    if opaque.all() or not opaque.any():
        return None
    pixels: UInt8Array = np.asarray(image.convert("RGB"))
    if (np.ptp(pixels[opaque], axis=0) > _TOLERANCE).any():
        return None
    bright = np.median(grey[opaque]) > 127
    if bright and polarity == "black":
        return Mask(~opaque, "one bright colour: the hole is what is transparent")
    turned = " (--mask-polarity black: what is transparent)" if bright else ""
    return Mask(opaque, f"one colour on a transparent ground: the hole is what is opaque{turned}")


def _strokes_on_black(image: Image.Image, grey: AnyArray) -> Mask | None:
    if image.mode in ("1", "L", "LA") or image.mode.startswith("I") or grey.max() > 127:
        return None
    pixels: UInt8Array = np.asarray(image.convert("RGB"))
    largest = pixels.max(axis=-1)
    if not (largest > 127).any():
        return None
    colour = np.median(_sample(pixels, largest > 127), axis=0).astype(np.float32)
    if np.ptp(colour) < _LEAST_CHROMA:
        return None
    coloured = _sample(pixels, largest > _TOLERANCE).astype(np.float32)
    same = (np.abs(coloured - colour) <= _TOLERANCE).all(axis=-1)
    darker = coloured.max(axis=-1, keepdims=True) / colour.max() * colour
    same_hue = (np.abs(coloured - darker) <= _HUE_TOLERANCE).all(axis=-1)
    if same.mean() <= 0.5 or same_hue.mean() < 1 - _OTHER_HUES:
        return None
    hole = largest > colour.max() / 2
    return Mask(hole, "one colour on black: the hole is what has the colour")


def _sample(pixels: UInt8Array, where: BoolArray) -> UInt8Array:
    """Pixels `[N, 3]` of a part of `[H, W, 3]`, spread over all of it."""
    places = np.flatnonzero(where)
    step = len(places) // _SAMPLE | 1  # Odd, since many widths are even.
    sample: UInt8Array = pixels.reshape(-1, 3)[places[::step]]
    return sample
