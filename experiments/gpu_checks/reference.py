"""DeepFillv2's golden numbers, with the tolerances of the tests, without TF32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from experiments.golden import GOLDEN, golden, reference_weights
from experiments.gpu_checks.common import (
    Options,
    Skipped,
    Values,
    at_most,
    gpu,
    largest_difference,
)
from pgi import deepfillv2
from pgi.layers import contextual_attention
from pgi.models import Discriminator, SubGenerator
from pgi.models.pyramid import STANDARD_RATES


def generator(options: Options, earlier: Mapping[str, Values]) -> Values:
    """Results within 1e-4, norms of the gradients within a thousandth, both without TF32."""
    expected = _golden("deepfillv2_generator")
    network = SubGenerator(width=48, dilation_rates=STANDARD_RATES)
    deepfillv2.assign_generator(network, reference_weights("generator", int(expected["seed"])))
    image, mask = (tf.constant(expected[x]) for x in ("image", "mask"))
    variables = deepfillv2.generator_variables(network)

    @tf.function
    def run() -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            output = network(image * (1 - mask), mask)
            loss = sum(tf.reduce_mean(tf.abs(image - x)) for x in (output.coarse, output.refined))
        gradients = tape.gradient(loss, [variables[name] for name in expected["grad_names"]])
        return [output.coarse, output.refined, output.completed], [tf.norm(x) for x in gradients]

    def difference() -> float:
        names = ("stage1", "stage2", "completed")
        return max(largest_difference(x, expected[name]) for x, name in zip(run()[0], names))

    tf.config.experimental.enable_tensor_float_32_execution(False)
    found = difference()
    of_gradients = largest_difference(np.divide(run()[1], expected["grad_norms"]), 1.0)
    tf.config.experimental.enable_tensor_float_32_execution(True)
    with_tf32 = {"with TF32": difference()} if gpu() else {}
    at_most("the difference", found, 1e-4)
    at_most("the gradients' difference", of_gradients, 1e-3)
    return {"difference": found, "of gradients": of_gradients, **with_tf32}


def discriminator(options: Options, earlier: Mapping[str, Values]) -> Values:
    """Scores of two calls within 1e-4; the second follows a power iteration."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    expected, network = _golden("deepfillv2_discriminator"), Discriminator()
    weights = reference_weights("discriminator", int(expected["seed"]))
    deepfillv2.assign_discriminator(network, weights)
    pixels = tf.constant(expected["input"].astype(np.float32))
    call = tf.function(lambda: network(pixels, training=True))
    found = max(largest_difference(call(), expected[f"output_step{n}"]) for n in (1, 2))
    at_most("the difference", found, 1e-4)
    return {"difference": found}


def attention(options: Options, earlier: Mapping[str, Values]) -> Values:
    """All cases within 1e-4."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    cases, found = _golden("contextual_attention"), 0.0
    for n in range(4):
        foreground, background = cases[f"{n}_foreground"], cases[f"{n}_background"]
        mask, rate = cases.get(f"{n}_mask"), int(cases[f"{n}_rate"])
        result = contextual_attention(foreground, background, mask, rate=rate)
        found = max(found, largest_difference(result, cases[f"{n}_output"]))
    at_most("the difference", found, 1e-4)
    return {"difference": found}


def _golden(name: str) -> dict[str, np.ndarray]:
    if not (GOLDEN / f"{name}.npz").exists():
        raise Skipped(f"tests/golden/{name}.npz is missing; run this in a whole clone")
    return golden(name)
