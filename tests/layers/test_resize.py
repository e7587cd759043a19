"""Resizing against the same operation of another library."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import tensorflow as tf

from pgi.layers import resize


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_nearest_picks_the_pixels_that_tf1_picks_at_every_size() -> None:
    for size in range(1, 150):
        for new_size in {1, size // 4, size // 2, size} - {0}:
            line = tf.range(size, dtype=tf.float32)[None, :, None, None]
            expected = tf.compat.v1.image.resize_nearest_neighbor(
                line, [new_size, 1], align_corners=True
            )
            ours = resize.nearest_align_corners(line, new_size, 1)
            np.testing.assert_array_equal(ours, expected, err_msg=f"{size} -> {new_size}")


def test_nearest_differs_from_tf2() -> None:
    x = noise(1, 16, 16, 1)
    tf2 = tf.image.resize(x, [8, 8], method="nearest")
    assert not np.array_equal(resize.nearest_align_corners(x, 8, 8), tf2)


def test_double_nearest_repeats() -> None:
    x = noise(2, 3, 5, 4)
    np.testing.assert_array_equal(resize.double_nearest(x), x.repeat(2, axis=1).repeat(2, axis=2))


def test_double_bilinear_is_opencvs_linear() -> None:
    x = noise(1, 6, 9, 3)
    expected = cv2.resize(x[0], (18, 12), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resize.double_bilinear(x)[0], expected, atol=1e-6)


def test_halving_takes_the_mean_and_the_maximum_of_blocks() -> None:
    x = noise(2, 6, 8, 3)
    blocks = x.reshape(2, 3, 2, 4, 2, 3)
    np.testing.assert_allclose(resize.halve_mean(x), blocks.mean(axis=(2, 4)), atol=1e-6)
    np.testing.assert_array_equal(resize.halve_max(x), blocks.max(axis=(2, 4)))


@pytest.mark.parametrize(
    "function",
    [
        resize.halve_mean,
        resize.halve_max,
        resize.double_nearest,
        resize.double_bilinear,
        lambda x: resize.nearest_align_corners(x, tf.shape(x)[1] // 2, tf.shape(x)[2] // 2),
    ],
)
def test_unknown_sizes_compiled_and_differentiated(
    function: Callable[[tf.Tensor], tf.Tensor],
) -> None:
    x = tf.constant(noise(2, 4, 6, 3))
    eager = function(x)
    graph = tf.function(function, input_signature=[tf.TensorSpec([None, None, None, 3])])
    np.testing.assert_array_equal(graph(x), eager)

    @tf.function(jit_compile=True)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(function(x) ** 2)
        return tape.gradient(y, x)

    assert np.abs(gradient(x)).sum() > 0
