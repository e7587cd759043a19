"""Training steps compiled by XLA: the same weights and logs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pgi.models import PyramidGenerator
from tests.models.test_pyramid import compiled, example, pyramid_model


def trained(jit_compile: bool, recompute: bool, accumulation_steps: int) -> tuple:
    """A model after two steps of `fit`, its logs, and those of `evaluate`."""
    model: PyramidGenerator = compiled(
        pyramid_model(levels=(16,), recompute=recompute),
        jit_compile=jit_compile,
        accumulation_steps=accumulation_steps,
    )
    dataset = tf.data.Dataset.from_tensors(example(levels=1, batch=2, side=16)).repeat(2)
    history = model.fit(dataset, verbose=0).history
    return model, history, model.evaluate(dataset, return_dict=True, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(False, 1), (True, 2)], ids=["plain", "saving memory"])
def test_compiled_steps_are_those_that_are_not(arguments: tuple[bool, int]) -> None:
    expected, expected_logs, expected_test = trained(False, *arguments)
    model, logs, test = trained(True, *arguments)
    for a, b in zip(model.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())
    assert set(logs) == set(expected_logs)
    for name, value in {**expected_logs, **expected_test}.items():
        found = {**logs, **test}[name]
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6, err_msg=name)
