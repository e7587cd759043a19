"""Contextual attention: each patch of the foreground becomes a blend of background patches.

The textbook formulation stores several matrices of the scores of every query with every key: 275 GB
each for a photograph of 4096 x 4096. This file computes the same numbers in bounded memory and a
fraction of the time:

* Match. Scores of 3x3 patches are one matrix product of patches, the keys' normalised beforehand.
  (Scores of single pixels, summed along diagonals, would take a ninth of the multiplications. But
  the fuse passes wrap around, so their neighbours do not lie in one window of those scores, and the
  six times higher memory traffic makes the forward pass no faster on a CPU.)
* Fuse. Adjacent queries should take adjacent patches. DeepFillv2 convolves the flattened score
  matrix with a 3x3 identity, once in row-major and once in column-major order: a sum of three
  diagonal terms. Flattened positions wrap around at the ends of rows and columns. The wrap-around
  is part of the reference and kept.
* Paste. Patches of side 2r at stride r overlap in blocks of side r. The four shifted attention maps
  are summed first, and one product with the blocks pastes all.
* Stream. A tile of blocks needs the attention of its own queries and of one more row and column,
  which need the scores of their neighbours only. Tiles are computed one after another, each as
  large as the bound in bytes allows.
* Restrict. Only the tiles of the requested region are computed.

Conventions: queries are positions on the foreground's grid, which is `rate` times smaller than its
features, keys on the background's. Scores are `[rows, columns, keys]`, one image at a time. Norms,
scores and softmax are float32 under any precision policy: in float16 the result is wrong without
showing a NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from pgi.layers.attention_tile import AttentionInputs, AttentionTile
from pgi.layers.patches import inverse_norms, take_patches, with_border
from pgi.layers.region import Region, Size, larger, smaller
from pgi.layers.resize import dimensions, nearest_align_corners

# Copies of a tile's scores that are in memory at once, at most.
_COPIES = 6
_MAX_BYTES, _MAX_BYTES_PER_KEY = 2.0**28, 2.0**13


def contextual_attention(
    foreground: tf.Tensor,
    background: tf.Tensor,
    mask: tf.Tensor | None = None,
    *,
    rate: int = 2,
    softmax_scale: float = 10.0,
    fuse: bool = True,
    max_bytes: int | None = None,
) -> tf.Tensor:
    """Contextual attention: rebuilds the foreground from background patches outside the hole.

    Matches 3x3 patches at stride 1, pastes patches of side `2 * rate` at stride `rate` and divides
    by 4. Keys that touch the hole have score 0 before the softmax and weight 0 after it, so they
    still count in its denominator, as in DeepFillv2 (section 3.2 and the attention that it cites).

    Args:
        foreground: `[B, H, W, C]` features to rebuild.
        background: `[B, H', W', C]` features to take patches from.
        mask: `[B or 1, H', W', 1]`, 1 = hole, at the background's size; None for no hole.
        rate: downscaling of the grid on which patches are matched.
        softmax_scale: factor of the scores before the softmax.
        fuse: whether to run the two fuse passes, of width 3.
        max_bytes: bound on the part of the score matrix in memory, in bytes; at least one block is
            computed at a time, even beyond the bound. With several tiles, the gradient computes
            each tile's scores again. None for 256 MiB or, if that is more, 8 KiB per key but at
            most 2 GiB: for an image of 4096 x 4096, smaller tiles would be mostly margin.

    Returns:
        `[B, H, W, C]`, of the foreground's type.

    Raises:
        ValueError: a known height or width is no multiple of `rate`.
    """
    batch, height, width, _ = dimensions(foreground)
    if mask is None:
        mask = tf.zeros([1, *dimensions(background)[1:3], 1])
    mask = tf.broadcast_to(mask, [batch, *dimensions(mask)[1:]])

    def attend(image: tuple[tf.Tensor, ...]) -> tf.Tensor:
        inputs = attention_inputs(*image, rate=rate, fuse=fuse)
        attention = PreparedAttention(inputs, rate=rate, softmax_scale=softmax_scale, fuse=fuse)
        return attention(Region(0, 0, height, width), max_bytes, recompute=True)

    result = tf.TensorSpec(foreground.shape[1:])
    pasted = _map(attend, (foreground, background, mask), batch, result)
    return tf.cast(tf.ensure_shape(pasted, foreground.shape), foreground.dtype)


def _map(
    fn: Callable[..., tf.Tensor],
    elements: tf.Tensor | tuple[tf.Tensor, ...],
    count: Size,
    result: tf.TensorSpec,
) -> tf.Tensor:
    """`fn` of each element, stacked; without a loop if there is only one."""
    if isinstance(count, int) and count == 1:
        return fn(tf.nest.map_structure(lambda x: tf.squeeze(x, 0), elements))[None]
    return tf.map_fn(fn, elements, parallel_iterations=1, fn_output_signature=result)


def attention_inputs(
    foreground: tf.Tensor,
    background: tf.Tensor,
    mask: tf.Tensor,
    *,
    rate: int = 2,
    fuse: bool = True,
) -> AttentionInputs:
    """What a `PreparedAttention` reads, of one image.

    Arguments and errors are those of `contextual_attention`, for one image: `foreground`
    `[H, W, C]`, `background` `[H', W', C]`, `mask` `[H', W', 1]`.
    """
    for name, features in (("foreground", foreground), ("background", background)):
        if any(size is not None and size % rate for size in features.shape[:2]):
            raise ValueError(
                f"height and width of {name} must be multiples of rate={rate}, "
                f"got {tuple(features.shape[:2])}"
            )
    values = tf.cast(background, tf.float32)
    queries, keys = _shrink(tf.cast(foreground, tf.float32), rate), _shrink(values, rate)
    height, width, _ = dimensions(keys)
    # The fuse passes look one key beyond either end.
    beyond = int(fuse)
    patches = take_patches(with_border(keys), tf.range(-beyond, height * width + beyond))
    norms = tf.pad(inverse_norms(keys), [[beyond, beyond]])
    holes = tf.cast(_shrink(mask, rate), tf.float32)[None]
    touched = tf.nn.max_pool2d(holes, 3, strides=1, padding="SAME")
    return AttentionInputs(
        queries=with_border(queries),
        key_patches=patches * norms[:, None],
        usable=tf.cast(tf.equal(touched[0, :, :, 0], 0.0), tf.float32),
        blocks=_blocks(values, rate),
    )


class PreparedAttention:
    """Contextual attention of one image, computed for any region of the result.

    Called as `pixels = attention(region, max_bytes=None, recompute=False)`; returns
    `[region.height, region.width, C]` float32, the region of the whole result. `recompute` keeps
    the gradient within the bound too, at the cost of a second forward pass.

    Args:
        inputs: of `attention_inputs`, with the same `rate` and `fuse`.
        rate, softmax_scale, fuse: see `contextual_attention`.
    """

    def __init__(
        self,
        inputs: AttentionInputs,
        *,
        rate: int = 2,
        softmax_scale: float = 10.0,
        fuse: bool = True,
    ) -> None:
        self.inputs, self.rate = inputs, rate
        rows, columns, self.channels = dimensions(inputs.queries)
        key_height, key_width = dimensions(inputs.usable)
        self.keys = key_height * key_width
        self.tile = AttentionTile(rows - 2, columns - 2, key_height, key_width, softmax_scale, fuse)

    def __call__(
        self, region: Region, max_bytes: int | None = None, recompute: bool = False
    ) -> tf.Tensor:
        before, rate = self.rate // 2, self.rate
        top, left = (region.top + before) // rate, (region.left + before) // rate
        rows = (region.top + region.height - 1 + before) // rate - top + 1
        columns = (region.left + region.width - 1 + before) // rate - left + 1
        side = self._tile_side(max_bytes)
        down, height = _parts(rows, side)
        across, width = _parts(columns, side)

        count = down * across
        recompute = recompute and not (isinstance(count, int) and count == 1)

        def blocks(index: tf.Tensor) -> tf.Tensor:
            corner = (top + index // across * height, left + index % across * width)

            def compute(*inputs: tf.Tensor) -> tf.Tensor:
                return self.tile(AttentionInputs(*inputs), *corner, height, width)

            # `recompute_grad` passes gradients to its arguments, not to captured tensors.
            return (tf.recompute_grad(compute) if recompute else compute)(*self.inputs)

        depth = self.inputs.blocks.shape[-1]
        sides = [x if isinstance(x, int) else None for x in (height, width)]
        tiles = _map(blocks, tf.range(count), count, tf.TensorSpec([*sides, depth]))
        tiles = tf.reshape(tiles, [down, across, height, width, depth])
        tiles = tf.transpose(tiles, [0, 2, 1, 3, 4])
        pasted = tf.reshape(tiles, [1, down * height, across * width, depth])
        if rate > 1:
            pasted = tf.nn.depth_to_space(pasted, rate)
        y, x = region.top + before - top * rate, region.left + before - left * rate
        size = [region.height, region.width, self.channels]
        return tf.slice(tf.squeeze(pasted, 0), [y, x, 0], size) / 4.0

    def _tile_side(self, max_bytes: int | None) -> Size:
        """Side of the largest square tile, in blocks, whose scores stay within the bound."""
        static = isinstance(self.keys, int)
        keys = float(self.keys) if static else tf.cast(self.keys, tf.float32)
        bound = float(max_bytes or 0)
        if max_bytes is None:
            bound = smaller(larger(_MAX_BYTES_PER_KEY * keys, _MAX_BYTES), 8 * _MAX_BYTES)
        queries = bound / (4 * _COPIES * keys)
        side = int(queries**0.5) if static else tf.cast(tf.sqrt(queries), tf.int32)
        return larger(side - 3, 1)


def _blocks(values: tf.Tensor, rate: int) -> tf.Tensor:
    """The blocks of which the keys' patches consist, `[(h' + 1) * (w' + 1), rate^2 * C]`."""
    # SAME padding of a patch of side 2 * rate at stride rate.
    before, after = rate // 2, rate - rate // 2
    padded = tf.pad(values, [[before, after], [before, after], [0, 0]])
    if rate > 1:
        padded = tf.nn.space_to_depth(padded[None], rate)
    return tf.reshape(padded, [-1, rate**2 * values.shape[-1]])


def _shrink(x: tf.Tensor, rate: int) -> tf.Tensor:
    height, width, _ = dimensions(x)
    if rate == 1:
        return x
    return tf.squeeze(nearest_align_corners(x[None], height // rate, width // rate), 0)


def _parts(length: Size, at_most: Size) -> tuple[Size, Size]:
    """Number and length of equal parts; the last one may extend beyond the end."""
    parts = -(-length // at_most)
    return parts, -(-length // parts)
