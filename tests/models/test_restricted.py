"""The hole is filled as by the whole image's run, without computing the whole image."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pgi.images import pyramids
from pgi.models import PyramidGenerator
from pgi.models.blocks import reach
from pgi.models.restricted import complete_holes
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
    run = functools.partial(complete_holes, pyramid, max_side=64)
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
    pyramid, restricted = networks(**options)
    image, mask = example(APART)
    expected = whole(pyramid, image, mask)
    np.testing.assert_allclose(restricted(image, mask), expected, atol=CLOSE)


def test_what_lies_under_the_mask_changes_nothing() -> None:
    _, restricted = networks(dilation="adaptive")
    image, mask = example(APART)
    hidden = tf.where(mask > 0.5, tf.ones_like(image), image)
    filled, other = restricted(image, mask), restricted(hidden, mask)
    np.testing.assert_array_equal(filled[mask[..., 0] > 0.5], other[mask[..., 0] > 0.5])


@pytest.mark.parametrize("rates", [(1,), (2, 4)])
def test_reach_is_how_far_a_pixel_has_influence(rates: tuple[int, ...]) -> None:
    layers = [tf.keras.layers.Conv2D(1, 5, padding="same", kernel_initializer="ones")]
    layers.append(tf.keras.layers.Conv2D(1, 3, 2, padding="same", kernel_initializer="ones"))
    for rate in rates:
        layers.append(
            tf.keras.layers.Conv2D(
                1, 3, padding="same", dilation_rate=rate, kernel_initializer="ones"
            )
        )
    x = tf.Variable(tf.ones([1, 128, 8, 1]))
    with tf.GradientTape() as tape:
        y = x
        for layer in layers:
            y = layer(y)
        result = y[0, 32, 2, 0]
    rows = np.flatnonzero(tape.gradient(result, x).numpy().any(axis=(0, 2, 3)))
    # The feature's own pixels are 64 and 65.
    assert 64 - rows.min() <= reach(layers) and rows.max() - 65 <= reach(layers)
    assert max(64 - rows.min(), rows.max() - 65) >= reach(layers) - 1
