"""The served functions: images with holes, as pixels or as files, to filled images."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from pgi.export.image_codec import (
    decode_image,
    decode_mask,
    encode_filled,
    image_sides,
    require,
    require_megapixels,
    rgb_of,
    width_by_height,
)
from pgi.export.limits import MAX_BATCH, MAX_MEGAPIXELS
from pgi.inference.pyramid_inpainter import complete_image, extra_levels
from pgi.inference.restricted import RestrictedPyramid
from pgi.models import PyramidGenerator

_FILES = tf.TensorSpec([None], tf.string)


class ServedModel(tf.Module):
    """A pyramid's inference as two graph functions, with the variables of the sub-generators.

    Both have the results of a `PyramidInpainter`, to the bit, and its errors, but no warnings.
    Images of a batch are computed one after another, in the memory of one. A batch of none or of
    more than `MAX_BATCH` images, or with one that is too large, is rejected before anything is
    computed.

    * `predict(image, mask)`: uint8 `[N, H, W, 3]` and uint8 `[N, H, W, 1]`, above 127 = hole, to
      `{"image"}`, uint8 `[N, H, W, 3]`.
    * `serving_default(image_bytes, mask_bytes)`: string `[N]`, PNG or JPEG files of any sizes, to
      `{"image_bytes"}`, string `[N]`, PNG files of the same sizes and channels. An orientation in
      EXIF is ignored, in images and masks.

    Args:
        model: built; its variables are shared.
        max_megapixels: larger images are rejected.
        depth: see `PyramidInpainter`.

    Raises:
        InvalidArgumentError: in a call, an element breaks a rule, so the whole batch fails; the
            message names the element's index, the rule and the value.
    """

    def __init__(
        self,
        model: PyramidGenerator,
        max_megapixels: float = MAX_MEGAPIXELS,
        depth: str = "paper",
    ) -> None:
        super().__init__()
        self._variables = model.generator_variables
        pyramid = RestrictedPyramid(model)
        deepest = extra_levels(model, depth)
        # Shared by both functions, so that the graph contains the networks once.
        self._fill_hole = tf.function(
            lambda image, hole: complete_image(pyramid, deepest, image, hole)[-1],
            input_signature=[
                tf.TensorSpec([None, None, 3], tf.uint8),
                tf.TensorSpec([None, None], tf.bool),
            ],
            autograph=False,
        )
        self._max_megapixels = max_megapixels

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.uint8, "image"),
            tf.TensorSpec([None, None, None, 1], tf.uint8, "mask"),
        ],
        autograph=False,
    )
    def predict(self, image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        sizes, mask_sizes = tf.shape(image)[:3], tf.shape(mask)[:3]
        # What follows waits for these checks, copies of the images included.
        image = _require_batch(image, "image", sizes[0])
        pixels = tf.reduce_all(sizes[1:] > 0)
        got = width_by_height(sizes[1:])
        image = require(image, "image", "of at least one pixel", pixels, *got)
        image = require_megapixels(image, "image", sizes[1:], self._max_megapixels)
        same = tf.reduce_all(sizes == mask_sizes)
        both = tf.strings.format("{} where the image has {}", (mask_sizes, sizes))
        with tf.control_dependencies([image]):
            mask = require(mask, "mask", "of the image's [N, H, W]", same, both)

        def fill(number: tf.Tensor) -> tf.Tensor:
            hole = _hole(mask[number, ..., 0], _element("mask", number))
            return self._fill(image[number], hole)

        with tf.control_dependencies([mask]):  # A loop over nothing does not wait for the checks.
            numbers = tf.range(sizes[0])
        result = tf.TensorSpec([None, None, 3], tf.uint8)
        return {"image": _one_by_one(fill, numbers, result)}

    @tf.function(input_signature=[_FILES, _FILES], autograph=False)
    def serving_default(
        self, image_bytes: tf.Tensor, mask_bytes: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        count, masks = tf.size(image_bytes), tf.size(mask_bytes)
        image_bytes = _require_batch(image_bytes, "image_bytes", count)
        rule, got = "as many as image_bytes", (masks, " for ", count)
        numbers = require(tf.range(count), "mask_bytes", rule, count == masks, *got)

        def check(number: tf.Tensor) -> tf.Tensor:
            image_name, mask_name = (_element(x, number) for x in ("image_bytes", "mask_bytes"))
            limit = self._max_megapixels
            sides = image_sides(image_bytes[number], image_name, limit, most_bits=8)
            mask_sides = image_sides(mask_bytes[number], mask_name, limit, most_bits=16)
            same = tf.reduce_all(sides == mask_sides)
            got = *width_by_height(mask_sides), " where the image has ", *width_by_height(sides)
            return require(number, mask_name, "of the image's size", same, *got)

        def fill(number: tf.Tensor) -> tf.Tensor:
            mask_name = _element("mask_bytes", number)
            pixels = decode_image(image_bytes[number], _element("image_bytes", number))
            hole = _hole(decode_mask(mask_bytes[number], mask_name), mask_name)
            return encode_filled(pixels, self._fill(rgb_of(pixels), hole), hole)

        # All headers are checked before the first image is computed.
        numbers = _one_by_one(check, numbers, tf.TensorSpec([], tf.int32))
        return {"image_bytes": _one_by_one(fill, numbers, tf.TensorSpec([], tf.string))}

    def _fill(self, image: tf.Tensor, hole: tf.Tensor) -> tf.Tensor:
        filled = tf.cond(tf.reduce_any(hole), lambda: self._fill_hole(image, hole), lambda: image)
        return tf.ensure_shape(filled, [None, None, 3])


def _hole(grey: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
    """uint8 `[H, W]` to bool, with the checks of `as_hole` and `check_known`."""
    scale = "of 0 to 255, where above 127 is hole"
    grey = require(grey, name, scale, tf.reduce_max(grey) != 1, "a maximum of 1")
    rule, hole = "less than all hole: it is filled from the known pixels", grey > 127
    return require(hole, name, rule, tf.logical_not(tf.reduce_all(hole)), "all hole")


def _require_batch(images: tf.Tensor, name: str, count: tf.Tensor) -> tf.Tensor:
    fits = (count >= 1) & (count <= MAX_BATCH)
    return require(images, name, f"a batch of 1 to {MAX_BATCH} images", fits, count)


def _element(name: str, number: tf.Tensor) -> tf.Tensor:
    return tf.strings.join([f"{name}[", tf.as_string(number), "]"])


def _one_by_one(
    fn: Callable[[tf.Tensor], tf.Tensor], numbers: tf.Tensor, result: tf.TensorSpec
) -> tf.Tensor:
    # Over numbers, because `map_fn` copies its elements.
    return tf.map_fn(fn, numbers, fn_output_signature=result, parallel_iterations=1)
