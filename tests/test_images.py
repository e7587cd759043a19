"""Images: 8-bit values and known pixels come back exactly, and levels are means of blocks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from skimage.measure import block_reduce

from pgi import images


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def random_mask(*shape: int, share: float = 0.5) -> np.ndarray:
    return (np.random.default_rng(9).random(shape) < share).astype(np.float32)


@pytest.mark.parametrize("compiled", [False, True])
def test_every_8_bit_value_survives_the_way_in_and_out(compiled: bool) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    there_and_back = tf.function(
        lambda x: images.to_uint8(images.to_float(x)), jit_compile=compiled
    )
    back = there_and_back(tf.constant(values))
    assert back.dtype == tf.uint8
    np.testing.assert_array_equal(back, values)


def test_floats_span_minus_one_to_one_evenly() -> None:
    values = images.to_float(tf.range(256))
    assert values.dtype == tf.float32
    np.testing.assert_allclose(values, np.linspace(-1, 1, 256), atol=1e-7)


def test_8_bit_values_are_the_nearest_and_clipped() -> None:
    x = np.linspace(-3, 3, 5001).astype(np.float32)
    exact = np.clip(x.astype(float), -1, 1) * 127.5 + 127.5
    error = np.abs(images.to_uint8(tf.constant(x)).numpy() - exact)
    assert error.max() <= 0.5 + 1e-4


@pytest.mark.parametrize("value", [0.25, np.nan, np.inf, -np.inf])
def test_known_pixels_are_bit_identical_whatever_is_predicted(value: float) -> None:
    image = noise(2, 8, 8, 3)
    image[0, 0, 0] = -0.0, 1e-42, 1 + 2**-23  # Bits that arithmetic would lose.
    mask = random_mask(2, 8, 8, 1)
    mask[0, 0, 0] = 0
    prediction = np.full_like(image, value)
    completed = images.complete(tf.constant(image), tf.constant(prediction), tf.constant(mask))
    expected = np.where(mask == 1, prediction, image)
    assert completed.numpy().tobytes() == expected.tobytes()


def test_one_mask_serves_a_whole_batch() -> None:
    image, prediction, mask = noise(3, 4, 4, 3), noise(3, 4, 4, 3, seed=1), random_mask(1, 4, 4, 1)
    expected = image * (1 - mask) + prediction * mask
    np.testing.assert_array_equal(images.complete(image, prediction, mask), expected)
    np.testing.assert_array_equal(images.remove_hole(image, mask), image * (1 - mask))


def test_gradients_reach_the_prediction_in_the_hole_and_the_image_elsewhere() -> None:
    image, prediction = tf.constant(noise(1, 6, 6, 3)), tf.constant(noise(1, 6, 6, 3, seed=1))
    mask = random_mask(1, 6, 6, 1)
    with tf.GradientTape() as tape:
        tape.watch([image, prediction])
        total = tf.reduce_sum(images.complete(image, prediction, tf.constant(mask)))
    of_image, of_prediction = tape.gradient(total, [image, prediction])
    np.testing.assert_array_equal(of_prediction, np.broadcast_to(mask, image.shape))
    np.testing.assert_array_equal(of_image, np.broadcast_to(1 - mask, image.shape))


@pytest.mark.parametrize("value", [-1.0, 0.3, np.nan, np.inf])
def test_what_lies_under_the_mask_changes_nothing(value: float) -> None:
    image, mask = noise(2, 8, 8, 3), random_mask(2, 8, 8, 1)
    other = np.where(mask == 1, np.float32(value), image)
    masked = images.remove_hole(tf.constant(image), tf.constant(mask)).numpy()
    assert images.remove_hole(tf.constant(other), tf.constant(mask)).numpy().tobytes() == (
        masked.tobytes()
    )
    np.testing.assert_array_equal(masked, np.where(mask == 1, np.float32(0), image))


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_a_pyramid_holds_means_of_the_image_and_maxima_of_the_mask_coarsest_first(
    levels: int,
) -> None:
    image, mask = noise(2, 16, 24, 3), random_mask(2, 16, 24, 1, share=0.05)
    pyramid, masks = images.pyramids(tf.constant(image), tf.constant(mask), levels)
    assert len(pyramid) == len(masks) == levels
    for level in range(levels):
        factor = 2 ** (levels - 1 - level)
        block = (1, factor, factor, 1)
        means = block_reduce(image.astype(float), block, np.mean)
        np.testing.assert_allclose(pyramid[level], means, atol=1e-6)
        np.testing.assert_array_equal(masks[level], block_reduce(mask, block, np.max))
    assert pyramid[-1].numpy().tobytes() == image.tobytes()
    assert masks[-1].numpy().tobytes() == mask.tobytes()
