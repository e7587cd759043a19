"""Rounding alone passes, however much a network enlarges it; a single wrong op does not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
import tensorflow as tf

from pgi.errors import ExportError
from pgi.export import agreement, portable
from pgi.export.agreement import PHOTOGRAPHS, example, require_agreement
from pgi.export.portable import portable_function
from pgi.images import to_uint8
from pgi.inference import PyramidInpainter
from pgi.layers import patches, resize
from pgi.models import PyramidGenerator, sub_generator

SIZES = [(48, 64), (33, 67)]

Outputs = Mapping[str, np.ndarray]


def make_model(kernel_initializer: str = "gated_he", gain: float = 1.0) -> PyramidGenerator:
    tf.keras.utils.set_random_seed(0)
    model = PyramidGenerator(
        (8, 16), width=4, kernel_initializer=kernel_initializer, discriminator_width=None
    )
    model.build_networks()
    for variable in model.generator_variables:
        variable.assign(gain * variable)
    return model


def whole_image(model: PyramidGenerator) -> Callable[[np.ndarray, np.ndarray], Outputs]:
    """Another computation of the same, op by op, with sums in another order than an inpainter's."""
    function = portable_function(model).python_function

    def run(image: np.ndarray, mask: np.ndarray) -> Outputs:
        # Dilated convolutions in parts, as in training.
        with changed(portable, "frozen", lambda networks: contextlib.nullcontext()):
            outputs = function(tf.constant(image), tf.constant(mask))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


@pytest.fixture(scope="module")
def model() -> PyramidGenerator:
    return make_model()


@pytest.fixture
def traced(model: PyramidGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of one model: its reference is traced once."""
    if not hasattr(model, "reference_of_test"):
        model.reference_of_test = agreement.reference(model)
    monkeypatch.setattr(agreement, "reference", lambda model: model.reference_of_test)


@pytest.mark.slow
@pytest.mark.parametrize("kernel_initializer", ["gated_he", "glorot_uniform"])
def test_another_order_of_sums_passes(kernel_initializer: str) -> None:
    model = make_model(kernel_initializer)
    found, rounding = require_agreement(whole_image(model), model, SIZES, "Eager")
    assert 0 < found.mean <= found.most < 0.01
    assert 0 < rounding.mean <= rounding.most < 0.01


@pytest.mark.slow
def test_a_network_that_enlarges_rounding_passes() -> None:
    model = make_model(gain=1.15)
    found, rounding = require_agreement(whole_image(model), model, SIZES, "Eager")
    # A fixed bound of 1e-4 in [-1, 1] would refuse it.
    assert found.mean > 1e-4 * 127.5
    assert rounding.mean > found.mean / agreement.TIMES_ROUNDING


@pytest.mark.slow
def test_a_network_that_is_nothing_but_rounding_is_refused() -> None:
    """Every op could be wrong without being noticed."""
    model = make_model(gain=2.0)
    with pytest.raises(ExportError, match=r"mean\), of which 2 is allowed; .* make \d\d"):
        require_agreement(whole_image(model), model, SIZES[:1], "Eager")


def test_a_difference_that_can_be_seen_is_said() -> None:
    small, large = agreement.Differences(0.01, 0.1), agreement.Differences(0.2, 1.1)
    report = str(agreement.Agreement(small, large))
    assert "mean 0.01, 99.9 % within 0.1 (" in report and "mean 0.2, 99.9 % within 1.1)" in report
    assert "warning" not in report
    assert "warning: this network enlarges rounding" in str(agreement.Agreement(large, large))


@contextlib.contextmanager
def changed(target: object, name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, value)
        yield


def layer(model: PyramidGenerator, name: str) -> tf.keras.layers.Layer:
    (found,) = [x for x in model.sub_generators[-1].submodules if getattr(x, "name", "") == name]
    return found


def aligned_corners(x: tf.Tensor) -> tf.Tensor:
    sides = [2 * side for side in x.shape[1:3]]
    return tf.compat.v1.image.resize_bilinear(x, sides, align_corners=True)


def without_last_key(inputs: tf.Tensor) -> tf.Tensor:
    attention = tf.math.softmax(inputs)
    return tf.concat([attention[..., :-1], attention[..., -1:] * 0], axis=-1)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    "change",
    [
        lambda model: changed(layer(model, "xconv8_atrous"), "dilation_rate", (3, 3)),
        lambda model: changed(layer(model, "pmconv9"), "feature_activation", tf.nn.relu),
        lambda model: changed(layer(model, "pmconv6"), "feature_activation", tf.nn.elu),
        lambda model: changed(tf.nn, "softmax", lambda x: tf.math.softmax(0.9 * x)),
        lambda model: changed(tf.nn, "softmax", without_last_key),
        lambda model: changed(tf.nn, "avg_pool2d", tf.nn.max_pool2d),
        lambda model: changed(sub_generator, "double_bilinear", aligned_corners),
        lambda model: changed(resize, "_aligned_indices", lambda n, m: tf.range(m)),
        lambda model: changed(patches, "_NORM_FLOOR", 1.0),
    ],
    ids=[
        "dilation rate",
        "ReLU for ELU",
        "ELU for ReLU",
        "scale 9 for 10",
        "a key lost",
        "maximum for mean",
        "aligned corners",
        "nearest pixels",
        "floor of the norms",
    ],
)
def test_one_wrong_op_is_refused(
    model: PyramidGenerator, change: Callable[[PyramidGenerator], contextlib.AbstractContextManager]
) -> None:
    right = whole_image(model)

    def wrong(image: np.ndarray, mask: np.ndarray) -> Outputs:
        with change(model):
            return right(image, mask)

    with pytest.raises(ExportError, match=r"Wrong's results differ .* nothing was written"):
        require_agreement(wrong, model, SIZES, "Wrong")


def with_nan(outputs: Outputs) -> Outputs:
    completed, result = (outputs[name].copy() for name in ("completed", "result"))
    completed[:, 24, 32] = np.nan
    result[:, 24, 32] = to_uint8(completed[:, 24, 32])
    return {"completed": completed, "result": result}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_nan, "differ.* by nan of 255"),
        (lambda x: {**x, "result": x["result"] ^ 1}, "result differs by 1 of 255 outside the hole"),
        (lambda x: {**x, "result": x["result"][:, ::-1]}, "result differs by .* in the hole"),
        (lambda x: {**x, "result": x["result"][:, 1:]}, r"are \(1, 48, 64, 3\) and \(1, 47, 64"),
    ],
)
def test_outputs_that_contradict_each_other_are_refused(
    model: PyramidGenerator, change: Callable[[Outputs], Outputs], message: str
) -> None:
    right = whole_image(model)
    with pytest.raises(ExportError, match=message):
        require_agreement(lambda *x: change(right(*x)), model, SIZES[:1], "Wrong")


def test_an_interrupted_comparison_leaves_the_weights_as_they_were(
    model: PyramidGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [x.numpy() for x in model.generator_variables]
    largest: list[float] = []

    def completed(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        changes = [abs(x.numpy() - y) / abs(y + 1e-9) for x, y in zip(weights, before)]
        largest.append(max(x.max() for x in changes))
        if len(largest) == 3:
            raise KeyboardInterrupt
        return np.zeros([*hole.shape, 3], np.float32)

    weights = model.generator_variables
    monkeypatch.setattr(agreement, "reference", lambda model: completed)
    with pytest.raises(KeyboardInterrupt):
        require_agreement(whole_image(model), model, SIZES, "Once")
    # The right weights first, then some whose last bits differ.
    assert largest[0] == 0 and 2.0**-24 < min(largest[1:]) <= max(largest) <= 2.0**-22
    for variable, value in zip(weights, before):
        np.testing.assert_array_equal(variable, value)


def test_the_reference_is_an_inpainters_result(model: PyramidGenerator) -> None:
    (image,), mask = (x for x in example(PHOTOGRAPHS[0], 33, 67))
    completed = agreement.reference(model)(image, mask[0, :, :, 0] > 127)
    result = np.round((completed.astype(float) + 1) * 127.5)
    np.testing.assert_array_equal(result, PyramidInpainter(model)(image, mask[0]))


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize("size", [(1, 2), (2, 1), (3, 3), (1, 9), (16, 16), (33, 67), (256, 256)])
def test_an_example_has_known_pixels_and_a_hole(photograph: str, size: tuple[int, int]) -> None:
    image, mask = example(photograph, *size)
    assert image.shape == (1, *size, 3) and mask.shape == (1, *size, 1)
    share = (mask > 127).mean()
    assert 0 < share < 1
    if min(size) == 256:
        assert share < 0.25 and {127, 128} <= set(mask.flat)
