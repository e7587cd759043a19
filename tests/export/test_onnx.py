"""An ONNX file gives the inpainter's pixels in another runtime; a wrong one is never kept."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pgi.errors import ExportError
from pgi.export import onnx as exporting
from pgi.export.onnx import export_onnx
from pgi.export.portable import portable_function
from pgi.inference import PyramidInpainter
from pgi.models import PyramidGenerator
from pgi.training import assembly
from tests.tiny_run import CONFIG

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")

Fill = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def model() -> PyramidGenerator:
    return assembly.make_model(CONFIG)


@pytest.fixture(scope="module")
def file(model: PyramidGenerator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of attention in so many tiles that every size loops, under a policy that must not matter."""
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    attention = sys.modules["pgi.layers.contextual_attention"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_MAX_BYTES", 2.0**14)
        patch.setattr(attention, "_MAX_BYTES_PER_KEY", 1.0)
        before = tf.keras.mixed_precision.global_policy()
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        try:
            assert export_onnx(model, path).largest <= 1e-4
        finally:
            tf.keras.mixed_precision.set_global_policy(before)
        yield path


@pytest.fixture(scope="module")
def fill(file: Path) -> Fill:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inputs = {"image": image[None], "mask": mask[None, :, :, None]}
        completed, result = session.run(["completed", "result"], inputs)
        return completed[0], result[0]

    return run


@pytest.fixture(scope="module")
def inpainter(model: PyramidGenerator) -> PyramidInpainter:
    return PyramidInpainter(model)


@pytest.fixture(scope="module")
def function(model: PyramidGenerator) -> tf.types.experimental.GenericFunction:
    return portable_function(model)


@pytest.fixture
def converted(
    inpainter: PyramidInpainter,
    function: tf.types.experimental.GenericFunction,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[bytes], None]:
    """Puts what tf2onnx is to have made in the place of another conversion of many seconds."""
    monkeypatch.setattr("pgi.export.portable.PyramidInpainter", lambda model: inpainter)
    monkeypatch.setattr(exporting, "portable_function", lambda model: function)
    return lambda content: monkeypatch.setattr(exporting, "_convert", lambda function: content)


def example(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height)
    image = rng.integers(0, 256, [height, width, 3], np.uint8)
    mask = np.zeros([height, width], np.uint8)
    mask[height // 4 : height // 2 + 1, width // 3 : width // 2 + 1] = 255
    mask[-1, -1] = 0
    return image, mask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width"), [(48, 64), (2, 1), (1, 2), (5, 3), (33, 65), (16, 17), (96, 80)]
)
def test_any_size_gives_what_the_inpainter_gives(
    inpainter: PyramidInpainter,
    function: tf.types.experimental.GenericFunction,
    fill: Fill,
    height: int,
    width: int,
) -> None:
    image, mask = example(height, width)
    completed, result = fill(image, mask)
    expected = inpainter(image, mask)
    hole = mask > 127
    assert result.dtype == np.uint8 and completed.dtype == np.float32
    assert abs(result.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(result[~hole], image[~hole])
    whole = function(image[None], mask[None, :, :, None])["completed"][0]
    np.testing.assert_allclose(completed, whole, atol=1e-4)


@pytest.mark.slow
def test_every_value_of_a_known_pixel_comes_back(fill: Fill) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.stack([values, values.T, values[::-1]], axis=-1)
    mask = np.zeros([16, 16], np.uint8)
    np.testing.assert_array_equal(fill(image, mask)[1], image)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [0, 255])
def test_what_lies_under_the_mask_changes_nothing(fill: Fill, hidden: int) -> None:
    image, mask = example(33, 50)
    other = image.copy()
    other[mask > 127] = hidden
    for ours, theirs in zip(fill(other, mask), fill(image, mask)):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_127_is_known_and_128_is_hole(fill: Fill) -> None:
    image, mask = example(40, 24)
    grey = np.where(mask > 127, np.uint8(128), np.uint8(127))
    for ours, theirs in zip(fill(image, grey), fill(image, mask)):
        np.testing.assert_array_equal(ours, theirs)
    result = fill(image, grey)[1]
    assert (result[mask > 127] != image[mask > 127]).any()


@pytest.mark.slow
def test_the_file_names_what_it_takes_and_gives(file: Path) -> None:
    graph = onnx.load(file).graph
    shapes = {
        value.name: [x.dim_param or x.dim_value for x in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    colours, grey = [1, "height", "width", 3], [1, "height", "width", 1]
    assert shapes == {"image": colours, "mask": grey, "completed": colours, "result": colours}


def last_weights_off(file: Path) -> bytes:
    graph = onnx.load(file)
    # Of the layers that give colours, of which one gives the result.
    weights = [x for x in graph.graph.initializer if len(x.dims) == 4 and x.dims[0] == 3]
    assert weights
    for weight in weights:
        values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    return graph.SerializeToString()


@pytest.mark.slow
def test_a_graph_with_other_weights_is_not_kept(
    model: PyramidGenerator, file: Path, tmp_path: Path, converted: Callable[[bytes], None]
) -> None:
    converted(last_weights_off(file))
    with pytest.raises(ExportError, match=r"at 16 x 16, completed differs by 0\.\d+ .*nothing"):
        export_onnx(model, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_graph_that_paints_known_pixels_is_not_kept(
    model: PyramidGenerator, file: Path, tmp_path: Path, converted: Callable[[bytes], None]
) -> None:
    graph = onnx.load(file)
    (output,) = [x for x in graph.graph.node if "result" in x.output]
    output.output[0] = "unpainted"
    one = onnx.numpy_helper.from_array(np.ones([], np.uint8), "one")
    graph.graph.initializer.append(one)
    graph.graph.node.append(onnx.helper.make_node("Max", ["unpainted", "one"], ["result"]))
    converted(graph.SerializeToString())
    with pytest.raises(ExportError, match="result differs by 1 of 255 outside the hole"):
        export_onnx(model, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_graph_of_fixed_size_is_not_kept(
    model: PyramidGenerator, file: Path, tmp_path: Path, converted: Callable[[bytes], None]
) -> None:
    graph = onnx.load(file)
    for value in graph.graph.input:
        value.type.tensor_type.shape.dim[1].dim_value = 16
    converted(graph.SerializeToString())
    with pytest.raises(ExportError, match="cannot run it at 9 x 19; nothing was written"):
        export_onnx(model, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_invalid_graph_leaves_the_file_that_was_there(
    model: PyramidGenerator, file: Path, tmp_path: Path, converted: Callable[[bytes], None]
) -> None:
    path = tmp_path / "kept.onnx"
    path.write_bytes(b"older")
    graph = onnx.load(file)
    # What tf2onnx leaves of an op that it does not know.
    graph.graph.node[-1].op_type = "SpaceToBatchND"
    converted(graph.SerializeToString())
    with pytest.raises(ExportError, match=r"invalid graph; nothing was written: .*SpaceToBatchND"):
        export_onnx(model, path)
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_converter_that_fails_is_reported_in_a_line(
    model: PyramidGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(function: object) -> bytes:
        logging.error("noise")
        raise RuntimeError("no such op:\n  Sort")

    monkeypatch.setattr(exporting, "_convert", fail)
    with pytest.raises(ExportError, match=r"cannot convert this model; .*: no such op: Sort$"):
        export_onnx(model, tmp_path / "none.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "tf2onnx"])
def test_a_missing_package_names_the_extra(
    model: PyramidGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExportError, match=r'extra \[onnx\]: pip install .* "\.\[onnx\]"'):
        export_onnx(model, tmp_path / "none.onnx")


def test_a_folder_in_the_files_place_is_refused_at_once(
    model: PyramidGenerator, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="is a folder"):
        export_onnx(model, tmp_path)
    with pytest.raises(ExportError, match="is not a folder to write it into"):
        export_onnx(model, tmp_path / "none" / "it")
