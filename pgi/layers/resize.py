"""Resizing in the paper and in DeepFillv2, with gradients and XLA kernels.

In `tf.image.resize`, "area" has neither, and the gradient of nearest has no XLA kernel. TF2 also
dropped `align_corners`, which DeepFillv2 uses.
"""

from __future__ import annotations

import tensorflow as tf


def dimensions(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The shape of `x`: an int for each static dimension, a scalar tensor for each dynamic one."""
    dynamic = tf.shape(x)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)]


def halve_mean(x: tf.Tensor) -> tf.Tensor:
    """Mean of each 2x2 block: downsamples images by one level (section 3.1.1; the mean is ours).

    `[B, H, W, C]`, H and W even, to `[B, H/2, W/2, C]`.
    """
    return tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID")


def halve_max(x: tf.Tensor) -> tf.Tensor:
    """Maximum of each 2x2 block: downsamples masks by one level (section 3.1.1; maximum is ours).

    A block with any hole pixel becomes a hole, so no level sees pixels under the mask.
    `[B, H, W, C]`, H and W even, to `[B, H/2, W/2, C]`.
    """
    return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")


def double_bilinear(x: tf.Tensor) -> tf.Tensor:
    """Bilinear x2 with half-pixel centres: the "upsample" of equation 3 (bilinear is our choice).

    `[B, H, W, C]` to `[B, 2H, 2W, C]` of the same type.
    """
    _, height, width, _ = dimensions(x)
    return tf.cast(tf.image.resize(x, [2 * height, 2 * width], method="bilinear"), x.dtype)


def double_nearest(x: tf.Tensor) -> tf.Tensor:
    """Nearest-neighbour x2: to `[B, 2H, 2W, C]`. In a network see `GatedConv2D`'s `upsample`."""
    batch, height, width, channels = dimensions(x)
    apart = tf.reshape(x, [batch, height, 1, width, 1, channels])
    repeated = tf.tile(apart, [1, 1, 2, 1, 2, 1])
    return tf.reshape(repeated, [batch, 2 * height, 2 * width, channels])


def nearest_align_corners(
    x: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    """Nearest-neighbour resize with aligned corner pixels, as in DeepFillv2.

    TF2's resize aligns the edges of the corner pixels instead and picks other pixels.
    `[B, H, W, C]` to `[B, height, width, C]`, with height and width at least 1.
    """
    _, rows, columns, _ = dimensions(x)
    x = tf.gather(x, _aligned_indices(rows, height), axis=1)
    return tf.gather(x, _aligned_indices(columns, width), axis=2)


def _aligned_indices(size: int | tf.Tensor, new_size: int | tf.Tensor) -> tf.Tensor:
    # In float32 and rounding half up, like TF1's kernel: exact arithmetic breaks some ties
    # differently (for example 22 to 11).
    steps = tf.cast(tf.maximum(new_size - 1, 1), tf.float32)
    scale = tf.cast(size - 1, tf.float32) / steps
    positions = tf.cast(tf.range(new_size), tf.float32) * scale
    return tf.minimum(tf.cast(tf.floor(positions + 0.5), tf.int32), size - 1)
