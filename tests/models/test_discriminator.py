"""The discriminator against the reference's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pgi import deepfillv2
from pgi.models import Discriminator
from tests.reference import golden, reference_weights

GOLDEN = golden("deepfillv2_discriminator")
INPUT = tf.constant(GOLDEN["input"].astype(np.float32))


def reference() -> Discriminator:
    discriminator = Discriminator()
    weights = reference_weights("discriminator", int(GOLDEN["seed"]))
    deepfillv2.assign_discriminator(discriminator, weights)
    return discriminator


def in_graph(discriminator: Discriminator) -> tf.types.experimental.PolymorphicFunction:
    signature = [tf.TensorSpec([None, None, None, 4])]
    return tf.function(lambda x: discriminator(x, training=True), input_signature=signature)


@pytest.mark.parametrize("graph", [False, True])
def test_scores_and_power_iterations_are_the_references(graph: bool) -> None:
    discriminator = reference()
    call = in_graph(discriminator) if graph else lambda x: discriminator(x, training=True)
    np.testing.assert_allclose(call(INPUT), GOLDEN["output_step1"], atol=1e-4)
    for layer in discriminator.convolutions:
        np.testing.assert_allclose(layer.u, GOLDEN[f"u_{layer.name}"], atol=1e-6)
    np.testing.assert_allclose(call(INPUT), GOLDEN["output_step2"], atol=1e-4)


@pytest.mark.parametrize("graph", [False, True])
def test_gradients_are_the_references(graph: bool) -> None:
    discriminator = reference()
    call = in_graph(discriminator) if graph else discriminator
    kernels = [layer.kernel for layer in discriminator.convolutions]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(INPUT)
        real, fake = tf.split(call(INPUT), 2)
        hinge = tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + fake))
        discriminator_loss, generator_loss = 0.5 * hinge, -tf.reduce_mean(fake)
    np.testing.assert_allclose(discriminator_loss, GOLDEN["hinge_d_half_sum"], rtol=1e-6)
    np.testing.assert_allclose(generator_loss, GOLDEN["hinge_g"], atol=1e-6)

    gradients = tape.gradient(discriminator_loss, kernels)
    names = [f"discriminator/sn_patch_gan/conv{n}/kernel" for n in range(1, 7)]
    assert list(GOLDEN["grad_names"]) == names
    norms = [np.linalg.norm(gradient.numpy().ravel()) for gradient in gradients]
    np.testing.assert_allclose(norms, GOLDEN["grad_norms"], rtol=1e-3)
    scale = np.abs(GOLDEN["grad_conv1"]).max()
    np.testing.assert_allclose(gradients[0], GOLDEN["grad_conv1"], atol=1e-3 * scale)
    to_input = tape.gradient(generator_loss, INPUT)[:, ::4, ::4]
    scale = np.abs(GOLDEN["grad_input_from_g"]).max()
    np.testing.assert_allclose(to_input, GOLDEN["grad_input_from_g"], atol=1e-3 * scale)
