"""3x3 patches of features, at chosen positions."""

from __future__ import annotations

import tensorflow as tf

from pgi.layers.region import Size
from pgi.layers.resize import dimensions

_NORM_FLOOR = 1e-4


def with_border(features: tf.Tensor) -> tf.Tensor:
    """Pads `[h, w, C]` with zeros to `[h + 2, w + 2, C]`, for patches at the edge."""
    return tf.pad(features, [[1, 1], [1, 1], [0, 0]])


def take_patches(bordered: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """SAME-padded 3x3 patches around N positions: `[N, 9 * C]`.

    Args:
        bordered: `[h + 2, w + 2, C]`, from `with_border`.
        positions: `[N]` int32, row-major in `[h, w]`; those off the grid have patches of zeros.
    """
    rows, stride, channels = dimensions(bordered)
    width = stride - 2
    pixels = tf.reshape(bordered, [-1, channels])
    inside = within(positions, (rows - 2) * width)
    positions = tf.where(inside, positions, 0)
    corners = positions // width * stride + positions % width
    offsets = tf.reshape(tf.range(3)[:, None] * stride + tf.range(3), [-1])
    patches = tf.reshape(tf.gather(pixels, corners[:, None] + offsets), [-1, 9 * channels])
    return patches * tf.cast(inside, patches.dtype)[:, None]


def inverse_norms(features: tf.Tensor) -> tf.Tensor:
    """1 / the L2 norm of every patch of `[h, w, C]` float32: `[h * w]`.

    Norms are clamped to at least 1e-4.
    """
    energy = tf.reduce_sum(tf.square(features), axis=-1, keepdims=True)
    energy = tf.nn.conv2d(energy[None], tf.ones([3, 3, 1, 1]), strides=1, padding="SAME")
    # Clamped before the root, whose gradient at an all-zero patch would be infinite.
    return tf.reshape(1.0 / tf.sqrt(tf.maximum(energy, _NORM_FLOOR**2)), [-1])


def within(index: tf.Tensor, size: Size) -> tf.Tensor:
    """Whether 0 <= index < size, elementwise."""
    return (index >= 0) & (index < size)
