"""What an export leaves on disk, and that other runtimes than this package run it."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorflow import keras

import pgi
from pgi import inference
from pgi.errors import ExportError, RuleError, RunFolderError
from pgi.export import saved_model
from pgi.export.limits import MAX_BATCH
from pgi.export.saved_model import export_saved_model
from pgi.inference import Inpainter
from pgi.training.run_folder import Checkpoint
from tests.tiny_run import write_run

pytest.importorskip("tensorflow_serving", reason="needs the extra [serving]")

import grpc
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

LIBRARIES = Path(tf.sysconfig.get_lib())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Checkpoint:
    path = tmp_path_factory.mktemp("runs") / "tiny"
    write_run(path)
    return Checkpoint.find(path)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Path:
    """Made under another policy than float32."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        return export_saved_model(checkpoint, tmp_path_factory.mktemp("export") / "tiny")
    finally:
        assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
        keras.mixed_precision.set_global_policy(before)


@pytest.fixture(scope="module")
def inpainter(checkpoint) -> Inpainter:
    return inference.load_checkpoint(checkpoint, "auto")


@pytest.fixture
def without_graph(monkeypatch) -> None:
    """For tests that do not need the SavedModel, which takes long to trace."""
    monkeypatch.setattr(saved_model, "save", lambda _, folder: folder.mkdir())


def example(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(height).integers(0, 256, [height, width, 3], np.uint8)
    mask = np.zeros([height, width], np.uint8)
    mask[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = 255
    return image, mask


def test_an_export_gives_what_the_run_gives_to_the_bit(inpainter, exported):
    loaded = pgi.load(exported)
    for size in ((48, 64), (33, 51), (128, 20)):
        np.testing.assert_array_equal(loaded(*example(*size)), inpainter(*example(*size)))


def test_the_newest_version_of_a_folder_is_loaded(inpainter, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "10")
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "saved_model.pb").write_bytes(b"damaged")
    (tmp_path / "11").mkdir()  # Such as a copy that has just begun.
    image, mask = example(20, 20)
    np.testing.assert_array_equal(pgi.load(tmp_path)(image, mask), inpainter(image, mask))


def test_an_export_shows_its_result_and_no_lower_levels(exported):
    loaded, (image, mask) = pgi.load(exported), example(20, 20)
    (only,) = loaded.completed_levels(image, mask)
    np.testing.assert_array_equal(only, loaded(image, mask))
    assert loaded.warning is None and loaded.origin == str(exported)


def test_a_damaged_export_is_one_message(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "1")
    (copy / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(RunFolderError, match="1 is not a SavedModel of pgi, or it is damaged"):
        pgi.load(copy)


def test_it_holds_the_generators_in_float32_and_no_op_of_python(inpainter, exported):
    saved = tf.saved_model.load(str(exported))
    variables = [*saved.signatures["predict"].variables]
    assert len(variables) == len(inpainter.model.generator_variables)
    assert {variable.dtype for variable in variables} == {tf.float32}
    graph = saved.signatures["serving_default"].graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    ops = {node.op for node in nodes}
    assert "DecodePng" in ops and not {op for op in ops if "Py" in op or "Addons" in op}


@pytest.mark.slow
def test_the_warm_up_requests_run_through_the_signatures(exported):
    saved = tf.saved_model.load(str(exported))
    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    seen = []
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == "tiny"
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        signature = saved.signatures[request.model_spec.signature_name]
        (result,) = signature(**{k: tf.constant(v) for k, v in inputs.items()}).values()
        seen.append((request.model_spec.signature_name, len(result)))
    assert seen == [("serving_default", 1), ("serving_default", 2), ("predict", 1)]


def test_the_servers_files_name_the_model_and_stay_as_they_are(
    checkpoint, exported, tmp_path, without_graph
):
    text = (exported.parent / "models.config").read_text()
    (model,) = text_format.Parse(
        text, model_server_config_pb2.ModelServerConfig()
    ).model_config_list.config
    assert (model.name, model.base_path) == ("tiny", "/models/tiny")
    base = shutil.copytree(exported.parent, tmp_path / "tiny")
    (base / "batching.config").write_text("mine")
    older = Checkpoint.find(checkpoint.run.checkpoints / "step-1")
    assert export_saved_model(older, base) == base / "2"
    assert (base / "batching.config").read_text() == "mine"
    assert "Steps: 1," in (base / "2" / "MODEL_CARD.md").read_text()


def test_the_server_s_batches_are_as_large_as_the_model_takes(exported):
    batching = (exported.parent / "batching.config").read_text()
    assert re.findall(r"^max_batch_size \{ value: (\d+) \}$", batching, re.M) == [str(MAX_BATCH)]


@pytest.mark.parametrize("max_megapixels", [0.0001, 0.0005, math.inf])
def test_the_export_s_own_examples_stay_within_its_limit(
    checkpoint, tmp_path, without_graph, max_megapixels
):
    folder = export_saved_model(checkpoint, tmp_path / "tiny", None, max_megapixels)
    extra = folder / "assets.extra"
    pixels = [np.load(extra / "image.npy")[0], np.load(extra / "mask.npy")[0]]
    records = tf.data.TFRecordDataset(str(extra / "tf_serving_warmup_requests"))
    for record in records.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        for value in map(tf.make_ndarray, request.inputs.values()):
            assert len(value) <= MAX_BATCH
            files = value.dtype == object
            pixels += [tf.io.decode_image(x).numpy() if files else x for x in value]
    assert len(pixels) == 2 + 2 + 4 + 2
    assert max(x.shape[0] * x.shape[1] for x in pixels) <= max_megapixels * 1e6
    # Every mask has a hole, and known pixels.
    assert all({*x.flat} == {0, 255} for x in pixels if x.shape[-1] == 1)


def test_a_limit_that_leaves_no_warm_up_is_refused(checkpoint, tmp_path):
    with pytest.raises(RuleError, match=r"max_megapixels must be at least 0\.0001.* got 9e-05"):
        export_saved_model(checkpoint, tmp_path / "tiny", None, 9e-5)
    assert not list(tmp_path.iterdir())


def test_the_card_says_of_what_it_was_made(exported):
    card = (exported / "MODEL_CARD.md").read_text()
    for words in ("`step-2`", "Steps: 2,", "`samples`", "Not recorded", "content is invented"):
        assert words in card


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("tiny", 0, "version must be a positive number, got 0"),
        ("tiny", 1, "version must be a new one, got 1: "),
        ("a b", None, "name must have letters, digits .* got 'a b'"),
    ],
)
def test_refuses_what_would_not_be_served(checkpoint, exported, tmp_path, name, version, message):
    base = shutil.copytree(exported.parent, tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ExportError, match=message):
        export_saved_model(checkpoint, base, version)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_export_leaves_nothing_and_no_version_is_seen_before_it_is_whole(
    checkpoint, tmp_path, monkeypatch, without_graph
):
    def fail(*_):
        assert not [x for x in (tmp_path / "tiny").iterdir() if x.name.isdecimal()]
        raise tf.errors.ResourceExhaustedError(None, None, "no space left on device")

    monkeypatch.setattr(np, "save", fail)  # Among the last files.
    with pytest.raises(ExportError, match=r"could not be written; .*no space left"):
        export_saved_model(checkpoint, tmp_path / "tiny")
    assert not list((tmp_path / "tiny").iterdir())


def test_an_export_that_another_overtakes_leaves_the_others(checkpoint, tmp_path, monkeypatch):
    other = tmp_path / "tiny" / "1" / "saved_model.pb"

    def overtake(_, folder):
        folder.mkdir()
        other.parent.mkdir()
        other.write_bytes(b"another's")

    monkeypatch.setattr(saved_model, "save", overtake)
    with pytest.raises(ExportError, match="version 1 could not be put in place"):
        export_saved_model(checkpoint, tmp_path / "tiny")
    assert other.read_bytes() == b"another's" and list(other.parent.iterdir()) == [other]
    assert not [x for x in other.parents[1].iterdir() if x.name.startswith(".")]


def test_a_missing_package_is_named(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ExportError, match=r'pip install .* "\.\[serving\]"'):
        export_saved_model(checkpoint, tmp_path / "tiny")
    assert not list(tmp_path.iterdir())


# Other runtimes


def write_example(folder: Path) -> tuple[Path, Path]:
    image, mask = example(45, 50)
    Image.fromarray(image).save(folder / "image.png")
    Image.fromarray(mask).save(folder / "mask.png")
    return folder / "image.png", folder / "mask.png"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_tensorflows_cpp_library_loads_and_runs_it(inpainter, exported, tmp_path):
    program, source = tmp_path / "serve", Path(__file__).with_name("serve.cc")
    subprocess.run(
        [
            *("g++", "-O0", str(source), "-o", str(program), "-Wl,--no-as-needed"),
            *tf.sysconfig.get_compile_flags(),
            *tf.sysconfig.get_link_flags(),
            *("-l:libtensorflow_cc.so.2", f"-Wl,-rpath,{LIBRARIES}"),
        ],
        check=True,
    )
    image, mask = write_example(tmp_path)
    command = [str(program), str(exported)]
    output = tmp_path / "filled.png"
    subprocess.run([*command, str(image), str(mask), str(output)], check=True)
    np.testing.assert_array_equal(np.asarray(Image.open(output)), inpainter(*example(45, 50)))
    failed = subprocess.run(
        [*command, str(source), str(mask), str(output)], capture_output=True, text=True
    )
    assert failed.returncode == 1 and "image_bytes[0] must be a PNG or JPEG" in failed.stderr


@pytest.mark.slow
def test_the_command_line_of_tensorflow_runs_it(inpainter, exported, tmp_path):
    program = [str(Path(sys.executable).with_name("saved_model_cli"))]
    place = ["--dir", str(exported), "--tag_set", "serve", "--signature_def", "predict"]
    extra = exported / "assets.extra"
    inputs = f"image={extra / 'image.npy'};mask={extra / 'mask.npy'}"
    subprocess.run(
        [*program, "run", *place, "--inputs", inputs, "--outdir", str(tmp_path)], check=True
    )
    image, mask = np.load(extra / "image.npy"), np.load(extra / "mask.npy")
    result = np.load(tmp_path / "image.npy")
    np.testing.assert_array_equal(result, inpainter(image, mask))


class StandIn(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers the client of docs/SERVING.md as TensorFlow Serving does."""

    def __init__(self, exported: Path) -> None:
        self.saved, self.name = tf.saved_model.load(str(exported)), exported.parent.name

    def Predict(self, request, context):
        assert request.model_spec.name == self.name
        signature = self.saved.signatures[request.model_spec.signature_name or "serving_default"]
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in signature(**inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response


@pytest.mark.slow
def test_the_documented_client_gets_its_hole_filled(inpainter, exported, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "SERVING.md").read_text()
    (client,) = (x for x in re.findall(r"```python\n(.*?)```", page, re.S) if "grpc" in x)
    base = tmp_path / "small_samples"
    server = grpc.server(ThreadPoolExecutor(1))
    add = prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server
    add(StandIn(shutil.copytree(exported, base / "1")), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    image, mask = write_example(tmp_path)
    image.rename(tmp_path / "cat.jpg")
    mask.rename(tmp_path / "hole.png")
    monkeypatch.chdir(tmp_path)
    try:
        exec(client.replace("localhost:8500", f"127.0.0.1:{port}"), {})
    finally:
        server.stop(None)
    result = np.asarray(Image.open("filled.png"))
    np.testing.assert_array_equal(result, inpainter(*example(45, 50)))


BARE = """
import sys, json, numpy as np, tensorflow as tf
assert not [x for x in sys.modules if x.startswith(("pgi", "tensorflow_addons"))]
saved = tf.saved_model.load(sys.argv[1])
files = [tf.constant([open(x, "rb").read()]) for x in sys.argv[2:4]]
png = saved.signatures["serving_default"](image_bytes=files[0], mask_bytes=files[1])
open(sys.argv[4], "wb").write(png["image_bytes"].numpy()[0])
print(tf.__version__)
"""


def run_bare(python: Path, exported: Path, folder: Path) -> tuple[str, np.ndarray]:
    output = folder / "filled.png"
    files = [str(x) for x in (exported, *write_example(folder), output)]
    # From another folder, where this package cannot be imported by its place.
    command = [str(python), "-c", BARE, *files]
    done = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip(), np.asarray(Image.open(output))


@pytest.mark.slow
def test_a_bare_tensorflow_runs_it_without_this_package(inpainter, exported, tmp_path):
    _, result = run_bare(Path(sys.executable), exported, tmp_path)
    np.testing.assert_array_equal(result, inpainter(*example(45, 50)))


@pytest.mark.network
def test_the_latest_tensorflow_runs_it(checkpoint, tmp_path):
    # Not of step 2, whose larger weights amplify float rounding.
    older = Checkpoint.find(checkpoint.run.checkpoints / "step-1")
    exported = export_saved_model(older, tmp_path / "tiny")
    venv.create(tmp_path / "latest", with_pip=True)
    python = tmp_path / "latest" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-U", "tensorflow-cpu"], check=True)
    version, result = run_bare(python, exported, tmp_path)
    assert tuple(map(int, version.split(".")[:2])) > (2, 15)
    image, mask = example(45, 50)
    assert abs(result.astype(int) - pgi.load(older.prefix)(image, mask)).max() <= 1
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
