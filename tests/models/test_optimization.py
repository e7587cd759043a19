"""Clipping, logged norms and weight averages of an update against NumPy, on one and two devices."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from pgi.models.optimization import update, update_averages

NETWORKS: dict[str, list[tuple[int, ...]]] = {"a": [(2, 3), (3,)], "b": [(4,)]}


def values(seed: int) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        name: [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
        for name, shapes in NETWORKS.items()
    }


def norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum((array**2).sum() for array in arrays)))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5, 100.0])
def test_gradients_are_clipped_together_and_measured_network_by_network(clip_norm: float) -> None:
    weights, gradients = values(0), values(1)
    variables = {name: [tf.Variable(x) for x in part] for name, part in weights.items()}
    tensors = {name: [tf.constant(x) for x in part] for name, part in gradients.items()}
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([v for part in variables.values() for v in part])
    logs = update("all", optimizer, variables, tensors, clip_norm)

    whole = norm([x for part in gradients.values() for x in part])
    scale = min(1.0, clip_norm / whole) if clip_norm else 1.0
    assert float(logs["all/clipped"]) == (0 < clip_norm < whole)
    np.testing.assert_allclose(logs["all/gradient_norm"], whole, rtol=1e-5)
    for name in NETWORKS:
        moved = norm(gradients[name])
        np.testing.assert_allclose(logs[f"{name}/gradient_norm"], moved, rtol=1e-5)
        ratio = 0.1 * scale * moved / norm(weights[name])
        np.testing.assert_allclose(logs[f"{name}/update_ratio"], ratio, rtol=1e-4)
        for variable, x, g in zip(variables[name], weights[name], gradients[name]):
            np.testing.assert_allclose(variable, x - 0.1 * scale * g, rtol=1e-4, atol=1e-6)


def test_on_two_replicas_the_sum_is_clipped_and_the_averages_agree() -> None:
    """Each replica's own gradient is within the bound; their sum is not."""
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    start = np.ones(4, np.float32)
    with strategy.scope():
        variable, average = tf.Variable(start), tf.Variable(start)
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build([variable])

    @tf.function
    def step() -> dict[str, tf.Tensor]:
        def replica() -> dict[str, tf.Tensor]:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradient = tf.one_hot(tf.zeros([], tf.int32), 4) * tf.cast(1 + 2 * number, tf.float32)
            logs = update("all", optimizer, {"a": [variable]}, {"a": [gradient]}, clip_norm=3.5)
            update_averages([average], [variable], 0.25, optimizer.iterations)
            return logs

        return strategy.run(replica)

    logs = step()
    for value in strategy.experimental_local_results(logs["all/gradient_norm"]):
        np.testing.assert_allclose(value, 4.0)  # 1 and 3, summed.
    expected = start - [3.5, 0, 0, 0]
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6)
    kept = (1 + 1) / (10 + 1)
    np.testing.assert_allclose(average.numpy(), kept * start + (1 - kept) * expected, rtol=1e-6)


def test_an_average_forgets_its_start_and_then_keeps_its_share() -> None:
    rng = np.random.default_rng(0)
    average, variable = tf.Variable([100.0]), tf.Variable([0.0])
    expected = 100.0
    for n in range(1, 60):
        x = float(rng.standard_normal())
        variable.assign([x])
        update_averages([average], [variable], 0.8, tf.constant(n))
        kept = min(0.8, (1 + n) / (10 + n))
        expected = kept * expected + (1 - kept) * x
        np.testing.assert_allclose(average.numpy(), [expected], rtol=1e-4, atol=1e-5)
    assert abs(expected) < 1
