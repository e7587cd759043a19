"""A tile of contextual attention: the scores of a few queries, and what they paste."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from pgi.layers.patches import take_patches, within
from pgi.layers.region import Size


class AttentionInputs(NamedTuple):
    """What every tile of one image reads, float32.

    Attributes:
        queries: `[h + 2, w + 2, C]`, from `pgi.layers.patches.with_border`.
        key_patches: `[keys, 9 * C]`, normalised; if scores are fused, between two of zeros.
        usable: `[keys]`, 1 where a key's patch touches no hole, else 0.
        blocks: `[(h' + 1) * (w' + 1), D]`: what the keys' pasted patches consist of.
    """

    queries: tf.Tensor
    key_patches: tf.Tensor
    usable: tf.Tensor
    blocks: tf.Tensor


class AttentionTile:
    """Computes blocks of the result.

    Block (p, q) lies under the four patches that the queries (p - 1, q - 1) to (p, q) paste; the
    first row and column of blocks, and the last, reach over the edge. Called as
    `blocks = tile(inputs, top, left, height, width)`: `[height, width, D]`, the blocks from
    (top, left) on; those beyond the grid are 0.

    Args:
        height: h, rows of queries.
        width: w, columns of queries.
        key_height: h', rows of keys.
        key_width: w', columns of keys.
        softmax_scale: what scores are multiplied by before the softmax.
        fuse: whether to run the two fuse passes.

    Source: [29]. Departs from it: nothing.
    """

    def __init__(
        self,
        height: Size,
        width: Size,
        key_height: Size,
        key_width: Size,
        softmax_scale: float,
        fuse: bool,
    ) -> None:
        self.height, self.width = height, width
        self.key_height, self.key_width = key_height, key_width
        self.keys = key_height * key_width
        self.softmax_scale, self.fuse = softmax_scale, fuse

    def __call__(
        self, inputs: AttentionInputs, top: Size, left: Size, height: Size, width: Size
    ) -> tf.Tensor:
        rows = top - 1 + tf.range(height + 1)
        columns = left - 1 + tf.range(width + 1)
        attention = self._attention(inputs, rows, columns)
        # A patch holds 2 x 2 blocks: block (p, q) of the result gets block (u, v) of the background
        # through each of the four patches that cover both.
        attention = tf.reshape(attention, [height + 1, width + 1, self.keys])
        upper, lower = (tf.slice(attention, [row, 0, 0], [height, -1, -1]) for row in (0, 1))
        weights = tf.pad(upper, [[0, 0], [0, 0], [self.key_width, 0]])
        weights += tf.pad(lower, [[0, 0], [0, 0], [0, self.key_width]])
        weights = tf.reshape(weights, [height, width + 1, self.key_height + 1, self.key_width])
        left, right = (tf.slice(weights, [0, x, 0, 0], [-1, width, -1, -1]) for x in (0, 1))
        weights = tf.pad(left, [[0, 0], [0, 0], [0, 0], [1, 0]])
        weights += tf.pad(right, [[0, 0], [0, 0], [0, 0], [0, 1]])
        count = (self.key_height + 1) * (self.key_width + 1)
        weights = tf.reshape(weights, [height * width, count])
        blocks = tf.matmul(weights, inputs.blocks)
        return tf.reshape(blocks, [height, width, inputs.blocks.shape[-1]])

    def _attention(self, inputs: AttentionInputs, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """`[rows, columns, keys]`: weights, 0 for keys in the hole and queries off the grid."""
        score = self._fused_scores if self.fuse else self._scores
        scores = score(inputs, rows, columns)
        attention = tf.nn.softmax(scores * (inputs.usable * self.softmax_scale))
        on_grid = within(rows, self.height)[:, None] & within(columns, self.width)[None, :]
        return attention * inputs.usable * tf.cast(on_grid, tf.float32)[:, :, None]

    def _scores(self, inputs: AttentionInputs, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Correlation of patches, the keys' normalised: `[rows, columns, keys]`.

        Columns beyond either end are those of the rows before and after; rows beyond either end
        are those of the columns before and after.
        """
        positions = (rows % self.height * self.width + rows // self.height)[:, None] + columns
        patches = take_patches(inputs.queries, tf.reshape(positions, [-1]))
        scores = tf.matmul(patches, inputs.key_patches, transpose_b=True)
        return tf.reshape(scores, [tf.size(rows), tf.size(columns), -1])

    def _fused_scores(
        self, inputs: AttentionInputs, rows: tf.Tensor, columns: tf.Tensor
    ) -> tf.Tensor:
        rows = tf.concat([rows[:1] - 1, rows, rows[-1:] + 1], axis=0)
        wider = tf.concat([columns[:1] - 1, columns, columns[-1:] + 1], axis=0)
        scores = self._scores(inputs, rows, wider)
        keys = self.keys
        # Slices are not written x[a:b], whose gradient is many times slower.
        # Rows major: a query and a key back, and one on.
        wide = tf.size(columns)
        scores = tf.add_n([tf.slice(scores, [0, x, x], [-1, wide, keys]) for x in range(3)])
        on_grid = within(columns + (rows // self.height)[:, None], self.width)
        scores *= tf.cast(on_grid, tf.float32)[:, :, None]
        # Columns major: likewise, which is a row up and a row down; the first row's upper
        # neighbours are the last row's, one column back.
        high, width = tf.size(rows) - 2, self.key_width
        up, here, down = (tf.slice(scores, [y, 0, 0], [high, -1, -1]) for y in range(3))
        zero = tf.zeros([high, wide, 1])

        def keys_of(x: tf.Tensor, first: Size, count: Size) -> tf.Tensor:
            return tf.slice(x, [0, 0, first], [-1, -1, count])

        above = [zero, keys_of(up, keys - width, width - 1), keys_of(up, 0, keys - width)]
        below = [keys_of(down, width, keys - width), keys_of(down, 1, width - 1), zero]
        return tf.add_n([tf.concat(above, axis=-1), here, tf.concat(below, axis=-1)])
