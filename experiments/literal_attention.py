"""Contextual attention patch by patch: the benchmark's baseline and the tests' oracle."""

from __future__ import annotations

import tensorflow as tf


def literal_attention(
    foreground: tf.Tensor,
    background: tf.Tensor,
    mask: tf.Tensor | None,
    rate: int,
    dtype: tf.DType = tf.float64,
    fuse: bool = True,
    paste: str = "convolution",
) -> tf.Tensor:
    """Contextual attention of one image, written as in its definition, patch by patch.

    As in DeepFillv2, patches are convolution kernels: of the one that scores them, and of the
    transposed one that pastes them.

    Args:
        foreground: features that are rebuilt, `[H, W, C]`.
        background: features that patches are taken from, `[H, W, C]`.
        mask: of the background, `[H, W, 1]`, 1 = hole; None for no hole.
        rate: factor by which the features are reduced before they are matched.
        dtype: of the computation.
        fuse: whether to smooth the scores along diagonals.
        paste: "convolution", or "product": a matrix product whose patches are then added up. On a
            CPU it is several times as fast.

    Returns:
        `[H, W, C]`, of type `dtype`.
    """
    foreground, background = (tf.cast(x, dtype) for x in (foreground, background))
    if mask is None:
        mask = tf.zeros([*background.shape[:2], 1])
    small = [_nearest(x, rate) for x in (foreground, background, tf.cast(mask, dtype))]
    (height, width), (key_height, key_width) = small[0].shape[:2], small[1].shape[:2]
    keys, holes = (_patches(x, 3, 1) for x in small[1:])
    norms = tf.sqrt(tf.maximum(tf.reduce_sum(keys**2, axis=1), 1e-8))
    kernel = tf.reshape(keys / norms[:, None], [-1, 3, 3, foreground.shape[-1]])
    scores = tf.nn.conv2d(small[0][None], tf.transpose(kernel, [1, 2, 3, 0]), 1, "SAME")
    scores = tf.reshape(scores, [height * width, -1])

    if fuse:
        scores = _identity_convolution(scores)
        scores = tf.reshape(scores, [height, width, key_height, key_width])
        scores = tf.reshape(tf.transpose(scores, [1, 0, 3, 2]), [height * width, -1])
        scores = _identity_convolution(scores)
        scores = tf.reshape(scores, [width, height, key_width, key_height])
        scores = tf.reshape(tf.transpose(scores, [1, 0, 3, 2]), [height * width, -1])

    usable = tf.cast(tf.reduce_sum(holes, axis=1) == 0, dtype)
    attention = tf.nn.softmax(scores * usable * 10.0) * usable
    values = _patches(background, 2 * rate, rate)
    # Overlapping patches add up, four at each place.
    if paste == "product":
        patches = tf.reshape(tf.matmul(attention, values), [height, width, -1])
        return _added_up(patches, rate, foreground.shape[-1]) / 4.0
    kernel = tf.reshape(values, [-1, 2 * rate, 2 * rate, foreground.shape[-1]])
    kernel = tf.transpose(kernel, [1, 2, 3, 0])
    attention = tf.reshape(attention, [1, height, width, -1])
    shape = [1, *foreground.shape]
    return tf.nn.conv2d_transpose(attention, kernel, shape, rate, "SAME")[0] / 4.0


def _added_up(patches: tf.Tensor, rate: int, channels: int) -> tf.Tensor:
    """Adds up patches of side `2 * rate` at stride `rate`: `[h, w, D]` to `[rate h, rate w, C]`.

    Each patch consists of 2 x 2 blocks.
    """
    height, width, _ = patches.shape
    patches = tf.reshape(patches, [height, width, 2, rate, 2, rate, channels])
    patches = tf.transpose(patches, [2, 4, 0, 3, 1, 5, 6])
    blocks = tf.reshape(patches, [2, 2, height * rate, width * rate, channels])
    total = tf.add_n(
        [
            tf.pad(blocks[y, x], [[y * rate, (1 - y) * rate], [x * rate, (1 - x) * rate], [0, 0]])
            for y in range(2)
            for x in range(2)
        ]
    )
    before = rate // 2
    return total[before : before + height * rate, before : before + width * rate]


def _patches(x: tf.Tensor, size: int, stride: int) -> tf.Tensor:
    patches = tf.image.extract_patches(
        x[None], [1, size, size, 1], [1, stride, stride, 1], [1, 1, 1, 1], "SAME"
    )
    return tf.reshape(patches, [-1, patches.shape[-1]])


def _nearest(x: tf.Tensor, rate: int) -> tf.Tensor:
    size = [x.shape[0] // rate, x.shape[1] // rate]
    return tf.compat.v1.image.resize_nearest_neighbor(x[None], size, align_corners=True)[0]


def _identity_convolution(scores: tf.Tensor) -> tf.Tensor:
    kernel = tf.reshape(tf.eye(3, dtype=scores.dtype), [3, 3, 1, 1])
    return tf.nn.conv2d(scores[None, :, :, None], kernel, 1, "SAME")[0, :, :, 0]
