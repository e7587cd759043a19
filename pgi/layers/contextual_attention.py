"""Contextual attention: each patch of the foreground becomes a blend of background patches.

The textbook formulation holds several matrices of scores of every query against every key: 67 GB
each for a photograph of 4096 x 4096. This file computes the same numbers in bounded memory, and in
a small part of the time, by exact algebra:

* Match. Scores of 3x3 patches are one matrix product of patches, the keys' normalised beforehand.
  (Summing a matrix of pixel products along its diagonals takes a ninth of the multiplications and
  was slower: it goes through memory six times more.)
* Fuse. [29] favours neighbours that come from neighbours by a convolution with a 3x3 identity over
  the flattened score matrix, once with rows major and once with columns major: sums of three
  diagonal terms. Flattened positions wrap around at the ends of rows and columns; that is part of
  the reference and kept.
* Paste. Patches of side 2r at stride r overlap in blocks of side r. The four shifted attention maps
  are summed first, and one product with the blocks pastes all.
* Stream. A tile of blocks needs the attention of its own queries and of one row and column more;
  that needs the scores of their neighbours, and nothing else of the score matrix. So tile follows
  tile, each as large as the bound in bytes allows.
* Restrict. Only the tiles of the rows and columns that are asked for are computed.

Conventions: queries are positions on the foreground's grid, which is `rate` times smaller than its
features, keys on the background's. Scores are `[rows, columns, keys]`, one image at a time. Norms,
scores and softmax are float32 under any precision policy: in float16 the result is wrong without a
NaN to show for it.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from pgi.layers.resize import dimensions, nearest_align_corners
from pgi.regions import Region, Size

_NORM_FLOOR = 1e-4
# How many copies of a tile's scores are alive at once, at most.
_COPIES = 6
_MAX_BYTES, _MAX_BYTES_PER_KEY = 2**28, 2**12


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
        max_bytes: bound on what is held of the score matrix at any time, in bytes; a tile of one
            block is held even if it exceeds the bound. None for 256 MiB or, if that is more, 4 KiB
            a key (1 GiB at an image of 4096 x 4096): smaller tiles would be mostly margin.

    Returns:
        `[B, H, W, C]`, of the foreground's type.

    Raises:
        ValueError: a known height or width is no multiple of `rate`.

    Source: [29], section 3.2, and the contextual attention that it cites. Departs from it: nothing.
    """
    batch, height, width, _ = dimensions(foreground)
    if mask is None:
        mask = tf.zeros([1, *dimensions(background)[1:3], 1])
    mask = tf.broadcast_to(mask, [batch, *dimensions(mask)[1:]])

    def attend(image: tuple[tf.Tensor, ...]) -> tf.Tensor:
        attention = PreparedAttention(*image, rate=rate, softmax_scale=softmax_scale, fuse=fuse)
        return attention(Region(0, 0, height, width), max_bytes)

    result = tf.TensorSpec(foreground.shape[1:])
    pasted = _map(attend, (foreground, background, mask), batch, result)
    return tf.cast(pasted, foreground.dtype)


def _map(
    fn: Callable[..., tf.Tensor],
    elements: tf.Tensor | tuple[tf.Tensor, ...],
    count: Size,
    result: tf.TensorSpec,
) -> tf.Tensor:
    """`fn` of each element, stacked; without a loop where there is but one."""
    if isinstance(count, int) and count == 1:
        return fn(tf.nest.map_structure(lambda x: tf.squeeze(x, 0), elements))[None]
    return tf.map_fn(fn, elements, parallel_iterations=1, fn_output_signature=result)


class PreparedAttention:
    """One image's contextual attention, of which any region can be asked for.

    Called as `pixels = attention(region, max_bytes=None)`: `[region.height, region.width, C]`
    float32, which is what the whole result has there; for the arguments see
    `contextual_attention`, of which this is the part for one image.

    Args:
        foreground: `[H, W, C]`.
        background: `[H', W', C]`.
        mask: `[H', W', 1]`, 1 = hole.
        rate: see `contextual_attention`.
        softmax_scale: see `contextual_attention`.
        fuse: see `contextual_attention`.

    Raises:
        ValueError: a known height or width is no multiple of `rate`.

    Source: [29]. Departs from it: nothing.
    """

    # Block (p, q) of the result, `rate` pixels high and wide, lies under the four patches that the
    # queries (p - 1, q - 1) to (p, q) paste; the first block row and column reach over the edge.

    def __init__(
        self,
        foreground: tf.Tensor,
        background: tf.Tensor,
        mask: tf.Tensor,
        *,
        rate: int = 2,
        softmax_scale: float = 10.0,
        fuse: bool = True,
    ) -> None:
        for name, features in (("foreground", foreground), ("background", background)):
            if any(size is not None and size % rate for size in features.shape[:2]):
                raise ValueError(
                    f"height and width of {name} must be multiples of rate={rate}, "
                    f"got {tuple(features.shape[:2])}"
                )
        self.rate, self.softmax_scale, self.fuse = rate, softmax_scale, fuse
        values = tf.cast(background, tf.float32)
        queries, keys = _shrink(tf.cast(foreground, tf.float32), rate), _shrink(values, rate)
        self.height, self.width, _ = dimensions(queries)
        self.key_height, self.key_width, _ = dimensions(keys)
        self.keys = self.key_height * self.key_width
        self.queries = _Patches(queries)
        patches = _Patches(keys).take(tf.range(self.keys))
        energy = tf.reduce_sum(tf.square(patches), axis=-1, keepdims=True)
        # The floor is applied under the root, where an all-zero patch would have an infinite
        # gradient.
        patches *= 1.0 / tf.sqrt(tf.maximum(energy, _NORM_FLOOR**2))
        # The fuse passes look one key beyond either end.
        self.key_patches = tf.pad(patches, [[1, 1], [0, 0]]) if fuse else patches
        holes = tf.cast(_shrink(mask, rate), tf.float32)[None]
        touched = tf.nn.max_pool2d(holes, 3, strides=1, padding="SAME")
        self.usable = tf.reshape(tf.cast(tf.equal(touched, 0.0), tf.float32), [self.keys])
        self.blocks = self._blocks(values)

    def _blocks(self, values: tf.Tensor) -> tf.Tensor:
        """`[(h' + 1) * (w' + 1), rate^2 * C]`: the blocks that the keys' patches consist of."""
        # SAME padding of a patch of side 2 * rate at stride rate.
        before, after = self.rate // 2, self.rate - self.rate // 2
        padded = tf.pad(values, [[before, after], [before, after], [0, 0]])
        if self.rate > 1:
            padded = tf.nn.space_to_depth(padded[None], self.rate)
        count = (self.key_height + 1) * (self.key_width + 1)
        return tf.reshape(padded, [count, self.rate**2 * values.shape[-1]])

    def __call__(self, region: Region, max_bytes: int | None = None) -> tf.Tensor:
        before, rate = self.rate // 2, self.rate
        top, left = (region.top + before) // rate, (region.left + before) // rate
        rows = (region.top + region.height - 1 + before) // rate - top + 1
        columns = (region.left + region.width - 1 + before) // rate - left + 1
        side = self._tile_side(max_bytes)
        down, height = _divide(rows, side)
        across, width = _divide(columns, side)

        def tile(index: tf.Tensor) -> tf.Tensor:
            corner = (top + index // across * height, left + index % across * width)
            return self._blocks_of_tile(*corner, height, width)

        depth = self.blocks.shape[-1]
        sides = [x if isinstance(x, int) else None for x in (height, width)]
        result = tf.TensorSpec([*sides, depth])
        count = down * across
        tiles = _map(tile, tf.range(count), count, result)
        tiles = tf.reshape(tiles, [down, across, height, width, depth])
        tiles = tf.transpose(tiles, [0, 2, 1, 3, 4])
        pasted = tf.reshape(tiles, [1, down * height, across * width, depth])
        if rate > 1:
            pasted = tf.nn.depth_to_space(pasted, rate)
        y, x = region.top + before - top * rate, region.left + before - left * rate
        return _part(tf.squeeze(pasted, 0), [y, x, 0], [region.height, region.width, -1]) / 4.0

    def _tile_side(self, max_bytes: int | None) -> Size:
        """The side of the largest square tile, in blocks, whose scores stay within the bound."""
        static = isinstance(self.keys, int)
        keys = float(self.keys) if static else tf.cast(self.keys, tf.float32)
        queries = (max_bytes or _MAX_BYTES) / (4 * _COPIES * keys)
        if max_bytes is None:
            queries = (max if static else tf.maximum)(queries, _MAX_BYTES_PER_KEY / (4 * _COPIES))
        if static:
            return max(int(queries**0.5) - 3, 1)
        return tf.maximum(tf.cast(tf.sqrt(queries), tf.int32) - 3, 1)

    def _blocks_of_tile(self, top: Size, left: Size, height: Size, width: Size) -> tf.Tensor:
        """`[height, width, rate^2 * C]`: the blocks from (top, left) on."""
        rows = top - 1 + tf.range(height + 1)
        columns = left - 1 + tf.range(width + 1)
        attention = self._attention(rows, columns)
        # A patch holds 2 x 2 blocks: block (p, q) of the result gets block (u, v) of the background
        # through each of the four patches that cover both.
        shape = [height, width + 1, self.keys + self.key_width]
        attention = tf.reshape(attention, [height + 1, width + 1, self.keys])
        rows_of_keys = self.key_width
        upper, lower = (_part(attention, [row, 0, 0], [height, -1, -1]) for row in (0, 1))
        weights = tf.pad(upper, [[0, 0], [0, 0], [rows_of_keys, 0]])
        weights += tf.pad(lower, [[0, 0], [0, 0], [0, rows_of_keys]])
        weights = tf.reshape(weights, [*shape[:2], self.key_height + 1, self.key_width])
        left, right = (_part(weights, [0, x, 0, 0], [-1, width, -1, -1]) for x in (0, 1))
        weights = tf.pad(left, [[0, 0], [0, 0], [0, 0], [1, 0]])
        weights += tf.pad(right, [[0, 0], [0, 0], [0, 0], [0, 1]])
        count = (self.key_height + 1) * (self.key_width + 1)
        weights = tf.reshape(weights, [height * width, count])
        return tf.reshape(tf.matmul(weights, self.blocks), [height, width, self.blocks.shape[-1]])

    def _attention(self, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """`[rows, columns, keys]`: weights, 0 for keys in the hole and queries off the grid."""
        scores = self._fused_scores(rows, columns) if self.fuse else self._scores(rows, columns)
        attention = tf.nn.softmax(scores * (self.usable * self.softmax_scale))
        on_grid = _within(rows, self.height)[:, None] & _within(columns, self.width)[None, :]
        return attention * self.usable * tf.cast(on_grid, tf.float32)[:, :, None]

    def _scores(self, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Correlation of patches, the keys' normalised: `[rows, columns, keys]`.

        Columns beyond either end are those of the rows before and after; rows beyond either end
        are those of the columns before and after.
        """
        positions = (rows % self.height * self.width + rows // self.height)[:, None] + columns
        patches = self.queries.take(tf.reshape(positions, [-1]))
        scores = tf.matmul(patches, self.key_patches, transpose_b=True)
        return tf.reshape(scores, [tf.size(rows), tf.size(columns), -1])

    def _fused_scores(self, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        rows = tf.concat([rows[:1] - 1, rows, rows[-1:] + 1], axis=0)
        wider = tf.concat([columns[:1] - 1, columns, columns[-1:] + 1], axis=0)
        scores = self._scores(rows, wider)
        keys = self.keys
        # Rows major: a query and a key back, and one on.
        wide = tf.size(columns)
        scores = tf.add_n([_part(scores, [0, x, x], [-1, wide, keys]) for x in range(3)])
        on_grid = _within(columns + (rows // self.height)[:, None], self.width)
        scores *= tf.cast(on_grid, tf.float32)[:, :, None]
        # Columns major: likewise, which is a row up and a row down; the first row's upper
        # neighbours are the last row's, one column back.
        high, width = tf.size(rows) - 2, self.key_width
        up, here, down = (_part(scores, [y, 0, 0], [high, -1, -1]) for y in range(3))
        zero = tf.zeros([high, wide, 1])

        def keys_of(x: tf.Tensor, first: Size, count: Size) -> tf.Tensor:
            return _part(x, [0, 0, first], [-1, -1, count])

        above = [zero, keys_of(up, keys - width, width - 1), keys_of(up, 0, keys - width)]
        below = [keys_of(down, width, keys - width), keys_of(down, 1, width - 1), zero]
        return tf.add_n([tf.concat(above, axis=-1), here, tf.concat(below, axis=-1)])


class _Patches:
    """The 3x3 patches of `[h, w, C]` features, gathered by flattened position."""

    def __init__(self, features: tf.Tensor) -> None:
        self.height, self.width, self.channels = dimensions(features)
        padded = tf.pad(features, [[1, 1], [1, 1], [0, 0]])
        self.pixels = tf.reshape(padded, [-1, self.channels])

    def take(self, positions: tf.Tensor) -> tf.Tensor:
        """`[N, 9 * C]`; zeros for positions off the grid."""
        stride = self.width + 2
        inside = _within(positions, self.height * self.width)
        positions = tf.where(inside, positions, 0)
        corners = positions // self.width * stride + positions % self.width
        offsets = tf.reshape(tf.range(3)[:, None] * stride + tf.range(3), [-1])
        patches = tf.gather(self.pixels, corners[:, None] + offsets)
        patches = tf.reshape(patches, [-1, 9 * self.channels])
        return patches * tf.cast(inside, patches.dtype)[:, None]


def _shrink(x: tf.Tensor, rate: int) -> tf.Tensor:
    height, width, _ = dimensions(x)
    if rate == 1:
        return x
    return tf.squeeze(nearest_align_corners(x[None], height // rate, width // rate), 0)


# Not x[a:b]: the gradient of that is many times slower than a pad.
_part = tf.slice


def _within(index: tf.Tensor, size: Size) -> tf.Tensor:
    return (index >= 0) & (index < size)


def _divide(length: Size, at_most: Size) -> tuple[Size, Size]:
    """Into how many equal parts to divide, and the length of each, the last one's overhanging."""
    parts = -(-length // at_most)
    return parts, -(-length // parts)
