"""The resizings of the paper and of its reference [29], each with a gradient and an XLA kernel.

`tf.image.resize` has neither for every method that is needed here: "area" lacks both, and nearest
lacks an XLA kernel for its gradient. TF2 also dropped the `align_corners` that [29] rests on.
"""

from __future__ import annotations

import tensorflow as tf


def dimensions(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of `x`, static where they are known and scalar tensors where they are not."""
    dynamic = tf.shape(x)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)]


def halve_mean(x: tf.Tensor) -> tf.Tensor:
    """Mean of each 2x2 block: how images go one level down.

    Args:
        x: `[B, H, W, C]`, H and W even.

    Returns:
        `[B, H/2, W/2, C]`.

    Source: section 3.1.1 ("gradually downsampled"). Departs from it: nothing; the mean is ours.
    """
    return tf.nn.avg_pool2d(x, ksize=2, strides=2, padding="VALID")


def halve_max(x: tf.Tensor) -> tf.Tensor:
    """Maximum of each 2x2 block: how masks go one level down.

    A pixel that any hole pixel touches is a hole, so no level sees what lies under the mask.

    Args:
        x: `[B, H, W, C]`, H and W even.

    Returns:
        `[B, H/2, W/2, C]`.

    Source: section 3.1.1 ("gradually downsampled"). Departs from it: nothing; the maximum is ours.
    """
    return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="VALID")


def double_bilinear(x: tf.Tensor) -> tf.Tensor:
    """Bilinear x2 with half-pixel centres: how a level's result goes one level up.

    Args:
        x: `[B, H, W, C]`.

    Returns:
        `[B, 2H, 2W, C]`, of the type of `x`.

    Source: "upsample" of equation 3. Departs from it: nothing; the kind is ours.
    """
    _, height, width, _ = dimensions(x)
    return tf.cast(tf.image.resize(x, [2 * height, 2 * width], method="bilinear"), x.dtype)


def double_nearest(x: tf.Tensor) -> tf.Tensor:
    """Repeats every pixel 2x2 times: [29]'s upsampling inside a network.

    Args:
        x: `[B, H, W, C]`.

    Returns:
        `[B, 2H, 2W, C]`.

    Source: [29]. Departs from it: nothing.
    """
    batch, height, width, channels = dimensions(x)
    # Not x[:, :, None, :, None]: TensorFlow Lite slices five axes at most.
    apart = tf.reshape(x, [batch, height, 1, width, 1, channels])
    repeated = tf.tile(apart, [1, 1, 2, 1, 2, 1])
    return tf.reshape(repeated, [batch, 2 * height, 2 * width, channels])


def nearest_align_corners(
    x: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor
) -> tf.Tensor:
    """Nearest neighbour between grids whose corner pixels coincide: [29]'s way down.

    TF2's nearest resize aligns the edges of the corner pixels instead and picks other pixels.

    Args:
        x: `[B, H, W, C]`.
        height: rows of the result, at least 1.
        width: columns of the result, at least 1.

    Returns:
        `[B, height, width, C]`.

    Source: [29]. Departs from it: nothing.
    """
    _, rows, columns, _ = dimensions(x)
    x = tf.gather(x, _aligned_indices(rows, height), axis=1)
    return tf.gather(x, _aligned_indices(columns, width), axis=2)


def _aligned_indices(size: int | tf.Tensor, new_size: int | tf.Tensor) -> tf.Tensor:
    # In float32 and rounding half up, as TF1's kernel does: exact arithmetic would break ties
    # otherwise at some sizes (11 of 22, say).
    steps = tf.cast(tf.maximum(new_size - 1, 1), tf.float32)
    scale = tf.cast(size - 1, tf.float32) / steps
    positions = tf.cast(tf.range(new_size), tf.float32) * scale
    return tf.minimum(tf.cast(tf.floor(positions + 0.5), tf.int32), size - 1)
