"""A rectangle of an image."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

Size: TypeAlias = "int | tf.Tensor"


def larger(a: Any, b: Any) -> Any:
    """The maximum: a tensor if either is one, otherwise a number."""
    return tf.maximum(a, b) if tf.is_tensor(a) or tf.is_tensor(b) else max(a, b)


def smaller(a: Any, b: Any) -> Any:
    """The minimum: a tensor if either is one, otherwise a number."""
    return tf.minimum(a, b) if tf.is_tensor(a) or tf.is_tensor(b) else min(a, b)


class Region(NamedTuple):
    """A rectangle of pixels: first row, first column, number of rows, number of columns."""

    top: Size
    left: Size
    height: Size
    width: Size

    def grown(self, margin: int, height: Size, width: Size) -> Region:
        """Larger by `margin` pixels on each side, clipped to an image of that height and width."""
        top, left = larger(self.top - margin, 0), larger(self.left - margin, 0)
        bottom = smaller(self.top + self.height + margin, height)
        right = smaller(self.left + self.width + margin, width)
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
