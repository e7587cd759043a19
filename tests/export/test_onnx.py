"""An ONNX file gives the inpainter's pixels in another runtime; a wrong one is never kept."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import tensorflow as tf

from pgi.errors import ExportError
from pgi.export import agreement
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

# The module is a value here, so its classes are no types.
GraphProto: TypeAlias = Any
NodeProto: TypeAlias = Any
TensorProto: TypeAlias = Any

Fill = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def model() -> PyramidGenerator:
    """With biases, as a trained one has."""
    model = assembly.make_model(CONFIG)
    rng = np.random.default_rng(0)
    for variable in model.generator_variables:
        if "bias" in variable.name:
            variable.assign(rng.normal(scale=0.1, size=variable.shape))
    return model


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
            found = export_onnx(model, path).found
            assert 0 < found.mean <= found.most <= 0.01
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


@pytest.fixture(scope="module")
def expected(model: PyramidGenerator) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return agreement.reference(model)


@pytest.fixture
def converted(
    expected: Callable[[np.ndarray, np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], None]:
    """Puts what tf2onnx is to have made in the place of another conversion of many seconds."""
    monkeypatch.setattr(agreement, "reference", lambda model: expected)
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


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and the bodies of its loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def only_node(graph: GraphProto, op: str, layer: str = "") -> NodeProto:
    """The one node of this op in a layer, whose name is a regular expression."""
    nodes = (x for part in graphs(graph) for x in part.node if x.op_type == op)
    (node,) = [x for x in nodes if re.search(layer, x.name)]
    return node


def convolution(graph: GraphProto, layer: str) -> NodeProto:
    """The convolution of a layer, for a gated one that of its features."""
    return only_node(graph, "Conv", f"{layer}/(Conv2D|BiasAdd)$")


def set_attributes(node: NodeProto, **values: object) -> None:
    for attribute in [x for x in node.attribute if x.name in values]:
        node.attribute.remove(attribute)
    node.attribute.extend(onnx.helper.make_attribute(*item) for item in values.items())


def constants(graph: GraphProto) -> Iterator[tuple[TensorProto, np.ndarray]]:
    for part in graphs(graph):
        for constant in part.initializer:
            yield constant, onnx.numpy_helper.to_array(constant)


def change_weights(
    graph: GraphProto, layer: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    name = convolution(graph, layer).input[1]
    ((weights, values),) = [x for x in constants(graph) if x[0].name == name]
    weights.CopyFrom(onnx.numpy_helper.from_array(change(values), name))


def change_number(graph: GraphProto, old: float, new: float) -> None:
    numbers = [
        x for x, value in constants(graph) if value.dtype == np.float32 and np.all(value == old)
    ]
    assert numbers
    for number in numbers:
        values = np.full(number.dims, new, np.float32)
        number.CopyFrom(onnx.numpy_helper.from_array(values, number.name))


UPPER = "sub_generator_1/refine/"


def other_dilation(graph: GraphProto) -> None:
    node = convolution(graph, f"{UPPER}xconv8_atrous")
    set_attributes(node, dilations=[3, 3], pads=[3, 3, 3, 3])


def other_activation(graph: GraphProto) -> None:
    only_node(graph, "Elu", f"{UPPER}pmconv9").op_type = "Relu"


def other_softmax_scale(graph: GraphProto) -> None:
    change_number(graph, 10.0, 9.0)


def other_softmax_axis(graph: GraphProto) -> None:
    for part in graphs(graph):
        for node in part.node:
            if node.op_type == "Softmax":
                set_attributes(node, axis=0)


def aligned_corners(graph: GraphProto) -> None:
    node = only_node(graph, "Resize")
    set_attributes(node, coordinate_transformation_mode="align_corners")


def other_nearest_pixels(graph: GraphProto) -> None:
    change_number(graph, 0.5, 0.0)


def swapped_channels(graph: GraphProto) -> None:
    change_weights(graph, f"{UPPER}xconv3", lambda x: x[:, [1, 0]])


def dropped_bias(graph: GraphProto) -> None:
    node = convolution(graph, f"{UPPER}xconv5")
    assert len(node.input) == 3
    node.input.pop()


def other_padding(graph: GraphProto) -> None:
    node = convolution(graph, f"{UPPER}xconv2_downsample")
    set_attributes(node, auto_pad="SAME_LOWER")


def last_weights_off(graph: GraphProto) -> None:
    # Keras numbers the decoders of a process.
    change_weights(graph, f"{UPPER}decoder_\\d+/allconv17", lambda x: x * np.float32(1.001))


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutate",
    [
        other_dilation,
        other_activation,
        other_softmax_scale,
        other_softmax_axis,
        aligned_corners,
        other_nearest_pixels,
        swapped_channels,
        dropped_bias,
        other_padding,
        last_weights_off,
    ],
)
def test_a_graph_with_one_wrong_op_is_not_kept(
    model: PyramidGenerator,
    file: Path,
    tmp_path: Path,
    converted: Callable[[bytes], None],
    mutate: Callable[[GraphProto], None],
) -> None:
    graph = onnx.load(file)
    mutate(graph.graph)
    converted(graph.SerializeToString())
    with pytest.raises(ExportError, match=r"differ from TensorFlow's in the hole by .*nothing was"):
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
        value.type.tensor_type.shape.dim[1].dim_value = 64
    converted(graph.SerializeToString())
    with pytest.raises(ExportError, match="cannot run it at 33 x 67; nothing was written"):
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
