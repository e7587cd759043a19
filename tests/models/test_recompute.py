"""Recomputed activations: the same results and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_pyramid import example, pyramid_model


@pytest.mark.parametrize("arguments", [{}, {"fusion": "feature_refine"}, {"drop_coarse": True}])
def test_results_and_gradients_are_those_of_kept_activations(arguments: dict) -> None:
    inputs, masks = example(levels=2, side=16)
    found = []
    for recompute in (False, True):
        model = pyramid_model(levels=(8, 16), recompute=recompute, **arguments)
        variables = model.generator_variables

        def gradients(model=model, variables=variables) -> tuple:
            # As in a training step, only watched variables count.
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                outputs = model((inputs, masks), training=True)
                loss = tf.add_n([tf.reduce_mean(abs(x.completed - 0.5)) for x in outputs])
            return outputs[-1].refined, tape.gradient(loss, variables)

        found.append(tf.function(gradients, autograph=False)())
    (refined, kept), (refined_again, recomputed) = found
    np.testing.assert_allclose(refined_again, refined, atol=1e-6)
    assert min(float(tf.norm(g)) for g in kept) > 0
    for a, b in zip(recomputed, kept):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_the_gradient_computes_the_convolutions_again() -> None:
    def convolutions(recompute: bool) -> int:
        model = pyramid_model(levels=(16,), recompute=recompute)
        inputs = example(levels=1, side=16)

        def gradient() -> list:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(inputs, training=True)[0].refined)
            return tape.gradient(loss, model.generator_variables)

        graph = tf.function(gradient, autograph=False).get_concrete_function().graph
        return sum(op.type == "Conv2D" for op in graph.get_operations())

    # All but the two after attention.
    assert convolutions(recompute=True) == 2 * convolutions(recompute=False) - 2
