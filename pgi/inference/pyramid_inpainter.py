"""Filling holes with a pyramid generator."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from pgi.arrays import AnyArray, UInt8Array
from pgi.images import complete, pyramids, to_float, to_uint8
from pgi.inference.inpainter import checked, fill_batch
from pgi.inference.restricted import RestrictedPyramid
from pgi.layers.region import Size
from pgi.models import PyramidGenerator
from pgi.models.blocks import frozen
from pgi.rules import DEPTHS, check_choice

_SIGNATURE = (tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([None, None], tf.bool))


class PyramidInpainter:
    """An `Inpainter` with a model in memory.

    Images larger than the training size run through the levels at their own size, in memory
    that grows with their pixels (see `pgi.inference.restricted`). Sizes that the levels cannot
    halve are extended at the bottom and right by mirroring.

    Args:
        model: built.
        origin, warning: see `Inpainter`.
        depth: "paper" for the model's own levels at any size; "auto" for more where the hole is
            large, see `extra_levels`.

    Section 4 ("any resolution"). The mirroring and "auto" are ours.
    """

    def __init__(
        self,
        model: PyramidGenerator,
        origin: str = "",
        warning: str | None = None,
        depth: str = "paper",
    ) -> None:
        self.model, self.origin, self.warning = model, origin, warning
        pyramid = RestrictedPyramid(model, compiled=True)
        self._complete = functools.partial(complete_image, pyramid, extra_levels(model, depth))
        self._raw = tf.function(
            functools.partial(_raw_image, model), input_signature=_SIGNATURE, autograph=False
        )

    def __call__(self, image: UInt8Array, mask: AnyArray) -> UInt8Array:
        return fill_batch(image, mask, lambda *one: self._complete(*one)[-1].numpy())

    def completed_levels(self, image: UInt8Array, mask: AnyArray) -> list[UInt8Array]:
        """See `Inpainter`."""
        return [level.numpy() for level in self._complete(*checked(image, mask))]

    def raw(self, image: UInt8Array, mask: AnyArray) -> UInt8Array:
        """The highest of the model's own levels' output, before known pixels are restored.

        Arguments and errors as of `completed_levels`; returns uint8 `[H, W, 3]`.
        """
        raw: UInt8Array = self._raw(*checked(image, mask)).numpy()
        return raw


def extra_levels(
    model: PyramidGenerator, depth: str
) -> tf.types.experimental.GenericFunction | None:
    """How many levels beyond a model's own bring a hole down to the size that it was trained on.

    The lowest level was trained on images of a certain side and on squares of up to half of it. In
    a larger image its hole is larger, and structure is what it has never learnt to restore. So
    there are as many levels as it takes until no square of that size lies within the hole, but none
    on which the image is smaller than in training. An image's border counts as hole: beyond it,
    nothing is known either.

    Args:
        model: built.
        depth: "paper" or "auto".

    Returns:
        A function of a hole, bool `[H, W]`, to an int32 scalar. None if there are never more: under
        "paper", for a model of one level, and for one whose levels are not fused as images.

    Raises:
        RuleError: the depth is another.
    """
    check_choice("depth", DEPTHS, depth)
    upper = model.sub_generators[1:]
    fused = bool(upper) and all(level.fusion.startswith("image") for level in upper)
    if depth == "paper" or not fused:
        return None
    side, levels, window = model.levels[0], len(model.levels), model.levels[0] // 2 + 1

    def count(hole: tf.Tensor) -> tf.Tensor:
        sides = tf.shape(hole)
        lowest = tf.nn.max_pool2d(
            tf.cast(hole, tf.float32)[None, :, :, None],
            2 ** (levels - 1),
            2 ** (levels - 1),
            "SAME",
        )

        def too_large(extra: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
            known = tf.nn.max_pool2d(1.0 - mask, [window, 1], 1, "SAME")
            known = tf.nn.max_pool2d(known, [1, window], 1, "SAME")
            fits = tf.reduce_min(sides) >= side * 2 ** (levels + extra)
            return fits & (tf.reduce_min(known) < 0.5)

        return tf.while_loop(
            too_large,
            lambda extra, mask: (extra + 1, tf.nn.max_pool2d(mask, 2, 2, "SAME")),
            (tf.constant(0), lowest),
            (tf.TensorShape([]), tf.TensorShape([1, None, None, 1])),
        )[0]

    signature = [tf.TensorSpec([None, None], tf.bool)]
    return tf.function(count, input_signature=signature, autograph=False)


def complete_image(
    pyramid: RestrictedPyramid,
    extra_levels: Callable[[tf.Tensor], tf.Tensor] | None,
    image: tf.Tensor,
    hole: tf.Tensor,
) -> list[tf.Tensor]:
    """`Inpainter.completed_levels` of tensors, also as part of a graph, without checks.

    Args:
        pyramid: fills holes.
        extra_levels: how many levels a hole needs beyond the pyramid's; None for none.
        image: uint8 `[H, W, 3]`.
        hole: bool `[H, W]`.

    Returns:
        uint8 `[H / 2**k, W / 2**k, 3]`, sides rounded up, coarsest first; with `extra_levels` in a
        graph the last one alone.
    """
    extra: Size = 0
    if extra_levels is not None:
        extra = extra_levels(tf.convert_to_tensor(hole))
        extra = int(extra) if tf.executing_eagerly() else extra
    levels = []
    completed = pyramid(*mirrored(image, hole, pyramid.depth + extra), extra)
    for k, level in enumerate(reversed(completed)):
        height, width = (-(-side // 2**k) for side in tf.unstack(tf.shape(hole)))
        levels.append(to_uint8(level[0, :height, :width]))
    levels[0] = complete(image, levels[0], tf.cast(hole, tf.float32)[:, :, None])
    return levels[::-1]


def mirrored(image: tf.Tensor, hole: tf.Tensor, levels: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """An image and its hole as inputs of that many levels, mirrored to a size that they can halve.

    From uint8 `[H, W, 3]` and bool `[H, W]` to `[1, H', W', 3]` in [-1, 1] and `[1, H', W', 1]`,
    1 = hole.
    """
    multiple = 8 * 2 ** (levels - 1)
    pixels, mask = to_float(image), tf.cast(hole, tf.float32)
    for axis in (0, 1):
        pixels, mask = (_extended(x, axis, multiple) for x in (pixels, mask))
    return pixels[None], mask[None, :, :, None]


def _extended(x: tf.Tensor, axis: int, multiple: Size) -> tf.Tensor:
    """Extended along an axis to the next multiple, by reflection about the last element."""
    size = tf.shape(x)[axis]
    index = tf.range(-(-size // multiple) * multiple)
    period = tf.maximum(2 * (size - 1), 1)
    index = index % period
    return tf.gather(x, tf.minimum(index, period - index), axis=axis)


def _raw_image(model: PyramidGenerator, image: tf.Tensor, hole: tf.Tensor) -> tf.Tensor:
    levels = len(model.levels)
    with frozen(model.sub_generators):
        outputs = model(pyramids(*mirrored(image, hole, levels), levels))
    height, width = tf.unstack(tf.shape(hole))
    return to_uint8(outputs[-1].refined[0])[:height, :width]
