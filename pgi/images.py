"""Images and masks: value ranges, completion, and pyramids.

Conventions everywhere: images are `[B, H, W, 3]` RGB, masks `[B, H, W, 1]` with 1 = hole;
a pyramid is a tuple with the coarsest level first.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pgi.arrays import AnyArray, BoolArray, UInt8Array
from pgi.layers.resize import halve_max, halve_mean
from pgi.opencv import cv2
from pgi.rules import check, check_mask_scale


def to_float(image: tf.Tensor) -> tf.Tensor:
    """uint8 in [0, 255] to float32 in [-1, 1]."""
    # A division by 127.5 would be rounded differently in and outside of graphs.
    return tf.cast(image, tf.float32) * (1 / 127.5) - 1.0


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Float in [-1, 1] to uint8 in [0, 255]; values outside are clipped.

    The exact inverse of `to_float` for every uint8 value.
    """
    return tf.cast(tf.round((tf.clip_by_value(image, -1.0, 1.0) + 1.0) * 127.5), tf.uint8)


def complete(image: tf.Tensor, prediction: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The completed image: the prediction in the hole, the image elsewhere.

    Args:
        image: `[B, H, W, C]`.
        prediction: `[B, H, W, C]`, of the image's type.
        mask: `[B or 1, H, W, 1]`, 1 = hole.

    Returns:
        `[B, H, W, C]`. Known pixels are bit-identical to the image's, even if the prediction is not
        finite.
    """
    return tf.where(mask > 0.5, prediction, image)


def as_hole(mask: AnyArray, size: tuple[int, ...]) -> BoolArray:
    """A user's mask as bool, True = hole.

    Args:
        mask: bool, True = hole, or uint8, above 127 = hole; `[H, W]` or `[H, W, 1]`, for a batch
            also `[N, H, W]` or `[N, H, W, 1]`.
        size: of the image, `(H, W)`, or of a batch, `(N, H, W)`.

    Returns:
        `[H, W]`, or `[N, H, W]` if the mask has an axis for the batch.

    Raises:
        RuleError: the mask has another type or size, or its values are 0 and 1 in uint8.
    """
    mask = np.asarray(mask)
    check("mask", "bool or uint8", mask.dtype in (np.bool_, np.uint8), str(mask.dtype))
    sizes = (size, size[-2:])
    fits = mask.shape in sizes or (mask.shape[-1:] == (1,) and mask.shape[:-1] in sizes)
    check("mask", f"of the image's size {size}", fits, mask.shape)
    if mask.dtype == np.uint8:
        check_mask_scale(mask.max())
        mask = mask > 127
    return mask if mask.shape in sizes else mask[..., 0]


def remove_hole(image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The masked image `[B, H, W, C]`: 0 (mid-grey) in the hole; arguments as of `complete`."""
    return complete(image, tf.zeros_like(image), mask)


def resize(image: UInt8Array, height: int, width: int) -> UInt8Array:
    """Resizes a uint8 image `[H, W, 3]`: area averaging to shrink, else bicubic."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized = cv2.resize(image, (width, height), interpolation=method)
    return np.asarray(resized, np.uint8)


def pyramids(
    image: tf.Tensor, mask: tf.Tensor, levels: int
) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
    """Image and mask pyramids: both halved `levels - 1` times (section 3.1.1).

    Args:
        image: `[B, H, W, C]`, H and W multiples of `2 ** (levels - 1)`.
        mask: `[B, H, W, 1]`, 1 = hole.
        levels: number of levels, at least 1.

    Returns:
        The images and the masks, each a tuple of `levels` tensors, coarsest first.
    """
    images, masks = [image], [mask]
    for _ in range(levels - 1):
        images.append(halve_mean(images[-1]))
        masks.append(halve_max(masks[-1]))
    return tuple(reversed(images)), tuple(reversed(masks))
