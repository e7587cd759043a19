"""Contextual attention computes its definition: golden numbers, and patches extracted literally."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pgi.layers import contextual_attention
from tests.reference import golden, literal_attention

CASES = golden("contextual_attention")


def golden_case(index: int) -> tuple:
    mask = CASES.get(f"{index}_mask")
    arrays = [CASES[f"{index}_{name}"] for name in ("foreground", "background")]
    return (*arrays, mask, int(CASES[f"{index}_rate"]), CASES[f"{index}_output"])


@pytest.mark.parametrize("index", range(4))
def test_agrees_with_the_reference(index: int) -> None:
    foreground, background, mask, rate, expected = golden_case(index)
    output = contextual_attention(foreground, background, mask, rate=rate)
    np.testing.assert_allclose(output, expected, atol=1e-4)


@pytest.mark.parametrize("index", range(4))
def test_agrees_with_the_reference_in_a_graph_of_unknown_sizes(index: int) -> None:
    foreground, background, mask, rate, expected = golden_case(index)
    if mask is None:
        mask = np.zeros([1, *background.shape[1:3], 1], np.float32)
    features = tf.TensorSpec([None, None, None, foreground.shape[-1]])
    holes = tf.TensorSpec([None, None, None, 1])
    attend = tf.function(
        lambda f, b, m: contextual_attention(f, b, m, rate=rate),
        input_signature=[features, features, holes],
    )
    np.testing.assert_allclose(attend(foreground, background, mask), expected, atol=1e-4)


def random_case(seed: int, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal([2, 2, height, width, 5]).astype(np.float32)
    return tf.constant(features[0]), tf.constant(features[1])


def holes(kind: str, height: int, width: int) -> np.ndarray:
    mask = np.zeros([2, height, width, 1], np.float32)
    if kind == "all":
        mask[:] = 1
    elif kind == "corner":
        mask[:, : height // 2, : width // 3] = 1
    elif kind == "edge":
        mask[:, -3:, :] = 1
    elif kind == "each its own":
        mask[0, 2:7, 3:9] = 1
        mask[1, 0:4, :] = 1
    return mask


@pytest.mark.parametrize("kind", ["none", "all", "corner", "edge", "each its own"])
@pytest.mark.parametrize(
    ("height", "width", "rate"), [(12, 20, 2), (14, 10, 2), (9, 7, 1), (9, 12, 3)]
)
def test_agrees_with_its_definition_in_value_and_gradient(
    kind: str, height: int, width: int, rate: int
) -> None:
    foreground, background = random_case(height, height, width)
    mask = holes(kind, height, width)
    weights = tf.constant(np.random.default_rng(1).standard_normal(foreground.shape), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([foreground, background])
        ours = contextual_attention(foreground, background, tf.constant(mask), rate=rate)
        literal = tf.stack(
            [literal_attention(f, b, m, rate) for f, b, m in zip(foreground, background, mask)]
        )
        our_sum = tf.reduce_sum(ours * weights)
        literal_sum = tf.reduce_sum(literal * tf.cast(weights, tf.float64))
    np.testing.assert_allclose(ours, literal, atol=1e-5)
    inputs = [foreground, background]
    gradients, expected = tape.gradient(our_sum, inputs), tape.gradient(literal_sum, inputs)
    for gradient, truth in zip(gradients, expected):
        np.testing.assert_allclose(gradient, truth, atol=1e-5 * np.abs(truth).max())


def test_background_of_another_size_than_the_foreground() -> None:
    foreground, _ = random_case(3, 8, 12)
    background, _ = random_case(4, 16, 10)
    ours = contextual_attention(foreground, background)
    literal = [literal_attention(f, b, None, 2) for f, b in zip(foreground, background)]
    np.testing.assert_allclose(ours, literal, atol=1e-5)


def test_a_batch_gives_what_its_images_give_one_by_one() -> None:
    foreground, background = random_case(5, 12, 16)
    mask = tf.constant(holes("each its own", 12, 16))
    batch = contextual_attention(foreground, background, mask)
    for i in range(2):
        alone = contextual_attention(foreground[i : i + 1], background[i : i + 1], mask[i : i + 1])
        np.testing.assert_allclose(batch[i], alone[0], atol=1e-6)


def test_flat_features_have_a_finite_gradient() -> None:
    features = tf.zeros([1, 8, 8, 4])
    with tf.GradientTape() as tape:
        tape.watch(features)
        loss = tf.reduce_sum(contextual_attention(features, features) ** 2 + features)
    assert np.isfinite(tape.gradient(loss, features)).all()


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_precision_is_as_good_as_its_inputs_at_large_activations(dtype: tf.DType) -> None:
    foreground, background = (tf.cast(60.0 * x, dtype) for x in random_case(6, 16, 16))
    mask = holes("corner", 16, 16)
    output = contextual_attention(foreground, background, mask)
    assert output.dtype == dtype
    exact = [literal_attention(f, b, m, 2) for f, b, m in zip(foreground, background, mask)]
    unit = {tf.float16: 2.0**-11, tf.bfloat16: 2.0**-8}[dtype]
    np.testing.assert_allclose(tf.cast(output, tf.float64), exact, rtol=unit, atol=60 * 1e-4)


def test_refuses_sizes_that_the_rate_does_not_divide() -> None:
    with pytest.raises(ValueError, match=r"foreground must be multiples of rate=2, got \(7, 8\)"):
        contextual_attention(tf.zeros([1, 7, 8, 4]), tf.zeros([1, 8, 8, 4]))
