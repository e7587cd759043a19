"""The reference's weights find their places, or the message says which do not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pgi import deepfillv2
from pgi.models import Discriminator, SubGenerator
from pgi.training.summary import parameters
from tests.reference import reference_shapes


def test_networks_have_the_references_variables_and_no_others() -> None:
    sub_generator, discriminator = SubGenerator(), Discriminator()
    ours = deepfillv2.generator_variables(sub_generator)
    assert {k: v.shape.as_list() for k, v in ours.items()} == reference_shapes("generator")
    ours = deepfillv2.discriminator_variables(discriminator)
    assert {k: v.shape.as_list() for k, v in ours.items()} == reference_shapes("discriminator")
    assert parameters(sub_generator) == 4_052_478
    assert parameters(discriminator) == 5_946_816
    assert sum(v.shape.num_elements() for v in discriminator.non_trainable_variables) == 1_216


def small_weights(seed: int = 0) -> dict[str, np.ndarray]:
    network = SubGenerator(8, (2, 4, 8))
    shapes = {k: v.shape for k, v in deepfillv2.generator_variables(network).items()}
    rng = np.random.default_rng(seed)
    return {k: 0.3 * rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def test_a_tf1_checkpoint_gives_what_its_arrays_give(tmp_path: Path) -> None:
    weights = small_weights()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in {**weights, "discriminator/spare": np.zeros(3)}.items():
            tf.compat.v1.get_variable(name, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        path = tf.compat.v1.train.Saver().save(session, str(tmp_path / "snap-0"))
    from_arrays, from_file = SubGenerator(8, (2, 4, 8)), SubGenerator(8, (2, 4, 8))
    deepfillv2.assign_generator(from_arrays, weights)
    deepfillv2.assign_generator(from_file, path)
    for a, b in zip(from_arrays.get_weights(), from_file.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_bgr_weights_do_to_rgb_images_what_they_did_to_bgr_images() -> None:
    as_is, turned = SubGenerator(8, (2, 4, 8)), SubGenerator(8, (2, 4, 8))
    deepfillv2.assign_generator(as_is, small_weights())
    deepfillv2.assign_generator(turned, small_weights(), channel_order="bgr")
    image = tf.random.stateless_uniform([1, 16, 16, 3], [0, 1], -1, 1)
    mask = np.zeros([1, 16, 16, 1], np.float32)
    mask[:, 4:9, 5:12] = 1
    bgr = as_is(image[..., ::-1], mask)
    rgb = turned(image, mask)
    np.testing.assert_allclose(rgb.completed, bgr.completed[..., ::-1], atol=1e-4)
    np.testing.assert_allclose(rgb.coarse, bgr.coarse[..., ::-1], atol=1e-4)


def test_a_missing_weight_is_named_and_nothing_is_assigned() -> None:
    weights = small_weights()
    weights.pop("inpaint_net/xconv3/bias")
    network = SubGenerator(8, (2, 4, 8))
    deepfillv2.generator_variables(network)
    before = network.get_weights()
    with pytest.raises(ValueError, match="missing: inpaint_net/xconv3/bias"):
        deepfillv2.assign_generator(network, weights)
    for a, b in zip(before, network.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_a_weight_of_another_shape_is_named_and_nothing_is_assigned() -> None:
    weights = {**small_weights(), "inpaint_net/allconv17/bias": np.zeros(4, np.float32)}
    network = SubGenerator(8, (2, 4, 8))
    deepfillv2.generator_variables(network)
    before = network.get_weights()
    with pytest.raises(ValueError, match=r"allconv17/bias must have shape \(3,\), got \(4,\)"):
        deepfillv2.assign_generator(network, weights)
    for a, b in zip(before, network.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_weights_without_a_place_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    weights = {**small_weights(), "inpaint_net/conv10_atrous/bias": np.zeros(32, np.float32)}
    with caplog.at_level(logging.WARNING, logger="absl"):
        deepfillv2.assign_generator(SubGenerator(8, (2, 4, 8)), weights)
    assert "inpaint_net/conv10_atrous/bias" in caplog.text


def test_refuses_an_unknown_channel_order() -> None:
    with pytest.raises(ValueError, match="channel_order must be one of rgb, bgr, got 'gbr'"):
        deepfillv2.assign_generator(SubGenerator(8), small_weights(), channel_order="gbr")
