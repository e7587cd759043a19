"""One tile of contextual attention: scores of a few queries, and the blocks that they paste."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from pgi.layers.patches import take_patches, within
from pgi.layers.region import Size


class AttentionInputs(NamedTuple):
    """Tensors of one image that all of its tiles read, float32.

    Attributes:
        queries: `[h + 2, w + 2, C]`, from `pgi.layers.patches.with_border`.
        key_patches: `[keys, 9 * C]`, normalised; if scores are fused, with a row of zeros before
            the first key and after the last.
        usable: `[h', w']`, 1 where a key's patch touches no hole, else 0.
        blocks: `[(h' + 1) * (w' + 1), D]`: the blocks of which the keys' pasted patches consist.
    """

    queries: tf.Tensor
    key_patches: tf.Tensor
    usable: tf.Tensor
    blocks: tf.Tensor


@dataclasses.dataclass(eq=False)
class AttentionTile:
    """Contextual attention for a rectangle of blocks of the result.

    Four pasted patches cover block (p, q): those of the queries (p - 1, q - 1) to (p, q). The first
    and last row and column of blocks extend beyond the edge. Called as
    `blocks = tile(inputs, top, left, height, width)`; returns `[height, width, D]`, the blocks from
    (top, left) on. Blocks outside the grid are 0.

    Attributes:
        height: h, rows of queries.
        width: w, columns of queries.
        key_height: h', rows of keys.
        key_width: w', columns of keys.
        softmax_scale: factor of the scores before the softmax.
        fuse: whether to run the two fuse passes.
    """

    height: Size
    width: Size
    key_height: Size
    key_width: Size
    softmax_scale: float
    fuse: bool

    def __post_init__(self) -> None:
        self.keys = self.key_height * self.key_width

    def __call__(
        self, inputs: AttentionInputs, top: Size, left: Size, height: Size, width: Size
    ) -> tf.Tensor:
        rows = top - 1 + tf.range(height + 1)
        columns = left - 1 + tf.range(width + 1)
        attention = self._attention(inputs, rows, columns)
        # A patch has 2 x 2 blocks. Block (p, q) of the result receives block (u, v) of the
        # background through each of the four patches that cover both.
        attention = tf.reshape(attention, [height + 1, width + 1, self.keys])
        upper, lower = (tf.slice(attention, [row, 0, 0], [height, -1, -1]) for row in (0, 1))
        weights = tf.pad(upper, [[0, 0], [0, 0], [self.key_width, 0]])
        weights += tf.pad(lower, [[0, 0], [0, 0], [0, self.key_width]])
        weights = tf.reshape(weights, [height, width + 1, self.key_height + 1, self.key_width])
        first, second = (tf.slice(weights, [0, x, 0, 0], [-1, width, -1, -1]) for x in (0, 1))
        weights = tf.pad(first, [[0, 0], [0, 0], [0, 0], [1, 0]])
        weights += tf.pad(second, [[0, 0], [0, 0], [0, 0], [0, 1]])
        count = (self.key_height + 1) * (self.key_width + 1)
        weights = tf.reshape(weights, [height * width, count])
        blocks = tf.matmul(weights, inputs.blocks)
        return tf.reshape(blocks, [height, width, inputs.blocks.shape[-1]])

    def _attention(self, inputs: AttentionInputs, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """`[rows, columns, keys]`: weights, 0 for keys in the hole and queries off the grid."""
        score = self._fused_scores if self.fuse else self._scores
        scores = score(inputs, rows, columns)
        usable = tf.reshape(inputs.usable, [-1])
        attention = tf.nn.softmax(scores * (usable * self.softmax_scale))
        on_grid = within(rows, self.height)[:, None] & within(columns, self.width)[None, :]
        return attention * usable * tf.cast(on_grid, tf.float32)[:, :, None]

    def _scores(self, inputs: AttentionInputs, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        """Correlation of patches, the keys' normalised: `[rows, columns, keys]`.

        Column indices outside the grid wrap around to the rows before and after, row indices to the
        columns before and after, as in DeepFillv2's flattened score matrix.
        """
        positions = (rows % self.height * self.width + rows // self.height)[:, None] + columns
        patches = take_patches(inputs.queries, tf.reshape(positions, [-1]))
        scores = tf.matmul(patches, inputs.key_patches, transpose_b=True)
        return tf.reshape(scores, [tf.size(rows), tf.size(columns), -1])

    def _fused_scores(
        self, inputs: AttentionInputs, rows: tf.Tensor, columns: tf.Tensor
    ) -> tf.Tensor:
        """Scores after the two fuse passes: `[rows, columns, keys]`."""
        rows = tf.concat([rows[:1] - 1, rows, rows[-1:] + 1], axis=0)
        wider = tf.concat([columns[:1] - 1, columns, columns[-1:] + 1], axis=0)
        scores = self._scores(inputs, rows, wider)
        keys = self.keys
        # tf.slice, because the gradient of x[a:b] is many times slower.
        # First pass, row-major order: the score of the previous query and key, this, and the next.
        wide = tf.size(columns)
        scores = tf.add_n([tf.slice(scores, [0, x, x], [-1, wide, keys]) for x in range(3)])
        on_grid = within(columns + (rows // self.height)[:, None], self.width)
        scores *= tf.cast(on_grid, tf.float32)[:, :, None]
        # Second pass, column-major order: the neighbours are a row up and a row down. Above the
        # first row comes the last row of the column before.
        high, width = tf.size(rows) - 2, self.key_width
        up, here, down = (tf.slice(scores, [y, 0, 0], [high, -1, -1]) for y in range(3))
        zero = tf.zeros([high, wide, 1])

        def keys_of(x: tf.Tensor, first: Size, count: Size) -> tf.Tensor:
            return tf.slice(x, [0, 0, first], [-1, -1, count])

        above = [zero, keys_of(up, keys - width, width - 1), keys_of(up, 0, keys - width)]
        below = [keys_of(down, width, keys - width), keys_of(down, 1, width - 1), zero]
        return tf.add_n([tf.concat(above, axis=-1), here, tf.concat(below, axis=-1)])
