"""A rectangle of an image."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import tensorflow as tf

Size: TypeAlias = "int | tf.Tensor"


class Region(NamedTuple):
    """A rectangle of pixels: first row, first column, number of rows, number of columns."""

    top: Size
    left: Size
    height: Size
    width: Size

    def grown(self, margin: int, height: Size, width: Size) -> Region:
        """Larger by `margin` pixels on each side, clipped to an image of that height and width."""
        top, left = tf.maximum(self.top - margin, 0), tf.maximum(self.left - margin, 0)
        bottom = tf.minimum(self.top + self.height + margin, height)
        right = tf.minimum(self.left + self.width + margin, width)
        return Region(top, left, bottom - top, right - left)

    def within(self, other: Region) -> Region:
        """The same rectangle in the coordinates of another."""
        return Region(self.top - other.top, self.left - other.left, self.height, self.width)

    def downscaled(self, factor: int) -> Region:
        """The same rectangle on a grid `factor` times smaller; its values must be multiples."""
        return Region(*(part // factor for part in self))

    def cut(self, x: tf.Tensor) -> tf.Tensor:
        """Crops `[1, H, W, C]` to `[1, height, width, C]`."""
        return tf.slice(x, [0, self.top, self.left, 0], [1, self.height, self.width, x.shape[-1]])
