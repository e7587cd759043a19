"""A TensorFlow Lite file gives the inpainter's pixels; a wrong one is never kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pgi.errors import ExportError, RuleError
from pgi.export import tflite as exporting
from pgi.export.portable import portable_function
from pgi.export.tflite import export_tflite, other_ops
from pgi.inference import PyramidInpainter
from pgi.models import PyramidGenerator
from pgi.training import assembly
from tests.tiny_run import CONFIG

HEIGHT, WIDTH = 39, 50

Fill = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def model() -> PyramidGenerator:
    return assembly.make_model(CONFIG)


@pytest.fixture(scope="module")
def file(model: PyramidGenerator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a size that is mirrored, and of attention in several tiles."""
    path = tmp_path_factory.mktemp("tflite") / "tiny.tflite"
    attention = sys.modules["pgi.layers.contextual_attention"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_MAX_BYTES", 2.0**14)
        patch.setattr(attention, "_MAX_BYTES_PER_KEY", 1.0)
        found = export_tflite(model, path, HEIGHT, WIDTH).found
        assert 0 < found.mean <= found.most <= 0.01
        yield path


@pytest.fixture(scope="module")
def fill(file: Path) -> Fill:
    signature = tf.lite.Interpreter(str(file)).get_signature_runner()

    def run(image: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        outputs = signature(image=image[None], mask=mask[None, :, :, None])
        return {name: value[0].copy() for name, value in outputs.items()}

    return run


def example() -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(7).integers(0, 256, [HEIGHT, WIDTH, 3], np.uint8)
    mask = np.zeros([HEIGHT, WIDTH], np.uint8)
    mask[8:21, 15:30] = 255
    mask[-3:, :4] = 255
    return image, mask


@pytest.mark.slow
def test_it_gives_what_the_inpainter_gives(model: PyramidGenerator, fill: Fill) -> None:
    image, mask = example()
    outputs = fill(image, mask)
    expected = PyramidInpainter(model)(image, mask)
    hole = mask > 127
    assert outputs["result"].dtype == np.uint8 and outputs["completed"].dtype == np.float32
    assert abs(outputs["result"].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(outputs["result"][~hole], image[~hole])
    np.testing.assert_allclose(outputs["completed"], expected / 127.5 - 1, atol=0.51 / 127.5)


@pytest.mark.slow
def test_every_value_of_a_known_pixel_comes_back(fill: Fill) -> None:
    image = (np.arange(HEIGHT * WIDTH * 3) % 256).astype(np.uint8).reshape(HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(fill(image, np.zeros([HEIGHT, WIDTH], np.uint8))["result"], image)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [0, 255])
def test_what_lies_under_the_mask_changes_nothing(fill: Fill, hidden: int) -> None:
    image, mask = example()
    other = image.copy()
    other[mask > 127] = hidden
    expected = fill(image, mask)
    for name, ours in fill(other, mask).items():
        np.testing.assert_array_equal(ours, expected[name])


@pytest.mark.slow
def test_127_is_known_and_128_is_hole(fill: Fill) -> None:
    image, mask = example()
    grey = np.where(mask > 127, np.uint8(128), np.uint8(127))
    ours, theirs = fill(image, grey), fill(image, mask)
    np.testing.assert_array_equal(ours["completed"], theirs["completed"])
    assert (ours["result"][mask > 127] != image[mask > 127]).any()


@pytest.mark.slow
def test_all_ops_are_built_in(file: Path) -> None:
    assert other_ops(file.read_bytes()) == []


def lent_op() -> bytes:
    """A file with an op that this package's interpreter runs and others' do not."""

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.uint8)])
    def lent(x: tf.Tensor) -> tf.Tensor:
        return x > 127

    converter = tf.lite.TFLiteConverter.from_concrete_functions([lent.get_concrete_function()])
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    return converter.convert()


@pytest.mark.slow
def test_a_file_that_needs_other_ops_is_not_kept(
    model: PyramidGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = lent_op()
    monkeypatch.setattr(exporting, "_convert", lambda *arguments: content)
    with pytest.raises(ExportError, match="no built-in op for FlexGreater; nothing was written"):
        export_tflite(model, tmp_path / "none.tflite", HEIGHT, WIDTH)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_file_of_other_weights_leaves_the_one_that_was_there(
    model: PyramidGenerator, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file.read_bytes()
    monkeypatch.setattr(exporting, "_convert", lambda *arguments: content)
    path = tmp_path / "kept.tflite"
    path.write_bytes(b"older")
    other = assembly.make_model(CONFIG)
    for ours, theirs in zip(other.generator_variables, model.generator_variables):
        ours.assign(theirs * 1.01)
    with pytest.raises(ExportError, match="TensorFlow Lite's results differ"):
        export_tflite(other, path, HEIGHT, WIDTH)
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


def other_dilation(model: PyramidGenerator, patch: pytest.MonkeyPatch) -> None:
    (layer, *_) = [x for x in model.submodules if x.name == "xconv8_atrous"]
    patch.setattr(layer, "dilation_rate", (3, 3))


def other_activation(model: PyramidGenerator, patch: pytest.MonkeyPatch) -> None:
    (layer, *_) = [x for x in model.submodules if x.name == "pmconv9"]
    patch.setattr(layer, "feature_activation", tf.nn.relu)


def other_softmax_scale(model: PyramidGenerator, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tf.nn, "softmax", lambda x: tf.math.softmax(0.9 * x))


def aligned_corners(model: PyramidGenerator, patch: pytest.MonkeyPatch) -> None:
    def double(x: tf.Tensor) -> tf.Tensor:
        sides = [2 * side for side in x.shape[1:3]]
        return tf.compat.v1.image.resize_bilinear(x, sides, align_corners=True)

    patch.setattr("pgi.models.sub_generator.double_bilinear", double)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutate", [other_dilation, other_activation, other_softmax_scale, aligned_corners]
)
def test_a_file_with_one_wrong_op_is_not_kept(
    model: PyramidGenerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutate: Callable[[PyramidGenerator, pytest.MonkeyPatch], None],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mutate(model, patch)
        content = exporting._convert(portable_function(model, HEIGHT, WIDTH), model)
    monkeypatch.setattr(exporting, "_convert", lambda *arguments: content)
    with pytest.raises(ExportError, match="TensorFlow Lite's results differ from"):
        export_tflite(model, tmp_path / "wrong.tflite", HEIGHT, WIDTH)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no flatbuffer of any kind"])
def test_a_damaged_file_is_not_kept(
    model: PyramidGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(exporting, "_convert", lambda *arguments: content)
    with pytest.raises(ExportError, match="nothing was written"):
        export_tflite(model, tmp_path / "none.tflite", HEIGHT, WIDTH)
    assert not list(tmp_path.iterdir())


def one_level() -> PyramidGenerator:
    model = PyramidGenerator((8,), width=4)
    model.build_networks()
    return model


@pytest.mark.slow
def test_a_model_that_cannot_be_converted_is_reported_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beyond(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.math.betainc(x, x, x), tf.uint8)

    monkeypatch.setattr("pgi.export.portable.to_uint8", beyond)
    with pytest.raises(ExportError, match=r"cannot convert this model; .*Betainc") as raised:
        export_tflite(one_level(), tmp_path / "none.tflite", 8, 8)
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("height", "width"), [(0, 16), (16, -1), (1, 1)])
def test_sizes_break_their_rules(
    model: PyramidGenerator, tmp_path: Path, height: int, width: int
) -> None:
    with pytest.raises(RuleError, match="must be"):
        export_tflite(model, tmp_path / "none.tflite", height, width)
