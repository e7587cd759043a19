"""Receptive fields of the coarse networks, by their gradients, against the ledger's table."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from pgi import images
from pgi.evaluation import mask_sets
from pgi.models.coarse import CoarseNetwork
from pgi.models.pyramid import dilation_rates

LEDGER = Path(__file__).parents[2] / "docs" / "REPRODUCTION.md"
LEVELS = (128, 256, 512)
ROWS = [f"| {level}" for level in range(len(LEVELS))]


@functools.cache
def field(rates: tuple[int, ...]) -> int:
    """Side of the input that a pixel of the coarse result depends on, in pixels."""
    keras.utils.set_random_seed(0)
    network = CoarseNetwork(width=4, dilation_rates=rates, kernel_initializer="gated_he")
    side, sides = 384, []
    image, mask = tf.random.normal([1, side, side, 3]), tf.zeros([1, side, side, 1])
    for phase in range(4):  # Two strides of 2.
        with tf.GradientTape() as tape:
            tape.watch(image)
            pixel = network(image, mask)[0][:, side // 2 + phase, side // 2 + phase]
        seen = np.abs(tape.gradient(pixel, image)[0]).sum(axis=-1) > 0
        rows = np.flatnonzero(seen.any(axis=1))
        sides.append(rows[-1] - rows[0] + 1)
    assert max(sides) < side - 8  # The image was large enough.
    return int(max(sides))


def test_the_ledgers_receptive_fields_are_those_of_the_networks() -> None:
    _, _, text = LEDGER.read_text().partition("### Receptive fields")
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:3] in ROWS]
    fields = [[field(x) for x in dilation_rates(kind, 3)] for kind in ("adaptive", "standard")]
    expected = []
    for level, side in enumerate(LEVELS):
        hole, row = side // 2, [str(level), str(side), str(side // 2)]
        for seen in (fields[0][level], fields[1][level]):
            row += [str(seen), f"{seen / hole:.2g}"]
        expected.append(row)
    assert table == expected


def test_a_centre_square_has_the_same_share_of_every_level() -> None:
    hole = mask_sets.draw("center", 1, LEVELS[-1], LEVELS[-1]).astype(np.float32)
    _, masks = images.pyramids(tf.zeros([1, LEVELS[-1], LEVELS[-1], 3]), tf.constant(hole), 3)
    assert [float(tf.reduce_mean(mask)) for mask in masks] == [0.25] * 3
