"""Sub-generators: DeepFillv2's golden numbers, masks, and every kind of fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pgi import deepfillv2
from pgi.models import SubGenerator
from pgi.rules import FUSIONS
from tests.reference import golden, reference_weights

GOLDEN = golden("deepfillv2_generator")


@pytest.fixture(scope="module")
def reference() -> SubGenerator:
    sub_generator = SubGenerator(width=48, dilation_rates=(2, 4, 8, 16))
    deepfillv2.assign_generator(sub_generator, reference_weights("generator", int(GOLDEN["seed"])))
    return sub_generator


def masked_image() -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(GOLDEN["image"] * (1 - GOLDEN["mask"])), tf.constant(GOLDEN["mask"])


def test_outputs_are_the_references(reference: SubGenerator) -> None:
    output = reference(*masked_image())
    np.testing.assert_allclose(output.coarse, GOLDEN["stage1"], atol=1e-4)
    np.testing.assert_allclose(output.refined, GOLDEN["stage2"], atol=1e-4)
    np.testing.assert_allclose(output.completed, GOLDEN["completed"], atol=1e-4)


def test_outputs_are_the_references_in_a_graph_of_unknown_sizes(reference: SubGenerator) -> None:
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, None, 1])]
    graph = tf.function(lambda x, m: reference(x, m)[:3], input_signature=signature)
    coarse, refined, completed = graph(*masked_image())
    np.testing.assert_allclose(coarse, GOLDEN["stage1"], atol=1e-4)
    np.testing.assert_allclose(refined, GOLDEN["stage2"], atol=1e-4)
    np.testing.assert_allclose(completed, GOLDEN["completed"], atol=1e-4)


@pytest.mark.parametrize("graph", [False, True])
def test_gradients_are_the_references(reference: SubGenerator, graph: bool) -> None:
    targets = deepfillv2.generator_variables(reference)

    def gradients(masked_image: tf.Tensor, mask: tf.Tensor, image: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            output = reference(masked_image, mask)
            loss = tf.reduce_mean(tf.abs(image - output.coarse))
            loss += tf.reduce_mean(tf.abs(image - output.refined))
        return [loss, *tape.gradient(loss, list(targets.values()))]

    if graph:
        image, mask = tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, None, 1])
        gradients = tf.function(gradients, input_signature=[image, mask, image])
    loss, *values = gradients(*masked_image(), tf.constant(GOLDEN["image"]))
    by_name = dict(zip(targets, values))
    assert set(GOLDEN["grad_names"]) == set(targets)
    norms = [np.linalg.norm(by_name[name].numpy().ravel()) for name in GOLDEN["grad_names"]]
    np.testing.assert_allclose(loss, GOLDEN["ae_loss"], rtol=1e-6)
    np.testing.assert_allclose(norms, GOLDEN["grad_norms"], rtol=1e-3)
    for name, index, expected in (
        ("inpaint_net/conv1/kernel", ..., GOLDEN["grad_first_kernel"]),
        ("inpaint_net/pmconv6/kernel", np.s_[:, :, :4, :8], GOLDEN["grad_attention_kernel_slice"]),
    ):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(by_name[name].numpy()[index], expected, atol=1e-3 * scale)


def small(**kwargs: Any) -> SubGenerator:
    tf.keras.utils.set_random_seed(0)
    return SubGenerator(8, (2, 4), kernel_initializer="gated_he", **kwargs)


def example(size: int = 16, batch: int = 2) -> tuple[tf.Tensor, tf.Tensor]:
    image = tf.random.stateless_uniform([batch, size, size, 3], [0, size], -1, 1)
    mask = np.zeros([batch, size, size, 1], np.float32)
    for i in range(batch):
        mask[i, 2 + i : size // 2 + 3 * i, 3 : size // 2 + i] = 1
    return image, tf.constant(mask)


def test_a_batch_of_different_masks_gives_what_its_images_give_one_by_one() -> None:
    sub_generator = small()
    image, mask = example(batch=3)
    batch = sub_generator(image, mask)
    for i in range(3):
        alone = sub_generator(image[i : i + 1], mask[i : i + 1])
        np.testing.assert_allclose(batch.refined[i], alone.refined[0], atol=1e-6)
        np.testing.assert_allclose(batch.coarse[i], alone.coarse[0], atol=1e-6)


def test_what_lies_under_the_mask_changes_nothing() -> None:
    sub_generator = small()
    image, mask = example()
    output = sub_generator(image, mask)
    other = sub_generator(tf.where(mask > 0, np.float32(np.nan), image), mask)
    tf.nest.map_structure(np.testing.assert_array_equal, output, other)


def test_known_pixels_come_back_bit_identical() -> None:
    image, mask = example()
    completed = small()(image, mask).completed
    known = np.broadcast_to(mask, image.shape) == 0
    assert completed.numpy()[known].tobytes() == image.numpy()[known].tobytes()


def lower_and_upper(fusion: str, drop_coarse: bool = False) -> tuple:
    lower, upper = small(fusion=fusion), small(fusion=fusion, drop_coarse=drop_coarse)
    return lower, upper, lower(*example(8)), upper


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusion_lets_exactly_its_own_parts_see_the_level_below(fusion: str) -> None:
    _, _, lower, upper = lower_and_upper(fusion)
    image, mask = example(16)
    alone, fused = upper(image, mask), upper(image, mask, lower)

    def differs(a: tf.Tensor, b: tf.Tensor) -> bool:
        return not np.array_equal(a, b)

    seen = {
        "coarse": differs(alone.coarse, fused.coarse),
        "convolution": differs(
            alone.refine_features.convolution, fused.refine_features.convolution
        ),
        "attention": differs(alone.refine_features.attention, fused.refine_features.attention),
    }
    expected = {
        "image": {"convolution", "attention"},
        "image_attention": {"attention"},
        "image_convolution": {"convolution"},
        "feature_coarse": {"coarse", "convolution", "attention"},
        "feature_refine": {"convolution", "attention"},
        "none": set(),
    }[fusion]
    assert {part for part, changed in seen.items() if changed} == expected


def test_image_fusion_feeds_the_pasted_sum_to_the_refine_network() -> None:
    _, _, lower, upper = lower_and_upper("image")
    image, mask = example(16)
    fused = upper(image, mask, lower)
    total = fused.coarse + tf.image.resize(lower.completed, [16, 16])
    pasted = image * (1 - mask) + total * mask
    refined, _ = upper.refine(pasted, pasted, mask)
    np.testing.assert_allclose(fused.refined, refined, atol=1e-6)


def test_feature_fusion_adds_the_doubled_features_of_the_level_below() -> None:
    image, mask = example(16)
    _, _, lower, upper = lower_and_upper("feature_refine")
    alone, fused = upper(image, mask), upper(image, mask, lower)
    for path in ("convolution", "attention"):
        added = tf.image.resize(getattr(lower.refine_features, path), [4, 4])
        expected = getattr(alone.refine_features, path) + added
        np.testing.assert_allclose(getattr(fused.refine_features, path), expected, atol=1e-5)
    _, _, lower, upper = lower_and_upper("feature_coarse")
    alone, fused = upper(image, mask), upper(image, mask, lower)
    expected = alone.coarse_features + tf.image.resize(lower.coarse_features, [4, 4])
    np.testing.assert_allclose(fused.coarse_features, expected, atol=1e-5)


def test_a_dropped_coarse_network_leaves_the_level_below_in_its_place() -> None:
    _, _, lower, upper = lower_and_upper("image", drop_coarse=True)
    image, mask = example(16)
    output, upsampled = upper(image, mask, lower), tf.image.resize(lower.completed, [16, 16])
    np.testing.assert_allclose(output.coarse, upsampled)
    refined, _ = upper.refine(*[image * (1 - mask) + upsampled * mask] * 2, mask)
    np.testing.assert_allclose(output.refined, refined, atol=1e-6)
    assert upper.coarse is None
    assert len(upper.trainable_weights) == len(upper.refine.trainable_weights)
    with pytest.raises(ValueError, match="drop_coarse needs a level below"):
        upper(*example(16))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 6}, "width must be a positive multiple of 4, got 6"),
        (
            {"dilation_rates": ()},
            r"dilation_rates must be one or more rates of at least 1, got \(\)",
        ),
        ({"fusion": "sum"}, "fusion must be one of image, .* got 'sum'"),
        ({"fusion": "none", "drop_coarse": True}, 'fusion must be "image" under drop_coarse'),
        ({"kernel_initializer": "he"}, "kernel_initializer must be one of .* got 'he'"),
    ],
)
def test_refuses_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SubGenerator(**arguments)


def test_refuses_sizes_that_attention_cannot_halve() -> None:
    with pytest.raises(ValueError, match=r"multiples of 8, got \(20, 16\)"):
        small()(tf.zeros([1, 20, 16, 3]), tf.zeros([1, 20, 16, 1]))


def test_gated_he_keeps_the_energy_that_glorot_loses() -> None:
    image, mask = example(32)
    deviation = {}
    for kind in ("gated_he", "glorot_uniform"):
        tf.keras.utils.set_random_seed(0)
        output = SubGenerator(32, (2, 4, 8, 16), kernel_initializer=kind)(image, mask)
        deviation[kind] = float(tf.math.reduce_std(output.coarse))
    assert deviation["gated_he"] > 0.03
    assert deviation["glorot_uniform"] < 1e-6
