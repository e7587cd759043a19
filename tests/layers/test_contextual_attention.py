"""Contextual attention against golden numbers, and against its definition patch by patch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from experiments.literal_attention import literal_attention
from pgi.layers import contextual_attention
from pgi.layers.contextual_attention import PreparedAttention, attention_inputs
from pgi.layers.region import Region
from tests.reference import golden

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


# A bound in bytes under which images of 12 x 16 or 14 x 10 pixels take four to six tiles.
FEW_TILES = 42_000
# Tolerance of gradients, relative to the largest. Nine correlations of patches of 45 values, times
# the scale of 10, make logits of several hundred. float32 has these, and so the logarithms of the
# weights, to a few times 1e-5.
ROUNDING = 5e-5


def value_and_gradients(
    attend: Callable[..., tf.Tensor], foreground: tf.Tensor, background: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    weights = np.random.default_rng(1).standard_normal(foreground.shape)
    with tf.GradientTape() as tape:
        tape.watch([foreground, background])
        output = attend(foreground, background)
        total = tf.reduce_sum(output * tf.cast(weights, output.dtype))
    return output, tape.gradient(total, [foreground, background])


def check_against_literal(
    foreground: tf.Tensor, background: tf.Tensor, mask: np.ndarray, rate: int, **options: Any
) -> None:
    def attend(foreground: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
        return contextual_attention(foreground, background, tf.constant(mask), rate=rate, **options)

    def literal(foreground: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
        fuse = options.get("fuse", True)
        parts = zip(foreground, background, mask)
        return tf.stack([literal_attention(*part, rate, fuse=fuse) for part in parts])

    ours, gradients = value_and_gradients(attend, foreground, background)
    truth, expected = value_and_gradients(literal, foreground, background)
    np.testing.assert_allclose(ours, truth, atol=1e-5)
    for gradient, other in zip(gradients, expected):
        np.testing.assert_allclose(gradient, other, atol=ROUNDING * np.abs(other).max())


SIZES = [(12, 20, 2), (14, 10, 2), (9, 7, 1), (9, 12, 3), (2, 14, 2), (10, 2, 2), (2, 2, 2)]


@pytest.mark.parametrize("kind", ["none", "all", "corner", "edge", "each its own"])
@pytest.mark.parametrize(("height", "width", "rate"), SIZES)
def test_agrees_with_its_definition_in_value_and_gradient(
    kind: str, height: int, width: int, rate: int
) -> None:
    images = random_case(height, height, width)
    check_against_literal(*images, holes(kind, height, width), rate)


# `side` is in blocks: that of the tiles which the bound allows.
@pytest.mark.parametrize(
    ("side", "height", "width", "rate"),
    [
        (1, 8, 6, 2),
        (1, 5, 4, 1),
        (1, 10, 2, 2),
        (2, 9, 12, 3),
        (2, 14, 10, 2),
        (3, 12, 20, 2),
        (3, 2, 14, 2),
        (3, 9, 7, 1),
    ],
)
def test_tile_by_tile_agrees_with_its_definition_too(
    side: int, height: int, width: int, rate: int
) -> None:
    images = random_case(height, height, width)
    keys = (height // rate) * (width // rate)
    bound = 4 * keys * 6 * (side + 3) ** 2 + 1
    mask = holes("each its own", height, width)
    check_against_literal(*images, mask, rate, max_bytes=bound)


def test_gradients_in_a_graph_of_unknown_sizes_too() -> None:
    images = random_case(11, 14, 10)
    mask = tf.constant(holes("each its own", 14, 10))

    def run(foreground: tf.Tensor, background: tf.Tensor, mask: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([foreground, background])
            output = contextual_attention(foreground, background, mask, max_bytes=FEW_TILES)
            total = tf.reduce_sum(output**2)
        return tape.gradient(total, [foreground, background])

    features, holed = tf.TensorSpec([None, None, None, 5]), tf.TensorSpec([None, None, None, 1])
    graph = tf.function(run, input_signature=[features, features, holed])
    for unknown, known in zip(graph(*images, mask), run(*images, mask)):
        np.testing.assert_allclose(unknown, known, atol=ROUNDING * np.abs(known).max())


def test_without_the_fuse_passes() -> None:
    images = random_case(7, 12, 16)
    check_against_literal(*images, holes("corner", 12, 16), 2, fuse=False, max_bytes=FEW_TILES)


@pytest.mark.parametrize("rate", [1, 2, 3])
def test_a_region_is_that_part_of_the_whole(rate: int) -> None:
    height, width = 6 * rate, 8 * rate
    images = random_case(8, height, width)
    foreground, background, mask = (x[0] for x in (*images, holes("corner", height, width)))
    inputs = attention_inputs(foreground, background, tf.constant(mask), rate=rate)
    attention = PreparedAttention(inputs, rate=rate)
    graph = tf.function(lambda *region: attention(Region(*region), max_bytes=20_000))
    whole = literal_attention(foreground, background, mask, rate).numpy()
    corners = [(0, 0, 1, 1), (0, 0, height, width), (height - 1, width - 2, 1, 2)]
    rng = np.random.default_rng(rate)
    for _ in range(9):
        (top, bottom), (left, right) = (
            np.sort(rng.choice(side + 1, 2, replace=False)) for side in (height, width)
        )
        corners.append((top, left, bottom - top, right - left))
    for top, left, high, wide in corners:
        part = graph(*(tf.constant(int(x)) for x in (top, left, high, wide)))
        np.testing.assert_allclose(part, whole[top : top + high, left : left + wide], atol=1e-5)


@pytest.mark.parametrize("gradient", [False, True])
def test_holds_no_more_of_the_scores_than_it_may(gradient: bool) -> None:
    # One channel, so that nothing else is large. All scores would be 10 MB.
    features, bound = tf.TensorSpec([1, 80, 80, 1]), 2**20

    @tf.function
    def attend(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = contextual_attention(x, x, max_bytes=bound)
        return tape.gradient(output, x) if gradient else output

    operations = all_operations(attend.get_concrete_function(features).graph)
    sizes = [tensor_bytes(x) for operation in operations for x in operation.outputs]
    # The bound is for six copies of a tile's together.
    assert bound / 12 < max(sizes) <= bound / 6
    # What a loop keeps of each of its rounds for the gradient.
    kept = [x.inputs[1] for x in operations if x.type == "TensorListPushBack"]
    assert all(tensor_bytes(x) < bound / 100 for x in kept)


def all_operations(graph: tf.Graph) -> list[tf.Operation]:
    """Operations of the graph and of the bodies of its loops."""
    operations = list(graph.get_operations())
    for function in graph._functions.values():
        operations += all_operations(function.graph)
    return operations


def tensor_bytes(x: tf.Tensor) -> int:
    known = x.dtype == tf.float32 and x.shape.is_fully_defined()
    return 4 * x.shape.num_elements() if known else 0


def test_compiles_with_xla_tile_by_tile() -> None:
    images = random_case(9, 12, 16)
    mask = tf.constant(holes("corner", 12, 16))

    def run(*images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        attend = functools.partial(contextual_attention, mask=mask, max_bytes=FEW_TILES)
        return value_and_gradients(attend, *images)

    ours, expected = tf.function(run, jit_compile=True)(*images), run(*images)
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(expected)):
        np.testing.assert_allclose(a, b, atol=ROUNDING * np.abs(b).max())


@pytest.mark.parametrize(("height", "width", "rate"), SIZES)
def test_both_literal_forms_of_pasting_agree(height: int, width: int, rate: int) -> None:
    """The oracle above and the benchmark's faster baseline."""
    foreground, background = random_case(5, height, width)
    convolution, product = (
        literal_attention(foreground[0], background[0], None, rate, paste=paste)
        for paste in ("convolution", "product")
    )
    np.testing.assert_allclose(product, convolution, atol=1e-12)


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
