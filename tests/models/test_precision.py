"""Half precision: what stays float32, losses close to float32's, loss scaling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from pgi.models import Discriminator, SubGenerator, pyramid
from pgi.models.blocks import Computation
from pgi.models.optimization import scaled_loss, update, with_loss_scale
from tests.models.test_pyramid import compiled, example, pyramid_model

PRECISIONS = ("mixed_bfloat16", "mixed_float16")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_images_and_scores_are_float32_and_features_are_not(precision: str) -> None:
    image, mask = example(levels=1, side=16)
    sub_generator = SubGenerator(4, (1,), computation=Computation(precision))
    discriminator = Discriminator(2, precision)
    output = sub_generator(image[0], mask[0])
    scores = discriminator(tf.concat([output.completed, mask[0]], axis=-1))
    variables = [*sub_generator.variables, *discriminator.variables]
    results = [output.coarse, output.refined, output.completed, scores, *variables]
    assert {x.dtype for x in results} == {tf.float32}
    features = [output.coarse_features, *output.refine_features]
    assert {x.dtype.name for x in features} == {precision.removeprefix("mixed_")}
    known = np.broadcast_to(mask[0], image[0].shape) == 0
    np.testing.assert_array_equal(output.completed.numpy()[known], image[0].numpy()[known])


def losses(precision: str, **kwargs: Any) -> np.ndarray:
    # The discriminator of a level of 32 px has a map of 1 pixel.
    model = compiled(pyramid_model(levels=(16, 32), precision=precision), **kwargs)
    step = tf.function(model.train_step, autograph=False)
    logs = [step(example(levels=2)) for _ in range(20)]
    return np.array([[float(x["loss"]), float(x["discriminator_loss"])] for x in logs])


@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_twenty_steps_stay_within_five_percent_of_float32s_losses(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    if precision == "mixed_float16":
        # CPUs have no float16 gradient of dilated convolutions.
        monkeypatch.setattr(pyramid, "dilation_rates", lambda _, levels: [(1, 1)] * levels)
    expected, found = losses("float32", clip_norm=0.5), losses(precision, clip_norm=0.5)
    np.testing.assert_allclose(found, expected, rtol=0.05)
    assert not np.array_equal(found, expected)


def scaled_step(gradient: list[float], clip_norm: float = 0.0) -> tuple[Any, ...]:
    variable = tf.Variable([1.0, 2.0])
    optimizer = with_loss_scale(keras.optimizers.SGD(0.1))
    optimizer.build([variable])
    with tf.GradientTape() as tape:
        loss = scaled_loss(optimizer, tf.reduce_sum(variable * gradient))
    gradients = {"a": [tape.gradient(loss, variable)]}
    logs = update("all", optimizer, {"a": [variable]}, gradients, clip_norm)
    return variable.numpy(), logs, float(optimizer.loss_scale)


def test_a_scaled_losss_gradient_is_unscaled_before_it_is_measured_clipped_and_applied() -> None:
    weights, logs, scale = scaled_step([0.3, 0.4])
    np.testing.assert_allclose(weights, [1 - 0.03, 2 - 0.04], rtol=1e-6)
    np.testing.assert_allclose(logs["all/gradient_norm"], 0.5, rtol=1e-6)
    assert (logs["all/clipped"], logs["all/skipped"], scale) == (0, 0, 2**15)
    weights, logs, _ = scaled_step([0.3, 0.4], clip_norm=0.25)
    np.testing.assert_allclose(weights, [1 - 0.015, 2 - 0.02], rtol=1e-6)
    np.testing.assert_allclose(logs["a/gradient_norm"], 0.5, rtol=1e-6)
    assert logs["all/clipped"] == 1


@pytest.mark.parametrize("clip_norm", [0.0, 0.25])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_an_overflow_skips_the_step_counts_it_and_halves_the_scale(
    bad: float, clip_norm: float
) -> None:
    weights, logs, scale = scaled_step([0.3, bad], clip_norm)
    np.testing.assert_array_equal(weights, [1, 2])
    assert logs["all/skipped"] == 1 and scale == 2**14
    assert {float(value) for name, value in logs.items() if name != "all/skipped"} == {0.0}


def test_replicas_skip_a_step_together_if_one_overflows() -> None:
    reduction = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], cross_device_ops=reduction)
    with strategy.scope():
        variable = tf.Variable([1.0, 2.0])
        optimizer = with_loss_scale(keras.optimizers.SGD(0.1))
        optimizer.build([variable])

    @tf.function
    def step(first: tf.Tensor, second: tf.Tensor) -> dict[str, tf.Tensor]:
        def replica() -> dict[str, tf.Tensor]:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradient = scaled_loss(optimizer, tf.stack([first, second])[number])
            return update("all", optimizer, {"a": [variable]}, {"a": [gradient]})

        return strategy.run(replica)

    good, overflown = tf.constant([1.0, 0.0]), tf.constant([0.0, np.inf])
    logs = step(good, overflown)
    assert strategy.experimental_local_results(logs["all/skipped"]) == (1, 1)
    np.testing.assert_array_equal(variable.numpy(), [1, 2])
    logs = step(good, good)
    assert strategy.experimental_local_results(logs["all/skipped"]) == (0, 0)
    for copy in strategy.experimental_local_results(variable):
        np.testing.assert_allclose(copy, [1 - 0.2, 2], rtol=1e-6)
    assert float(optimizer.loss_scale) == 2**14
