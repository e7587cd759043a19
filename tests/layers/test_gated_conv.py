"""Gated convolution: its gate, output shapes, config and precision."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pgi.layers import GatedConv2D


@pytest.mark.parametrize("activation", ["elu", "relu"])
def test_first_half_is_gated_by_the_second(activation: str) -> None:
    layer = GatedConv2D(6, kernel_size=1, activation=activation)
    x = np.random.default_rng(0).standard_normal([2, 3, 4, 5]).astype(np.float32)
    output = layer(x).numpy()
    channels = x @ layer.kernel.numpy()[0, 0] + layer.bias.numpy()
    features, gates = channels[..., :3], channels[..., 3:]
    negative = np.exp(np.minimum(features, 0)) - 1 if activation == "elu" else 0
    expected = np.where(features > 0, features, negative) / (1 + np.exp(-gates))
    np.testing.assert_allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize(("strides", "dilation_rate"), [(1, 1), (2, 1), (1, 4)])
def test_announces_its_output_shape(strides: int, dilation_rate: int) -> None:
    layer = GatedConv2D(8, strides=strides, dilation_rate=dilation_rate)
    assert layer(tf.zeros([1, 9, 12, 3])).shape == layer.compute_output_shape([1, 9, 12, 3])


def test_config_makes_the_same_layer() -> None:
    layer = GatedConv2D(
        8, 5, strides=2, activation="relu", kernel_initializer="he_normal", name="conv"
    )
    assert GatedConv2D.from_config(GatedConv2D(8, upsample=True).get_config()).upsample
    twin = GatedConv2D.from_config(layer.get_config())
    x = tf.random.stateless_normal([1, 8, 8, 3], [0, 1])
    layer(x), twin(x)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(x), layer(x))
    assert twin.get_config() == layer.get_config()


def test_refuses_an_odd_number_of_filters() -> None:
    with pytest.raises(ValueError, match=r"filters must be even .* got 7"):
        GatedConv2D(7)


@pytest.mark.parametrize("form", [(5, 1, 1), (3, 2, 1), (3, 1, 4)])
def test_upsamples_for_one_kind_of_kernel_only(form: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="upsample needs .* got {}, {} and {}".format(*form)):
        GatedConv2D(8, *form, upsample=True)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (7, 4)])
def test_upsampling_is_a_convolution_of_doubled_pixels(
    height: int, width: int, trainable: bool
) -> None:
    """Values and gradients, of images in a batch that differ."""
    layer, plain = GatedConv2D(8, upsample=True, trainable=trainable), GatedConv2D(8)
    x = tf.random.stateless_normal([2, height, width, 3], [0, 1])
    doubled = x.numpy().repeat(2, axis=1).repeat(2, axis=2)
    layer(x), plain(doubled)
    weights = [tf.random.stateless_normal(v.shape, [1, 1]) for v in plain.weights]
    layer.set_weights(weights), plain.set_weights(weights)
    with tf.GradientTape() as tape:
        tape.watch(layer.weights)
        found = layer(x)
        loss = tf.reduce_sum(found**2)
    with tf.GradientTape() as expected_tape:
        expected = plain(doubled)
        expected_loss = tf.reduce_sum(expected**2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == layer.compute_output_shape(x.shape)
    gradients = tape.gradient(loss, layer.weights)
    expected_gradients = expected_tape.gradient(expected_loss, plain.weights)
    for a, b in zip(gradients, expected_gradients):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("height", [1, 13, 16])
@pytest.mark.parametrize("dilation_rate", [2, 5, 16])
def test_a_layer_that_is_not_trained_gives_the_same(dilation_rate: int, height: int) -> None:
    layer = GatedConv2D(8, dilation_rate=dilation_rate)
    x = tf.random.stateless_normal([2, height, 19, 3], [0, 1])
    trained = layer(x)
    layer.trainable = False
    np.testing.assert_allclose(layer(x), trained, atol=1e-6)


@pytest.mark.parametrize(("strides", "dilation_rate"), [(1, 1), (2, 1), (1, 4)])
def test_bfloat16_is_in_the_convolution_alone(strides: int, dilation_rate: int) -> None:
    """Equal to a convolution of rounded inputs and kernel; results and gradients are float32."""
    exact = GatedConv2D(8, 3, strides, dilation_rate)
    rounding = GatedConv2D(8, 3, strides, dilation_rate, convolution_dtype="bfloat16")
    x = tf.random.stateless_normal([2, 12, 12, 16], [0, 1])
    exact(x), rounding(x)
    rounding.set_weights(exact.get_weights())
    rounded = tf.cast(tf.cast(x, tf.bfloat16), tf.float32)
    kernel = tf.cast(tf.cast(exact.kernel, tf.bfloat16), tf.float32)
    with tf.GradientTape() as tape:
        found = rounding(x)
    gradients = tape.gradient(found, rounding.trainable_variables)
    assert {v.dtype for v in [found, *gradients, *rounding.trainable_variables]} == {tf.float32}
    with tf.GradientTape() as tape:
        plain = exact(x)
    exact_gradients = tape.gradient(plain, exact.trainable_variables)
    exact.kernel.assign(kernel)
    # The sums are rounded to 8 bits as well.
    np.testing.assert_allclose(found, exact(rounded), rtol=2e-2, atol=2e-2)
    assert np.abs(found - plain).max() > 1e-4
    for a, b in zip(gradients, exact_gradients):
        assert np.linalg.norm(a - b) < 0.02 * np.linalg.norm(b)
