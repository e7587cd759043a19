"""The pyramid: who learns from which loss, on how many devices, and that it learns at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from pgi import images
from pgi.layers import SpectralNormConv2D
from pgi.losses import l1_loss
from pgi.models import Objective, PyramidGenerator
from pgi.rules import FUSIONS


def pyramid_model(**kwargs: Any) -> PyramidGenerator:
    keras.utils.set_random_seed(0)
    arguments = {
        "levels": (8, 16, 32), "width": 4, "discriminator_width": 2,
        "kernel_initializer": "gated_he", **kwargs,
    }  # fmt: skip
    model = PyramidGenerator(**arguments)
    model.build_networks()
    return model


def example(levels: int = 3, batch: int = 2, side: int = 32) -> tuple:
    image = tf.random.stateless_uniform([batch, side, side, 3], [0, 1], -1, 1)
    mask = np.zeros([batch, side, side, 1], np.float32)
    for i in range(batch):
        mask[i, 3 : side // 2 + i, 5 + i : side - 5] = 1
    return images.pyramids(image, tf.constant(mask), levels)


def compiled(
    model: PyramidGenerator, objective: Objective | None = None, **kwargs: Any
) -> PyramidGenerator:
    optimizers = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)
    model.compile(*optimizers, objective, **kwargs)
    return model


def values(variables: list[tf.Variable]) -> list[np.ndarray]:
    return [variable.numpy() for variable in variables]


def changed(before: list[np.ndarray], variables: list[tf.Variable]) -> list[bool]:
    return [not np.array_equal(a, b) for a, b in zip(before, variables)]


def gradient_norms(loss: tf.Tensor, tape: tf.GradientTape, variables: list) -> list[float]:
    gradients = tape.gradient(loss, variables)
    return [0.0 if g is None else float(tf.norm(g)) for g in gradients]


def next_u(layer: SpectralNormConv2D) -> np.ndarray:
    """The vector after one power iteration."""
    matrix = layer.kernel.numpy().reshape(-1, layer.filters)
    v = layer.u.numpy() @ matrix.T
    u = v / np.linalg.norm(v) @ matrix
    return u / np.linalg.norm(u)


@pytest.mark.parametrize(
    ("fusion", "reached"),
    [("image", True), ("feature_coarse", True), ("none", False)],
)
def test_a_step_on_the_top_levels_loss_moves_the_lowest_sub_generator(
    fusion: str, reached: bool
) -> None:
    model = compiled(pyramid_model(fusion=fusion), Objective(level_weights=(0.0, 0.0, 1.0)))
    lowest = model.sub_generators[0].trainable_variables
    before = values(lowest)
    model.train_step(example())
    assert any(changed(before, lowest)) == reached


def test_a_level_does_not_depend_on_the_levels_above_it() -> None:
    model = pyramid_model()
    inputs = example()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(l1_loss(inputs[0][0], model(inputs)[0].refined))
    upper = [v for network in model.sub_generators[1:] for v in network.trainable_variables]
    assert not any(gradient_norms(loss, tape, upper))


def test_the_discriminators_update_leaves_the_generators_alone_and_advances_every_u() -> None:
    model = compiled(pyramid_model(), Objective(level_weights=(0, 0, 0)))
    generators, discriminators = model.generator_variables, model.discriminator_variables
    vectors = [v for network in model.discriminators for v in network.non_trainable_variables]
    before = values(generators), values(discriminators), values(vectors)
    model.train_step(example())
    assert not any(changed(before[0], generators))
    kernels = [i for i, v in enumerate(discriminators) if "kernel" in v.name]
    assert all(np.array(changed(before[1], discriminators))[kernels])
    assert all(changed(before[2], vectors))


def test_the_generators_update_leaves_the_discriminators_and_every_u_alone() -> None:
    """In a joint step at a discriminators' rate of 0, only their own update can move a u: once."""
    model = pyramid_model()
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.0))
    layers = [layer for network in model.discriminators for layer in network.convolutions]
    expected = [next_u(layer) for layer in layers]
    before = values(model.discriminator_variables), values(model.generator_variables)
    model.train_step(example())
    assert not any(changed(before[0], model.discriminator_variables))
    assert any(changed(before[1], model.generator_variables))
    for layer, u in zip(layers, expected):
        np.testing.assert_allclose(layer.u, u, atol=1e-6)


def test_the_step_descends_the_weighted_sum_of_the_levels_losses() -> None:
    weights, rate = (10.0, 1.0, 3.0), 1.0  # Large, so that the small adversarial part shows.
    model = pyramid_model()
    objective = Objective(weights, l1_weight=2.0)
    model.compile(keras.optimizers.SGD(rate), keras.optimizers.SGD(0.0), objective)
    inputs, masks = example()
    # The step's own discriminators do not move, but judge the generators with a u one further on.
    start = [(v, v.numpy()) for network in model.discriminators for v in network.variables]
    for network in model.discriminators:
        for layer in network.convolutions:
            layer.u.assign(next_u(layer))
    variables = model.generator_variables
    with tf.GradientTape() as tape:
        total = 0.0
        for n, output in enumerate(model((inputs, masks))):
            scores = model.discriminators[n](tf.concat([output.completed, masks[n]], axis=-1))
            loss = -tf.reduce_mean(scores) + 2.0 * tf.reduce_mean(abs(inputs[n] - output.refined))
            total += weights[n] * loss
    gradients, before = tape.gradient(total, variables), values(variables)
    for variable, value in start:
        variable.assign(value)
    model.train_step((inputs, masks))
    for old, new, gradient in zip(before, variables, gradients):
        np.testing.assert_allclose(new - old, -rate * gradient, rtol=1e-4, atol=1e-6)


def test_the_discriminators_step_descends_the_hinge_of_real_and_completed_images() -> None:
    rate = 0.1
    model = compiled(pyramid_model(), Objective(level_weights=(0, 0, 0)))
    inputs, masks = example()
    variables, total = model.discriminator_variables, 0.0
    outputs = model((inputs, masks))
    with tf.GradientTape() as tape:
        for n, network in enumerate(model.discriminators):
            real = network(tf.concat([inputs[n], masks[n]], axis=-1))
            fake = network(tf.concat([outputs[n].completed, masks[n]], axis=-1))
            total += tf.reduce_mean(tf.maximum(0.0, 1 - real))
            total += tf.reduce_mean(tf.maximum(0.0, 1 + fake))
    gradients, before = tape.gradient(total, variables), values(variables)
    generators = values(model.generator_variables)
    model.train_step((inputs, masks))
    assert not any(changed(generators, model.generator_variables))
    assert max(float(tf.norm(gradient)) for gradient in gradients) > 0.01
    for old, new, gradient in zip(before, variables, gradients):
        np.testing.assert_allclose(new - old, -rate * gradient, atol=1e-6)


@pytest.mark.usefixtures("eagerly")
def test_two_devices_take_the_step_that_one_takes() -> None:
    dataset = tf.data.Dataset.from_tensors(example(levels=2, batch=4, side=16))
    dataset = dataset.unbatch().batch(4)
    weights = []
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        # Not with collectives: a process can only run one model's worth of them on CPUs.
        reduction = tf.distribute.ReductionToOneDevice()
        strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)
        with strategy.scope():
            model = compiled(pyramid_model(levels=(8, 16)))
        logs = model.fit(dataset, verbose=0).history
        weights.append((model.get_weights(), logs))
    (one, one_logs), (two, two_logs) = weights
    initial = pyramid_model(levels=(8, 16)).get_weights()
    moved = [np.abs(a - b).max() for a, b in zip(one, initial)]
    assert max(moved) > 1e-3
    for a, b in zip(one, two):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name in one_logs:
        np.testing.assert_allclose(one_logs[name], two_logs[name], atol=1e-5, err_msg=name)


def test_training_one_level_leaves_the_others_as_they_are() -> None:
    model = compiled(pyramid_model(), trained_levels=(1,))
    networks: list[Any] = [*model.sub_generators, *model.discriminators]
    before = [values(network.variables) for network in networks]
    model.train_step(example())
    moved = [any(changed(a, network.variables)) for a, network in zip(before, networks)]
    assert moved == [False, True, False] * 2


def test_the_adversarial_weight_grows_from_nothing_to_its_full_value() -> None:
    model = pyramid_model()
    pyramid, masks = example()
    objective = Objective(l1_weight=0.0, adversarial_weight=0.5, adversarial_warmup_steps=4)
    scores, outputs = {0: tf.constant([[-2.0]])}, model((pyramid, masks))

    def loss(step: int) -> float:
        _, logs = objective.of_levels(3).generator_loss(pyramid, outputs, scores, tf.constant(step))
        return float(logs["level_0/loss"][0])

    assert [loss(step) for step in (0, 2, 4, 100)] == [0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"levels": (16,)},
        {"levels": (8, 16, 32, 64)},
        *({"levels": (8, 16), "fusion": fusion} for fusion in FUSIONS),
        {"levels": (8, 16), "drop_coarse": True},
        {"levels": (8, 16), "drop_coarse": True, "coarse_l1_weight": 1.0},
        {"levels": (8, 16), "dilation": "standard", "width": 12},
    ],
    ids=str,
)
def test_every_kind_of_pyramid_takes_a_step_that_moves_all_its_networks(arguments: dict) -> None:
    levels, weight = arguments["levels"], arguments.get("coarse_l1_weight", 0.0)
    networks_only = {k: v for k, v in arguments.items() if k != "coarse_l1_weight"}
    model = compiled(pyramid_model(**networks_only), Objective(coarse_l1_weight=weight))
    inputs = example(len(levels), side=levels[-1])
    assert [output.completed.shape[1] for output in model(inputs)] == list(levels)
    networks: list[Any] = [*model.sub_generators, *model.discriminators]
    before = [values(network.trainable_variables) for network in networks]
    logs = model.train_step(inputs)
    assert all(np.isfinite(float(value)) for value in logs.values())
    for old, network in zip(before, networks):
        assert any(changed(old, network.trainable_variables))
    # The coarse result's loss, of each coarse network that there is.
    assert ("level_0/coarse_l1" in logs) == bool(weight) and "level_1/coarse_l1" not in logs


def test_adaptive_dilation_has_fewer_and_smaller_rates_above_the_bottom() -> None:
    def rates(model: PyramidGenerator) -> list[list[tuple[int, ...]]]:
        networks: list[list[Any]] = [[x.coarse, x.refine] for x in model.sub_generators]
        return [
            [tuple(layer.dilation_rate[0] for layer in network.dilated) for network in pair]
            for pair in networks
        ]

    assert rates(pyramid_model()) == [[(2, 4, 8, 12)] * 2, [(2, 4, 8)] * 2, [(2, 4, 8)] * 2]
    assert rates(pyramid_model(dilation="standard")) == [[(2, 4, 8, 16)] * 2] * 3


def test_what_lies_under_the_mask_changes_nothing_at_any_level() -> None:
    model = pyramid_model()
    image = tf.random.stateless_uniform([1, 32, 32, 3], [0, 1], -1, 1)
    mask = np.zeros([1, 32, 32, 1], np.float32)
    mask[:, 7:20, 3:18] = 1
    other = tf.where(mask > 0, -image, image)
    outputs, others = (model(images.pyramids(x, tf.constant(mask), 3)) for x in (image, other))
    for a, b in zip(outputs, others):
        np.testing.assert_array_equal(a.refined, b.refined)


def test_evaluate_reports_the_mean_over_images_of_the_l1_in_the_hole() -> None:
    model = compiled(pyramid_model())
    inputs, masks = example(batch=3)
    dataset = tf.data.Dataset.from_tensors((inputs, masks)).unbatch().batch(2)
    logs = model.evaluate(dataset, return_dict=True, verbose=0)
    for n, output in enumerate(model((inputs, masks))):
        hole = np.broadcast_to(masks[n], inputs[n].shape) == 1
        error = np.abs(output.completed - inputs[n])
        expected = np.mean([e[h].mean() for e, h in zip(error, hole)])
        np.testing.assert_allclose(logs[f"level_{n}/hole_l1"], expected, rtol=1e-5)
    mean_colour = inputs[-1].numpy().mean(axis=(1, 2), keepdims=True)
    error, hole = (
        np.abs(inputs[-1] - mean_colour),
        np.broadcast_to(masks[-1], inputs[-1].shape) == 1,
    )
    expected = np.mean([e[h].mean() for e, h in zip(error, hole)])
    np.testing.assert_allclose(logs["mean_colour_hole_l1"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": (128, 200)}, r"levels must double, got \(128, 200\)"),
        ({"levels": (12, 24)}, r"levels must start with a positive multiple of 8, got \(12, 24\)"),
        ({"levels": ()}, r"levels must start with a positive multiple of 8, got \(\)"),
        ({"dilation": "wide"}, "dilation must be one of adaptive, standard, got 'wide'"),
    ],
)
def test_refuses_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PyramidGenerator(**arguments)


def test_refuses_weights_of_another_number_of_levels() -> None:
    with pytest.raises(ValueError, match=r"one weight for each of 3 levels, got \(1, 1\)"):
        compiled(pyramid_model(), Objective(level_weights=(1, 1)))
