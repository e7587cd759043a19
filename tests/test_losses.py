"""Losses of each example against numbers computed by hand, NumPy and Keras."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from pgi import losses


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def scores(*shape: int, seed: int = 0) -> np.ndarray:
    """On both sides of the margin."""
    return 2 * noise(*shape, seed=seed)


def random_mask(*shape: int) -> np.ndarray:
    return (np.random.default_rng(9).random(shape) < 0.3).astype(np.float32)


# L1


def test_l1_by_hand() -> None:
    truth = tf.zeros([2, 1, 2, 3])
    prediction = tf.constant([[[[1.0, -1, 0], [0, 0, 0.5]]], [[[0, 0, 0], [0, 0, 0]]]])
    np.testing.assert_allclose(losses.l1_loss(truth, prediction), [2.5 / 6, 0])


def test_l1_is_the_mean_distance_of_each_example() -> None:
    truth, prediction = noise(3, 4, 6, 3), noise(3, 4, 6, 3, seed=1)
    ours = losses.l1_loss(tf.constant(truth), tf.constant(prediction))
    assert ours.shape == (3,)
    np.testing.assert_allclose(ours, np.abs(truth - prediction).mean(axis=(1, 2, 3)), rtol=1e-6)
    black, white = tf.fill([1, 4, 4, 3], -1.0), tf.ones([1, 4, 4, 3])
    assert losses.l1_loss(black, white).numpy() == 2


def test_hole_l1_by_hand() -> None:
    truth = tf.zeros([1, 2, 2, 3])
    prediction = tf.constant([[[[1.0, -1, 0.5], [9, 9, 9]], [[9, 9, 9], [0, 0, 2]]]])
    mask = tf.constant([[[[1.0], [0]], [[0], [1]]]])
    np.testing.assert_allclose(losses.hole_l1(truth, prediction, mask), [4.5 / 6])


@pytest.mark.parametrize("channels", [1, 3])
def test_hole_l1_is_the_mean_distance_over_the_hole_only(channels: int) -> None:
    truth, prediction = noise(4, 8, 8, channels), noise(4, 8, 8, channels, seed=1)
    mask = random_mask(4, 8, 8, 1)
    ours = losses.hole_l1(tf.constant(truth), tf.constant(prediction), tf.constant(mask))
    holes = mask[..., 0] == 1
    expected = [np.abs(t - p)[hole].mean() for t, p, hole in zip(truth, prediction, holes)]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    elsewhere = np.where(mask == 1, prediction, noise(*truth.shape, seed=2))
    again = losses.hole_l1(tf.constant(truth), tf.constant(elsewhere), tf.constant(mask))
    np.testing.assert_array_equal(again, ours)


def test_hole_l1_of_a_colour_is_that_of_an_image_full_of_it() -> None:
    truth, mask = tf.constant(noise(2, 8, 8, 3)), tf.constant(random_mask(2, 8, 8, 1))
    for shape in ([2, 1, 1, 3], [1, 1, 1, 3]):
        colour = tf.constant(noise(*shape, seed=1))
        full = tf.broadcast_to(colour, truth.shape)
        np.testing.assert_allclose(
            losses.hole_l1(truth, colour, mask), losses.hole_l1(truth, full, mask), rtol=1e-6
        )


def test_hole_l1_without_a_hole_is_zero_and_leaves_other_examples_alone() -> None:
    truth, prediction = noise(2, 4, 4, 3), noise(2, 4, 4, 3, seed=1)
    mask = np.ones([2, 4, 4, 1], np.float32)
    mask[0] = 0
    ours = losses.hole_l1(tf.constant(truth), tf.constant(prediction), tf.constant(mask)).numpy()
    assert ours[0] == 0
    np.testing.assert_allclose(ours[1], np.abs(truth[1] - prediction[1]).mean(), rtol=1e-6)


# Hinge


def test_hinge_losses_by_hand() -> None:
    real, fake = tf.constant([[2.0, -1, 0.5, 1]]), tf.constant([[-2.0, 1, -0.5, -1]])
    # Real: 0 + 2 + 0.5 + 0 of 4. Fake: the same, mirrored.
    np.testing.assert_allclose(losses.hinge_discriminator_loss(real, fake), [2.5 / 4 + 2.5 / 4])
    np.testing.assert_allclose(losses.hinge_generator_loss(fake), [2.5 / 4])
    zero, beyond = tf.zeros([2, 5]), tf.constant([[1.0, 1.5, 7]])
    np.testing.assert_array_equal(losses.hinge_discriminator_loss(zero, zero), [2, 2])
    np.testing.assert_array_equal(losses.hinge_discriminator_loss(beyond, -beyond), [0])


def test_the_discriminators_hinge_is_that_of_keras() -> None:
    real, fake = scores(3, 7), scores(3, 7, seed=1)
    expected = tf.keras.losses.hinge(tf.ones([3, 7]), real) + tf.keras.losses.hinge(
        -tf.ones([3, 7]), fake
    )
    ours = losses.hinge_discriminator_loss(tf.constant(real), tf.constant(fake))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    halved = np.maximum(0, 1 - real).mean(axis=1) / 2 + np.maximum(0, 1 + fake).mean(axis=1) / 2
    assert np.abs(ours - halved).min() > 0.1  # DeepFillv2 halves it, the paper does not.


def test_the_discriminator_learns_only_from_scores_inside_the_margin() -> None:
    real, fake = tf.constant(scores(2, 50)), tf.constant(scores(2, 50, seed=1))
    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        total = tf.reduce_sum(losses.hinge_discriminator_loss(real, fake))
    of_real, of_fake = tape.gradient(total, [real, fake])
    np.testing.assert_allclose(of_real, np.where(real.numpy() < 1, -1 / 50, 0))
    np.testing.assert_allclose(of_fake, np.where(fake.numpy() > -1, 1 / 50, 0))


def test_the_generator_learns_from_every_score_alike() -> None:
    fake = tf.constant(10 * scores(2, 50))
    with tf.GradientTape() as tape:
        tape.watch(fake)
        total = tf.reduce_sum(losses.hinge_generator_loss(fake))
    np.testing.assert_allclose(tape.gradient(total, fake), np.full([2, 50], -1 / 50))


# All of them


@pytest.mark.parametrize(
    "loss, arguments",
    [
        (losses.l1_loss, [noise(5, 4, 4, 3), noise(5, 4, 4, 3, seed=1)]),
        (losses.hole_l1, [noise(5, 4, 4, 3), noise(5, 4, 4, 3, seed=1), random_mask(5, 4, 4, 1)]),
        (losses.hinge_generator_loss, [scores(5, 6)]),
        (losses.hinge_discriminator_loss, [scores(5, 6), scores(5, 6, seed=1)]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_examples_loss_does_not_depend_on_its_batch(
    loss: Callable[..., tf.Tensor], arguments: list[np.ndarray]
) -> None:
    """So the sum over replicas, divided by the global batch, is the same for any number of them."""
    tensors = [tf.constant(argument) for argument in arguments]
    whole = loss(*tensors)
    assert whole.shape == (5,)
    parts = [loss(*(tensor[i:j] for tensor in tensors)) for i, j in ((0, 1), (1, 3), (3, 5))]
    np.testing.assert_allclose(tf.concat(parts, axis=0), whole, rtol=1e-6)
