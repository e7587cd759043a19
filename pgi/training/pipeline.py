"""From image files to the pyramids that a training step takes.

    sample number -> file (from a shuffled order) -> crop           on the host, uint8
        -> batch -> masks from (seed, sample number) -> pyramids    on the accelerator, [-1, 1]

The seed and the sample's number decide everything about a sample: photograph, crop and mask. So a
resumed run starts at another number, at no cost and exactly, and the number of threads and devices
changes nothing that a run sees, float rounding aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.data.experimental.ops.prefetching_ops import map_on_gpu

from pgi import images, masks
from pgi.arrays import UInt8Array
from pgi.config import MaskConfig
from pgi.images import resize
from pgi.opencv import cv2
from pgi.training.reading import ImageSource

# Validation examples are the same for every run.
VALIDATION_SEED = 2**31 - 1

Pyramids = tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]
Builder = Callable[[tf.Tensor, tf.Tensor], Pyramids]
_REFERENCE_SIDE = 256


class Part(NamedTuple):
    """The part of each batch that one worker takes, in smaller batches, one for each device.

    Attributes:
        worker: number of the worker.
        workers: number of all workers; they take equal parts, in their order.
        devices: of this worker.
    """

    worker: int = 0
    workers: int = 1
    devices: int = 1


WHOLE = Part()


def crops(
    source: ImageSource,
    *,
    size: int,
    crop: str,
    batch_size: int,
    seed: int,
    downsample: int = 1,
    flip: bool = False,
    rotate: bool = False,
    colour_jitter: float = 0.0,
    first: int = 0,
    count: int | None = None,
    shuffle: bool = True,
    part: Part = WHOLE,
) -> tf.data.Dataset:
    """Batches of crops and their sample numbers, on the host.

    Args:
        source: photographs.
        size: side of the crops in pixels.
        crop: "random" cuts a square of that size out of the photograph, which is enlarged first if
            it is smaller; "resize" resizes the whole photograph; "random_resized" cuts a square of
            random side, at least `size`, and resizes it.
        batch_size: samples in a batch.
        seed: of order, crops and augmentation.
        downsample: crops are made at this multiple of `size` and averaged down to it at the end, so
            that they are those of `downsample * size`, smaller.
        flip: mirrors each crop left to right at random.
        rotate: turns each crop by 0, 90, 180 or 270 degrees at random.
        colour_jitter: strength of random colour changes, see `jitter_colours`; 0 for none.
        first: number of the first sample, where a resumed run continues.
        count: number of samples; the last batch may be smaller. None for an endless dataset.
        shuffle: a new order in every epoch; False for the source's own order.
        part: of each batch of an endless dataset. Its samples must be divisible by the number of
            all devices.

    Returns:
        Dataset of `(images, numbers)`: `[B, size, size, 3]` uint8 and `[B]` int64.
    """

    def load(number: np.int64, file: np.int64) -> UInt8Array:
        rng = np.random.default_rng([seed, int(number)])
        image = _cut(source.read(int(file)), downsample * size, crop, rng)
        if flip and rng.integers(2):
            image = image[:, ::-1]
        if rotate:
            image = np.rot90(image, rng.integers(4))
        if colour_jitter:
            image = jitter_colours(image, colour_jitter, rng)
        return resize(image, size, size)

    def sample(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        file = _file_number(number, len(source), seed, shuffle)
        image = tf.numpy_function(load, [number, file], tf.uint8)
        return tf.ensure_shape(image, [size, size, 3]), number

    own = batch_size // part.workers

    def of_part(n: tf.Tensor) -> tf.Tensor:
        return first + n // own * batch_size + part.worker * own + n % own

    last = np.iinfo(np.int64).max if count is None else first + count
    numbers = tf.data.Dataset.range(first, last)
    if part.workers > 1:
        numbers = tf.data.Dataset.counter().map(of_part)
    samples = numbers.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = samples.batch(own // part.devices, drop_remainder=count is None)
    return batches.prefetch(tf.data.AUTOTUNE)


def _file_number(number: tf.Tensor, files: int, seed: int, shuffle: bool) -> tf.Tensor:
    """The file of sample `number`: position `number % files` in the order of its epoch."""
    position, epoch = number % files, number // files
    if not shuffle:
        return position
    # RandomIndexShuffle computes one place of an order without the others, for millions of files.
    # It uses only a few bits of each of its seeds (8 for few files), so they are mixed first.
    seeds = tf.random.stateless_uniform(
        [3],
        tf.stack([tf.constant(seed, tf.int64), epoch]),
        minval=None,
        maxval=None,
        dtype=tf.uint32,
        alg="philox",
    )
    last = tf.constant(files - 1, tf.int64)
    return tf.raw_ops.RandomIndexShuffle(index=position, seed=seeds, max_index=last)


def _cut(image: UInt8Array, size: int, crop: str, rng: np.random.Generator) -> UInt8Array:
    if crop == "resize":
        return resize(image, size, size)
    short = min(image.shape[:2])
    if short < size:
        height, width = (max(size, round(side * size / short)) for side in image.shape[:2])
        image, short = resize(image, height, width), size
    side = size if crop == "random" else int(rng.integers(size, short, endpoint=True))
    top, left = (int(rng.integers(0, length - side, endpoint=True)) for length in image.shape[:2])
    return resize(image[top : top + side, left : left + side], size, size)


def jitter_colours(image: UInt8Array, strength: float, rng: np.random.Generator) -> UInt8Array:
    """Changes contrast, brightness, saturation and white balance at random.

    Args:
        image: uint8 `[H, W, 3]`.
        strength: s, in (0, 1]. Contrast and saturation are scaled by factors in [1 - s, 1 + s],
            each channel by a factor in [1 - s / 2, 1 + s / 2]; brightness is shifted by at most
            s / 2 of the full range.
        rng: source of the random factors.
    """
    contrast, saturation = rng.uniform(1 - strength, 1 + strength, 2)
    shift = 255 * rng.uniform(-strength / 2, strength / 2)
    gains = rng.uniform(1 - strength / 2, 1 + strength / 2, 3)
    # One affine map of the colours: contrast about the image's mean, saturation about grey.
    matrix = contrast * (saturation * np.eye(3) + (1 - saturation) / 3)
    offset = (1 - contrast) * image.mean() + shift
    affine = gains[:, None] * np.column_stack([matrix, np.full(3, offset)])
    return np.asarray(cv2.transform(np.ascontiguousarray(image), affine), np.uint8)


def pyramid_builder(levels: int, mask: MaskConfig, seed: int) -> Builder:
    """The function that draws a batch's masks and halves images and masks (sections 3.1.1, 4).

    Args:
        levels: number of levels.
        mask: shape of the holes.
        seed: of the masks; sample `n` has the mask of the stateless seed `(seed, n)`.

    Returns:
        A function of `(images, numbers)`, `[B, S, S, 3]` uint8 and `[B]` int64, that returns the
        pyramids of images in [-1, 1] and of masks, coarsest level first.
    """

    def build(crops: tf.Tensor, numbers: tf.Tensor) -> Pyramids:
        height, width = crops.shape[1:3]
        scale = height / _REFERENCE_SIDE if mask.scale_strokes else 1.0
        holes = masks.training_masks(
            tf.stack([tf.fill(tf.shape(numbers), tf.constant(seed, tf.int64)), numbers], axis=1),
            height,
            width,
            placement=mask.square,
            min_width=max(mask.min_stroke_width * scale, 1.0),
            max_width=max(mask.max_stroke_width * scale, 1.0),
        )
        return images.pyramids(images.to_float(crops), holes, levels)

    return build


def apply_on(
    dataset: tf.data.Dataset, function: Callable[..., Any], device: str | None
) -> tf.data.Dataset:
    """Applies a function to a dataset's elements, as a stage that runs on a device.

    Args:
        dataset: on the host.
        function: of an element's parts, TensorFlow ops only.
        device: name of the accelerator, such as "/gpu:0"; None for the host. The result can be
            iterated there, but not distributed over replicas.
    """
    if device is None:
        mapped = dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return mapped.prefetch(tf.data.AUTOTUNE)
    copied = dataset.apply(tf.data.experimental.copy_to_device(device))
    with tf.device(device):
        # `map` does not choose the kernel that tf.data has for GPUs.
        if tf.DeviceSpec.from_string(device).device_type == "GPU":
            return copied.apply(map_on_gpu(function))
        return copied.map(function)
