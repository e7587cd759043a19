"""The reference's weights find their places, or the message says which do not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pgi import deepfillv2
from pgi.errors import RuleError, RunFolderError
from pgi.models import Discriminator, SubGenerator
from pgi.training.summary import parameters
from tests.reference import golden, reference_shapes, reference_weights, write_tf1_checkpoint


def test_networks_have_the_references_variables_and_no_others() -> None:
    sub_generator, discriminator = SubGenerator(), Discriminator()
    ours = deepfillv2.generator_variables(sub_generator)
    assert {k: v.shape.as_list() for k, v in ours.items()} == reference_shapes("generator")
    ours = deepfillv2.discriminator_variables(discriminator)
    assert {k: v.shape.as_list() for k, v in ours.items()} == reference_shapes("discriminator")
    assert parameters(sub_generator) == 4_052_478
    assert parameters(discriminator) == 5_946_816
    assert sum(v.shape.num_elements() for v in discriminator.non_trainable_variables) == 1_216


@pytest.mark.parametrize(("channel_order", "step"), [("rgb", 1), ("bgr", -1)])
def test_a_checkpoint_completes_images_as_the_reference_does(
    tmp_path: Path, channel_order: str, step: int
) -> None:
    """With what a TensorFlow 1 program stores beside the weights; BGR weights see BGR images."""
    numbers = golden("deepfillv2_generator")
    weights = reference_weights("generator", int(numbers["seed"]))
    slots = {f"{k}/Adam": np.ones_like(v) for k, v in weights.items() if k.endswith("bias")}
    others = {"discriminator/spare": np.zeros(3), "global_step": np.asarray(7)}
    write_tf1_checkpoint(tmp_path / "snap-7", {**weights, **slots, **others})
    model = deepfillv2.load(deepfillv2.find_checkpoint(tmp_path / "snap-7"), channel_order)
    masked = tf.constant((numbers["image"] * (1 - numbers["mask"]))[..., ::step])
    (output,) = model(((masked,), (tf.constant(numbers["mask"]),)))
    expected = numbers["completed"][..., ::step]
    np.testing.assert_allclose(output.completed, expected, atol=1e-4)


def small_weights(seed: int = 0) -> dict[str, np.ndarray]:
    network = SubGenerator(8, (2, 4, 8))
    shapes = {k: v.shape for k, v in deepfillv2.generator_variables(network).items()}
    rng = np.random.default_rng(seed)
    return {k: 0.3 * rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def test_a_tf1_checkpoint_gives_what_its_arrays_give(tmp_path: Path) -> None:
    weights = small_weights()
    path = tmp_path / "snap-0"
    write_tf1_checkpoint(path, {**weights, "discriminator/spare": np.zeros(3)})
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


def test_a_bgr_discriminator_judges_rgb_images_as_it_did_bgr_images() -> None:
    weights = reference_weights("discriminator")
    as_is, turned = Discriminator(), Discriminator()
    deepfillv2.assign_discriminator(as_is, weights)
    deepfillv2.assign_discriminator(turned, weights, channel_order="bgr")
    image = tf.random.stateless_uniform([1, 64, 64, 3], [0, 2], -1, 1)
    mask = tf.ones([1, 64, 64, 1])
    bgr = as_is(tf.concat([image[..., ::-1], mask], -1))
    np.testing.assert_allclose(turned(tf.concat([image, mask], -1)), bgr, atol=1e-4)


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


def test_an_optimisers_values_are_ignored_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    slots = {f"{name}/Adam_1": array for name, array in small_weights().items()}
    with caplog.at_level(logging.WARNING, logger="absl"):
        network = SubGenerator(8, (2, 4, 8))
        deepfillv2.assign_generator(network, {**small_weights(), **slots}, strict=True)
    assert not caplog.text


def full_small_weights() -> dict[str, np.ndarray]:
    """Of a whole generator of width 8."""
    network = SubGenerator(8, (2, 4, 8, 16))
    shapes = {k: v.shape for k, v in deepfillv2.generator_variables(network).items()}
    rng = np.random.default_rng(1)
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def test_the_checkpoint_tells_the_width(tmp_path: Path) -> None:
    weights = full_small_weights()
    write_tf1_checkpoint(tmp_path / "snap-0", weights)
    checkpoint = deepfillv2.find_checkpoint(tmp_path / "snap-0")
    config = deepfillv2.model_config(checkpoint)
    assert (config.width, config.levels, config.dilation) == (8, (256,), "standard")
    (generator,) = deepfillv2.load(checkpoint, "rgb").sub_generators
    loaded = deepfillv2.generator_variables(generator)
    assert set(loaded) == set(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_all_that_does_not_fit_is_named_in_one_message(tmp_path: Path) -> None:
    weights = full_small_weights()
    weights["inpaint_net/conv3/bias"] = weights.pop("inpaint_net/xconv3/bias")[:5]
    weights["inpaint_net/conv99/bias"] = np.zeros(2, np.float32)
    write_tf1_checkpoint(tmp_path / "snap-0", weights)
    with pytest.raises(RuleError) as caught:
        deepfillv2.load(deepfillv2.find_checkpoint(tmp_path / "snap-0"))
    assert str(caught.value) == (
        f"{tmp_path / 'snap-0'} must hold the network's weights; missing: inpaint_net/xconv3/bias; "
        "inpaint_net/conv3/bias must have shape (16,), got (5,); "
        "without a place in the network: inpaint_net/conv99/bias"
    )


def test_a_checkpoint_of_something_else_is_refused_in_a_message_to_read(tmp_path: Path) -> None:
    write_tf1_checkpoint(tmp_path / "snap-0", {"resnet/conv1/kernel": np.zeros(4)})
    message = r"missing: inpaint_net/allconv11/bias, .* and 74 more$"
    with pytest.raises(RuleError, match=message):
        deepfillv2.load(deepfillv2.find_checkpoint(tmp_path / "snap-0"))


def test_a_checkpoint_is_found_by_its_prefix_its_files_or_its_folder(tmp_path: Path) -> None:
    prefix = tmp_path / "release=1" / "model.ckpt-5"
    write_tf1_checkpoint(prefix, {"x": np.zeros(1)})
    files = [path for path in prefix.parent.iterdir() if path.name != "checkpoint"]
    assert {path.suffix for path in files} == {".index", ".meta", ".data-00000-of-00001"}
    for path in (prefix, prefix.parent, *files):
        assert deepfillv2.find_checkpoint(path).prefix == prefix
    # An archive may come without TensorFlow's note, or with the paths of another machine in it.
    note = prefix.parent / "checkpoint"
    note.write_text('model_checkpoint_path: "/elsewhere/model.ckpt-5"')
    assert deepfillv2.find_checkpoint(prefix.parent).prefix == prefix
    write_tf1_checkpoint(tmp_path / "elsewhere" / "model.ckpt-5", {"x": np.zeros(1)})
    note.write_text(f'model_checkpoint_path: "{tmp_path}/elsewhere/model.ckpt-5"')
    assert deepfillv2.find_checkpoint(prefix.parent).prefix == prefix
    note.unlink()
    assert deepfillv2.find_checkpoint(prefix.parent).prefix == prefix


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"snap-9 is not a TensorFlow .*snap-9.index is mis"):
        deepfillv2.find_checkpoint(tmp_path / "snap-9")
    with pytest.raises(RunFolderError, match=r"must hold one TensorFlow .* got none; name one"):
        deepfillv2.find_checkpoint(tmp_path)
    for name in ("snap-1", "snap-2"):
        (tmp_path / f"{name}.index").touch()
    with pytest.raises(RunFolderError, match="got snap-1, snap-2; name one, as"):
        deepfillv2.find_checkpoint(tmp_path)
    with pytest.raises(RunFolderError, match="snap-1 is damaged"):
        deepfillv2.load(deepfillv2.find_checkpoint(tmp_path / "snap-1"))


def test_data_that_were_cut_off_are_told_of(tmp_path: Path) -> None:
    write_tf1_checkpoint(tmp_path / "snap-0", full_small_weights())
    (data,) = tmp_path.glob("*.data-*")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(RunFolderError, match="snap-0 is damaged"):
        deepfillv2.load(deepfillv2.find_checkpoint(tmp_path / "snap-0"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("deepfillv2:a/snap-0", ("a/snap-0", "bgr")),
        ("deepfillv2_rgb:a:b", ("a:b", "rgb")),
        ("deepfillv2", None),
        ("runs/deepfillv2:x", None),
    ],
)
def test_a_source_names_a_path_and_the_order_of_its_colours(
    source: str, expected: tuple[str, str] | None
) -> None:
    assert deepfillv2.split_source(source) == expected


def test_a_source_without_a_path_is_refused() -> None:
    with pytest.raises(RuleError, match="deepfillv2_rgb: must be followed by a path"):
        deepfillv2.split_source("deepfillv2_rgb:")


def test_refuses_an_unknown_channel_order() -> None:
    with pytest.raises(ValueError, match="channel_order must be one of rgb, bgr, got 'gbr'"):
        deepfillv2.assign_generator(SubGenerator(8), small_weights(), channel_order="gbr")
