"""Spectral normalisation: sigma, its gradient, and a stored kernel that never changes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pgi.layers import SpectralNormConv2D


def built_layer(filters: int = 6) -> tuple[SpectralNormConv2D, tf.Tensor]:
    tf.keras.utils.set_random_seed(1)
    layer = SpectralNormConv2D(filters, 3, padding="same")
    x = tf.random.stateless_normal([2, 8, 8, 3], [0, 1])
    layer(x)
    return layer, x


def test_the_loss_does_not_change_when_the_kernel_is_scaled() -> None:
    layer, x = built_layer()
    before = tf.reduce_mean(tf.nn.relu(1 - layer(x)))
    layer.kernel.assign(7.5 * layer.kernel)
    np.testing.assert_allclose(tf.reduce_mean(tf.nn.relu(1 - layer(x))), before, rtol=1e-6)


def test_the_gradient_flows_through_sigma() -> None:
    layer, x = built_layer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    gradient = tape.gradient(loss, layer.kernel)
    # Scaling the kernel does not change the loss, so the gradient is orthogonal to the kernel. If
    # it stopped at sigma, their inner product would be twice the loss.
    along = tf.reduce_sum(gradient * layer.kernel)
    assert abs(along) < 1e-4 * float(loss)


def test_the_gradient_is_that_of_finite_differences() -> None:
    layer, x = built_layer()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(layer(x)))
    gradient = tape.gradient(loss, layer.kernel).numpy()
    kernel = layer.kernel.numpy()
    direction = np.random.default_rng(0).standard_normal(kernel.shape).astype(np.float32)
    values = []
    for step in (-1e-2, 1e-2):
        layer.kernel.assign(kernel + step * direction)
        values.append(float(tf.reduce_sum(tf.sin(layer(x)))))
    np.testing.assert_allclose((gradient * direction).sum(), np.diff(values)[0] / 2e-2, rtol=1e-2)


def test_calls_never_change_the_kernel() -> None:
    layer, x = built_layer()
    before = layer.kernel.numpy()
    for training in (False, True, False):
        layer(x, training=training)
    np.testing.assert_array_equal(layer.kernel, before)


def test_sigma_is_the_largest_singular_value() -> None:
    layer, x = built_layer()
    for _ in range(200):
        layer(x, training=True)
    matrix = layer.kernel.numpy().reshape(-1, layer.filters)
    kernel = layer.kernel / np.linalg.svd(matrix, compute_uv=False)[0]
    expected = tf.nn.conv2d(x, kernel, 1, "SAME") + layer.bias
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_u_advances_in_training_only() -> None:
    layer, x = built_layer()
    before = layer.u.numpy()
    layer(x)
    np.testing.assert_array_equal(layer.u, before)
    layer(x, training=True)
    assert not np.array_equal(layer.u, before)


def test_works_in_a_graph() -> None:
    layer, x = built_layer()
    eager = layer(x)
    np.testing.assert_allclose(tf.function(layer)(x, training=True), eager, atol=1e-6)


def test_sigma_and_u_are_those_of_float32_under_bfloat16() -> None:
    layer, x = built_layer()
    mixed = SpectralNormConv2D(layer.filters, 3, padding="same", dtype="mixed_bfloat16")
    mixed(x)
    mixed.set_weights(layer.get_weights())
    matrix = layer.kernel.numpy().reshape(-1, layer.filters)
    v = layer.u.numpy() @ matrix.T
    v /= np.linalg.norm(v)
    rounded = [tf.cast(y, tf.bfloat16) for y in (x, layer.kernel / np.linalg.norm(v @ matrix))]
    expected = tf.cast(tf.nn.conv2d(*rounded, 1, "SAME"), tf.float32)
    # The result is rounded too; a sigma of rounded weights would differ everywhere.
    assert np.mean(np.equal(tf.cast(mixed(x), tf.float32), expected)) > 0.95
    layer(x, training=True), mixed(x, training=True)
    np.testing.assert_array_equal(mixed.u, layer.u)


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (1, 4), (2, 2)])
def test_bfloat16_gradients_on_the_smallest_maps_are_close_to_float32s(size: tuple) -> None:
    """Of oneDNN's own, those of a kernel are garbage at a width of 1 and a stride of 2."""
    x = tf.random.stateless_normal([2, *size, 16], [0, 1])
    gradients = []
    for policy in ("float32", *["mixed_bfloat16"] * 5):
        tf.keras.utils.set_random_seed(0)
        layer = SpectralNormConv2D(16, 5, strides=2, padding="same", dtype=policy)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(tf.cast(layer(x), tf.float32)))
        gradients.append(tape.gradient(loss, layer.kernel))
    for gradient in gradients[1:]:
        error = np.linalg.norm(gradient - gradients[0])
        assert error < 0.03 * np.linalg.norm(gradients[0])
