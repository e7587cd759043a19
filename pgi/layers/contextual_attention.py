"""Contextual attention: each patch of the foreground becomes a blend of background patches.

The textbook formulation extracts 3x3 patches to match and 4x4 patches to paste. Both are sums over
shifted copies of something much smaller, and this file computes those sums instead:

* Match. The correlation of two 3x3 patches is the sum, over the nine offsets, of dot products of
  pixels. So the pixel Gram matrix is computed once and summed along its diagonals: three terms
  vertically, then three horizontally.
* Fuse. [29] favours neighbours that come from neighbours by a convolution with a 3x3 identity over
  the flattened score matrix, once with rows major and once with columns major: again sums of three
  diagonal terms. Flattened positions wrap around at the ends of rows and columns; that is part of
  the reference and kept.
* Paste. Patches of side 2r at stride r overlap in blocks of side r. The four shifted attention maps
  are summed first, and one product with the blocks pastes all.

Conventions: scores are `[B, h, w, h', w']`, query row and column, then key row and column, on the
grid that is `rate` times smaller than the features. Norms, scores and softmax are float32 under any
precision policy: in float16 the result is wrong without a NaN to show for it.
"""

from __future__ import annotations

import tensorflow as tf

from pgi.layers.resize import dimensions, nearest_align_corners

_NORM_FLOOR = 1e-4


def contextual_attention(
    foreground: tf.Tensor,
    background: tf.Tensor,
    mask: tf.Tensor | None = None,
    *,
    rate: int = 2,
    softmax_scale: float = 10.0,
    fuse: bool = True,
) -> tf.Tensor:
    """Rebuilds the foreground out of patches of the background outside the hole.

    Matches 3x3 patches at stride 1, pastes patches of side `2 * rate` at stride `rate` and divides
    by 4. Keys that touch the hole score 0 before the softmax and weigh 0 after it, so they still
    count in its denominator, as in the reference.

    Args:
        foreground: `[B, H, W, C]` features to rebuild.
        background: `[B, H', W', C]` features to take patches from.
        mask: `[B or 1, H', W', 1]`, 1 = hole, at the background's size; None for no hole.
        rate: how many times the grid that is matched is smaller than the features.
        softmax_scale: what scores are multiplied by before the softmax.
        fuse: whether to run the two fuse passes, 3 wide.

    Returns:
        `[B, H, W, C]`, of the foreground's type.

    Raises:
        ValueError: a known height or width is no multiple of `rate`.

    Source: [29], section 3.2, and the contextual attention that it cites. Departs from it: nothing.
    """
    for name, features in (("foreground", foreground), ("background", background)):
        if any(size is not None and size % rate for size in features.shape[1:3]):
            raise ValueError(
                f"height and width of {name} must be multiples of rate={rate}, "
                f"got {tuple(features.shape[1:3])}"
            )
    values = tf.cast(background, tf.float32)
    queries = _shrink(tf.cast(foreground, tf.float32), rate)
    keys = _shrink(values, rate)
    scores = _patch_scores(queries, keys)
    if fuse:
        scores = _fuse(scores)
    attention = _masked_softmax(
        scores, None if mask is None else _shrink(mask, rate), softmax_scale
    )
    pasted = _paste(attention, values, rate)
    return tf.cast(tf.ensure_shape(pasted, foreground.shape), foreground.dtype)


def _shrink(x: tf.Tensor, rate: int) -> tf.Tensor:
    _, height, width, _ = dimensions(x)
    return x if rate == 1 else nearest_align_corners(x, height // rate, width // rate)


def _sum_diagonal(x: tf.Tensor, query_axis: int, key_axis: int) -> tf.Tensor:
    """x[i - 1, j - 1] + x[i, j] + x[i + 1, j + 1] along two axes, zero outside."""
    axes = (query_axis, key_axis)
    padded = tf.pad(x, [[int(axis in axes)] * 2 for axis in range(x.shape.rank)])
    shifts = [[offset * int(axis in axes) for axis in range(x.shape.rank)] for offset in range(3)]
    return tf.add_n([tf.slice(padded, shift, tf.shape(x)) for shift in shifts])


def _patch_scores(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Correlation of 3x3 patches, the keys' patches normalised: `[B, h, w, h', w']`."""
    scores = tf.einsum("bijc,bklc->bijkl", queries, keys)
    scores = _sum_diagonal(_sum_diagonal(scores, 1, 3), 2, 4)
    energy = tf.reduce_sum(tf.square(keys), axis=-1, keepdims=True)
    energy = tf.nn.conv2d(energy, tf.ones([3, 3, 1, 1]), strides=1, padding="SAME")
    # The floor is applied under the root, where an all-zero patch would have an infinite gradient.
    norms = tf.sqrt(tf.maximum(energy, _NORM_FLOOR**2))
    return scores / norms[:, None, None, :, :, 0]


def _fuse(scores: tf.Tensor) -> tf.Tensor:
    batch, height, width, key_height, key_width = dimensions(scores)
    flat = [batch, height * width, key_height * key_width]
    scores = _sum_diagonal(tf.reshape(scores, flat), 1, 2)
    scores = tf.reshape(scores, [batch, height, width, key_height, key_width])
    scores = tf.transpose(scores, [0, 2, 1, 4, 3])
    scores = _sum_diagonal(tf.reshape(scores, flat), 1, 2)
    scores = tf.reshape(scores, [batch, width, height, key_width, key_height])
    return tf.transpose(scores, [0, 2, 1, 4, 3])


def _masked_softmax(scores: tf.Tensor, mask: tf.Tensor | None, scale: float) -> tf.Tensor:
    shape = dimensions(scores)
    if mask is not None:
        touched = tf.nn.max_pool2d(tf.cast(mask, tf.float32), 3, strides=1, padding="SAME")
        usable = tf.cast(tf.equal(touched, 0.0), tf.float32)[:, None, None, :, :, 0]
        scores *= usable
    flat = tf.reshape(scores * scale, [*shape[:3], shape[3] * shape[4]])
    attention = tf.reshape(tf.nn.softmax(flat), shape)
    return attention if mask is None else attention * usable


def _paste(attention: tf.Tensor, values: tf.Tensor, rate: int) -> tf.Tensor:
    """Adds up patches of side 2 * rate at stride rate, and divides by 4."""
    batch, height, width, key_height, key_width = dimensions(attention)
    channels = values.shape[-1]
    # SAME padding of a patch of side 2 * rate at stride rate, in and out.
    before, after = rate // 2, rate - rate // 2
    blocks = tf.pad(values, [[0, 0], [before, after], [before, after], [0, 0]])
    if rate > 1:
        blocks = tf.nn.space_to_depth(blocks, rate)
    blocks = tf.reshape(blocks, [batch, (key_height + 1) * (key_width + 1), rate**2 * channels])

    # A patch holds 2 x 2 blocks: block (p, q) of the output gets block (u, v) of the background
    # through each of the four patches that cover both.
    def overlap(x: tf.Tensor, axes: tuple[int, int]) -> tf.Tensor:
        first, second = (
            [[side, 1 - side] if axis in axes else [0, 0] for axis in range(5)] for side in (0, 1)
        )
        return tf.pad(x, first) + tf.pad(x, second)

    weights = overlap(overlap(attention, (1, 3)), (2, 4))
    weights = tf.reshape(
        weights, [batch, (height + 1) * (width + 1), (key_height + 1) * (key_width + 1)]
    )
    pasted = tf.matmul(weights, blocks) / 4.0
    pasted = tf.reshape(pasted, [batch, height + 1, width + 1, rate**2 * channels])
    if rate > 1:
        pasted = tf.nn.depth_to_space(pasted, rate)
    return pasted[:, before : before + height * rate, before : before + width * rate, :]
