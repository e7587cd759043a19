"""The hole is filled as by the whole image's run, without computing the whole image."""

from __future__ import annotations

import collections
import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pgi.images import pyramids
from pgi.inference.restricted import RestrictedPyramid
from pgi.models import PyramidGenerator
from pgi.models.blocks import run
from pgi.rules import FUSIONS

# Rounding in another order, on values in [-1, 1].
CLOSE = 5e-5
LEFT_TOP, ACROSS, APART = "left top", "across the right edge", "apart"
HOLES = {
    LEFT_TOP: [(0, 0, 9, 30)],
    ACROSS: [(100, 380, 30, 40)],
    APART: [(5, 10, 20, 20), (600, 20, 12, 12), (300, 360, 24, 20), (631, 377, 9, 7)],
    "none": [],
    "one pixel": [(333, 111, 1, 1)],
    "nearly all": [(0, 0, 639, 384)],
}


def example(kind: str, height: int = 640, width: int = 384) -> tuple[tf.Tensor, tf.Tensor]:
    mask = np.zeros([1, height, width, 1], np.float32)
    for top, left, high, wide in HOLES[kind]:
        mask[:, top : top + high, left : left + wide] = 1
    image = np.random.default_rng(len(kind)).uniform(-1, 1, [1, height, width, 3])
    return tf.constant(image, tf.float32), tf.constant(mask)


@functools.cache
def networks(**options: Any) -> tuple[PyramidGenerator, Any]:
    """A pyramid that does not dampen its signal, and its restricted run."""
    tf.keras.utils.set_random_seed(1)
    options = {"levels": (8, 16), "width": 4, "kernel_initializer": "gated_he", **options}
    pyramid = PyramidGenerator(**options)
    pyramid.build_networks()
    signature = [tf.TensorSpec([1, None, None, 3]), tf.TensorSpec([1, None, None, 1])]
    restricted = RestrictedPyramid(pyramid)

    def run(image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return restricted(image, mask, max_side=64)[-1]

    return pyramid, tf.function(run, input_signature=signature, autograph=False)


def whole(pyramid: PyramidGenerator, image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    return pyramid(pyramids(image, mask, len(pyramid.levels)))[-1].completed


@pytest.mark.parametrize("kind", HOLES)
@pytest.mark.parametrize("dilation", ["adaptive", "standard"])
def test_the_same_as_the_whole_images_run(dilation: str, kind: str) -> None:
    pyramid, restricted = networks(dilation=dilation)
    image, mask = example(kind)
    expected = whole(pyramid, image, mask)
    np.testing.assert_allclose(restricted(image, mask), expected, atol=CLOSE)
    if HOLES[kind]:  # The example could see an error: fills differ from pixel to pixel.
        assert np.std(expected.numpy()[mask.numpy()[..., 0] > 0]) > 100 * CLOSE


@pytest.mark.parametrize("seed", range(6))
def test_the_same_over_random_holes(seed: int) -> None:
    pyramid, restricted = networks(dilation="adaptive")
    rng = np.random.default_rng(seed)
    height, width = 16 * rng.integers(1, 40, 2)
    mask = np.zeros([1, height, width, 1], np.float32)
    for _ in range(rng.integers(1, 6)):
        top, left = rng.integers(height), rng.integers(width)
        mask[:, top : top + rng.integers(1, 50), left : left + rng.integers(1, 50)] = 1
    image = tf.constant(rng.uniform(-1, 1, [1, height, width, 3]), tf.float32)
    expected = whole(pyramid, image, tf.constant(mask))
    np.testing.assert_allclose(restricted(image, mask), expected, atol=CLOSE)


@pytest.mark.parametrize(
    "options", [{"fusion": fusion} for fusion in FUSIONS] + [{"drop_coarse": True}]
)
def test_the_same_under_every_fusion(options: dict[str, Any]) -> None:
    pyramid, _ = networks(**options)  # Not its graph: tracing takes longer than running.
    image, mask = example(APART)
    filled = RestrictedPyramid(pyramid)(image, mask, max_side=64)[-1]
    np.testing.assert_allclose(filled, whole(pyramid, image, mask), atol=CLOSE)


def test_what_lies_under_the_mask_changes_nothing() -> None:
    _, restricted = networks(dilation="adaptive")
    image, mask = example(APART)
    hidden = tf.where(mask > 0.5, tf.ones_like(image), image)
    filled, other = restricted(image, mask), restricted(hidden, mask)
    np.testing.assert_array_equal(filled[mask[..., 0] > 0.5], other[mask[..., 0] > 0.5])


def test_in_half_precision_too() -> None:
    image, mask = example(LEFT_TOP, 192, 160)
    pyramid, restricted = networks(dilation="adaptive")
    exact = restricted(image, mask)
    half, restricted_half = networks(dilation="adaptive", precision="mixed_bfloat16")
    for ours, theirs in zip(half.generator_variables, pyramid.generator_variables):
        ours.assign(theirs)
    hole = mask[..., 0] > 0.5
    difference = tf.abs(restricted_half(image, mask) - exact)[hole]
    # bfloat16 knows eight bits, and some thirty layers round one after another.
    assert 0 < tf.reduce_mean(difference) < 0.05


@pytest.mark.parametrize("in_graph", [False, True])
def test_more_levels_are_a_deeper_pyramid_with_the_highest_sub_generator_again(
    in_graph: bool,
) -> None:
    options: dict[str, Any] = {"width": 4, "dilation": "standard", "kernel_initializer": "gated_he"}
    deeper, _ = networks(levels=(8, 16, 32, 64), **options)
    pyramid, _ = networks(levels=(8, 16), **options)
    sources = [pyramid.sub_generators[min(level, 1)] for level in range(4)]
    for ours, theirs in zip(deeper.sub_generators, sources):
        ours.set_weights(theirs.get_weights())
    image, mask = example(APART)
    restricted = RestrictedPyramid(pyramid)
    if in_graph:
        signature = [tf.TensorSpec([1, None, None, n]) for n in (3, 1)] + [
            tf.TensorSpec([], tf.int32)
        ]
        run = tf.function(restricted, input_signature=signature, autograph=False)
        (filled,) = run(image, mask, tf.constant(2))
    else:
        levels = restricted(image, mask, 2)
        assert [level.shape[1] for level in levels] == [80, 160, 320, 640]
        filled = levels[-1]
    expected = whole(deeper, image, mask)
    np.testing.assert_allclose(filled, expected, atol=CLOSE)
    hole = mask.numpy()[..., 0] > 0
    assert np.abs(whole(pyramid, image, mask) - expected)[hole].mean() > 100 * CLOSE


def test_the_networks_see_what_the_hole_needs_and_no_more(monkeypatch: Any) -> None:
    pyramid, _ = networks(dilation="adaptive")
    top: Any = pyramid.sub_generators[-1]
    image, mask = example(ACROSS, 640, 416)  # A hole of 30 by 36 at the border.
    whole = 640 * 416
    pixels: dict[str, list[int]] = collections.defaultdict(list)

    def count(kind: str, network: Any, name: str, scale: int = 1) -> None:
        original = getattr(network, name)

        def counted(x: tf.Tensor, *others: tf.Tensor) -> Any:
            pixels[kind].append(scale * x.shape[1] * x.shape[2])
            return original(x, *others)

        monkeypatch.setattr(network, name, counted)

    count("coarse", top.coarse, "features")
    count("coarse decoder", top.coarse, "decode", scale=16)
    count("convolution", top.refine, "convolution_features")
    count("decoder", top.refine, "merge", scale=16)
    count("encoder", top.refine.attention_encoder[0], "call")
    RestrictedPyramid(pyramid)(image, mask, max_side=1024)
    reach = top.coarse.features_reach + 4 * top.coarse.decoder.reach
    assert len(pixels["coarse"]) == 1 and pixels["coarse"][0] <= (46 + 2 * reach) * (52 + reach)
    assert sum(pixels["coarse decoder"]) < whole / 15
    assert pixels["coarse"][0] < whole / 4 and sum(pixels["convolution"]) < whole / 4
    assert sum(pixels["decoder"]) < whole / 15
    assert pixels["encoder"] == [whole]


def influence(network: Any, channels: int, scale: float, side: int) -> int:
    """How many rows of the input, above and below an output row's own, that row depends on.

    `scale` is how many rows of the output there are to a row of the input.
    """
    x = tf.random.stateless_normal([1, side, 16, channels], [0, 0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        output = network(x)
        row = output.shape[1] // 2
        # Not from its mean: where a kernel has signs, terms could cancel.
        result = tf.reduce_sum(output[0, row, 8 if scale >= 1 else 2] ** 2)
    rows = np.flatnonzero(np.abs(tape.gradient(result, x)).max(axis=(0, 2, 3)))
    first, last = int(row / scale), int((row + 1) / scale - 1)
    return max(first - rows.min(), rows.max() - last)


@pytest.mark.parametrize("dilation", ["adaptive", "standard"])
def test_reaches_are_how_far_a_pixel_has_influence(dilation: str) -> None:
    level: Any = networks(dilation=dilation)[0].sub_generators[-1]
    coarse, refine = level.coarse, level.refine
    cases = [
        (
            lambda x: coarse.features(x, tf.ones_like(x[..., :1])),
            3,
            0.25,
            512,
            coarse.features_reach,
        ),
        (coarse.decode, 8, 4.0, 64, coarse.decoder.reach),
        (refine.convolution_features, 3, 0.25, 512, refine.convolution_reach),
        (lambda x: run(refine.attention_encoder, x), 3, 0.25, 96, refine.attention_encoder_reach),
        (lambda x: refine.merge(x, x), 8, 4.0, 64, refine.merge_reach),
    ]
    for network, channels, scale, side, reach in cases:
        measured = influence(network, channels, scale, side)
        # Strides reach one step less far to one side, and halving rounds up.
        assert reach - 8 <= measured <= reach
