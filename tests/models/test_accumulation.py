"""Accumulated gradients: the same step as from the whole batch, from less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pgi.models import PyramidGenerator
from pgi.models.accumulation import accumulate
from tests.models.test_pyramid import compiled, example, pyramid_model

LEVELS = (8, 16)


def test_gradients_and_values_are_the_means_over_the_parts_of_a_batch() -> None:
    x = np.random.default_rng(0).standard_normal([6, 2]).astype(np.float32)
    weights = tf.Variable([1.0, -2.0])

    def compute(part: tf.Tensor) -> tuple:
        with tf.GradientTape() as tape:
            squares = tf.linalg.matvec(part, weights) ** 2
            loss = tf.reduce_mean(squares)
        return {"a": [tape.gradient(loss, weights)]}, {"square": squares, "loss": loss}

    for run in (
        lambda: accumulate(compute, (x,), 3),
        tf.function(lambda: accumulate(compute, (x,), 3)),
    ):
        gradients, values = run()
        products = x @ weights.numpy()
        np.testing.assert_allclose(
            gradients["a"][0], (2 * products[:, None] * x).mean(0), rtol=1e-5
        )
        for name in ("square", "loss"):
            np.testing.assert_allclose(values[name], (products**2).mean(), rtol=1e-5)


def after_steps(parts: int, steps: int = 2, **kwargs: Any) -> tuple[PyramidGenerator, dict]:
    model = compiled(
        pyramid_model(levels=LEVELS), accumulation_steps=parts, clip_norm=0.05, **kwargs
    )
    step = tf.function(model.train_step, autograph=False)
    for _ in range(steps):
        logs = step(example(levels=2, batch=4, side=16))
    return model, logs


@pytest.mark.parametrize("parts", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(parts: int) -> None:
    """Weights of all networks, the spectral norms' vectors, and everything that is logged."""
    whole, whole_logs = after_steps(1)
    model, logs = after_steps(parts)
    start = pyramid_model(levels=LEVELS).get_weights()
    moved = [not np.array_equal(a, b) for a, b in zip(start, whole.get_weights())]
    assert np.mean(moved) > 0.9
    for a, b in zip(model.get_weights(), whole.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert list(logs) == list(whole_logs)
    for name, value in whole_logs.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_two_replicas_in_parts_take_the_step_of_one_device() -> None:
    dataset = tf.data.Dataset.from_tensors(example(levels=2, batch=4, side=16)).unbatch().batch(4)
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    with strategy.scope():
        model = compiled(pyramid_model(levels=LEVELS), accumulation_steps=2)
    logs = model.fit(dataset, verbose=0).history
    one = compiled(pyramid_model(levels=LEVELS))
    one_logs = one.fit(dataset, verbose=0).history
    for a, b in zip(model.get_weights(), one.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name, value in one_logs.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_only_one_part_is_in_memory_at_a_time() -> None:
    """The largest intermediate tensor of the graph has one part's examples."""
    batch = example(levels=1, batch=4, side=16)
    largest = {}
    for parts in (1, 4):
        model = compiled(pyramid_model(levels=(16,)), accumulation_steps=parts)
        step = tf.function(model.train_step, autograph=False).get_concrete_function(batch)
        proto = step.graph.as_graph_def(add_shapes=True)
        functions = [f.node_def for f in proto.library.function]
        largest[parts] = max(
            int(np.prod([axis.size for axis in shape.dim]))
            for nodes in (proto.node, *functions)
            for node in nodes
            for shape in node.attr["_output_shapes"].list.shape
            if any(axis.size == 16 for axis in shape.dim)
        )
    # The first layer's features and gates.
    assert largest[1] >= 4 * 16 * 16 * 4 and largest[4] <= largest[1] / 2
