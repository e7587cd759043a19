"""Inference: time and memory by size, and the paper's ratio of times."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow import keras

from experiments.gpu_checks.common import Failed, Options, Values, median_seconds, peak_megabytes
from pgi.images import pyramids
from pgi.inference import PyramidInpainter
from pgi.models import PyramidGenerator, SubGenerator
from pgi.models.pyramid import STANDARD_RATES


def inference(side: int, options: Options, earlier: Mapping[str, Values]) -> Values:
    """An image of noise with a hole of a quarter; known pixels are unchanged."""
    keras.utils.set_random_seed(0)
    model = PyramidGenerator(width=options.config.model.width, discriminator_width=None)
    model.build_networks()
    inpaint = PyramidInpainter(model)
    image = np.random.default_rng(side).integers(0, 256, [side, side, 3], np.uint8)
    hole = np.zeros([side, side], bool)
    hole[side // 4 : side * 3 // 4, side // 4 : side * 3 // 4] = True
    results = []
    seconds = median_seconds(lambda: results.append(inpaint(image, hole)))
    if (results[-1] != image)[~hole].any():
        raise Failed("known pixels have changed")
    return {"ms": 1000 * seconds, "MB": peak_megabytes()}


def ratio(side: int, options: Options, earlier: Mapping[str, Values]) -> Values:
    """Times of whole images, as in Table 1 of the paper: 85 ms and 69 ms, a ratio of 1.23."""
    width = options.config.model.width
    pyramid = PyramidGenerator(width=width, discriminator_width=None)
    baseline = SubGenerator(width, STANDARD_RATES)
    image = tf.random.stateless_uniform([1, side, side, 3], [0, 1], -1, 1)
    mask = tf.pad(tf.ones([1, side // 2, side // 2, 1]), [[0, 0], *[[side // 4] * 2] * 2, [0, 0]])
    ours = tf.function(lambda: pyramid(pyramids(image, mask, len(pyramid.levels)))[-1].completed)
    theirs = tf.function(lambda: baseline(image, mask).completed)
    first = 1000 * median_seconds(lambda: ours().numpy())
    second = 1000 * median_seconds(lambda: theirs().numpy())
    return {"pyramid ms": first, "DeepFillv2 ms": second, "ratio": first / second, "paper": 85 / 69}
