"""What fills holes: classical baselines, folders of results, trained runs."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

import pgi
from pgi import deepfillv2, images
from pgi.errors import RuleError, RunFolderError
from pgi.evaluation.methods import Case, DeepFillv2, Outputs, Trained, classical
from pgi.models import SubGenerator
from pgi.training.run_folder import RunFolder
from tests.reference import write_tf1_checkpoint
from tests.tiny_run import CONFIG, write_run

IMAGE = data.astronaut()[:48, 200:256].copy()
HOLE = np.zeros([48, 56], bool)
HOLE[10:30, 20:45] = True
CASE = Case("mine_48/center", "0007", IMAGE, HOLE)


def test_classical_methods_keep_known_pixels_and_fill_from_them_alone():
    other = CASE._replace(image=np.where(HOLE[..., None], np.uint8(255) - IMAGE, IMAGE))
    for method in classical():
        filled = method.fill(CASE)
        assert filled.dtype == np.uint8 and method.kind == "classical"
        np.testing.assert_array_equal(filled[~HOLE], IMAGE[~HOLE])
        np.testing.assert_array_equal(method.fill(other), filled)
        assert not np.array_equal(filled, IMAGE)


def test_they_are_opencvs_two_and_the_known_pixels_mean_colour():
    telea, navier_stokes, mean = (method.fill(CASE) for method in classical())
    mask = HOLE.astype(np.uint8)
    np.testing.assert_array_equal(telea, cv2.inpaint(IMAGE, mask, 3, cv2.INPAINT_TELEA))
    np.testing.assert_array_equal(navier_stokes, cv2.inpaint(IMAGE, mask, 3, cv2.INPAINT_NS))
    colours = np.unique(mean[HOLE], axis=0)
    np.testing.assert_allclose(colours, [IMAGE[~HOLE].mean(axis=0)], atol=0.5)


def test_outputs_are_matched_by_place_and_name(tmp_path):
    place = tmp_path / "mine_48" / "center"
    place.mkdir(parents=True)
    result = np.random.default_rng(0).integers(0, 256, IMAGE.shape, np.uint8)
    Image.fromarray(result).save(place / "0007.png")
    Image.fromarray(result).save(place / "0008.jpg")
    method = Outputs("theirs", tmp_path)
    assert method.fill(CASE._replace(name="0008")).shape == IMAGE.shape
    np.testing.assert_array_equal(method.fill(CASE), result)
    assert method.covers("mine_48/center") and not method.covers("mine_48/freeform")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"results of theirs must be one image .*0007\.\*, got 0"),
        (b"no image", r"0007.png must be readable: no JPEG, PNG"),
        ((9, 8), r"0007.png must be of the crop's size \(48, 56\), got \(8, 9\)"),
    ],
)
def test_a_result_that_does_not_fit_is_named(content, message, tmp_path):
    path = tmp_path / "mine_48" / "center" / "0007.png"
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        Image.new("RGB", content).save(path)
    method = Outputs("theirs", tmp_path)
    with pytest.raises(RuleError, match=message):
        if method.covers("mine_48/center", ["0007"]):
            method.fill(CASE)


def test_a_missing_folder_of_results_is_named(tmp_path):
    with pytest.raises(RuleError, match=r"results of theirs must be in a folder, got .*none"):
        Outputs("theirs", tmp_path / "none")


@pytest.mark.usefixtures("eagerly")
def test_a_trained_run_fills_as_its_newest_checkpoint_does(tmp_path):
    write_run(tmp_path / "runs" / "mine")
    method = Trained(tmp_path / "runs" / "mine", title="Mine")
    # An evaluation runs the model's own levels, whatever the size.
    expected = pgi.load(tmp_path / "runs/mine", "paper")(IMAGE, HOLE)
    np.testing.assert_array_equal(method.fill(CASE), expected)
    assert not np.array_equal(expected, pgi.load(tmp_path / "runs/mine")(IMAGE, HOLE))
    assert (method.name, method.title, method.seed) == ("tiny", "Mine", 0)
    assert (method.run["folder"], method.run["checkpoint"]) == ("runs/mine", "step-2")

    levels = method.levels(CASE)
    assert [x.shape for x in levels] == [(24, 28, 3), (48, 56, 3)]
    assert abs(levels[1].astype(int) - method.fill(CASE)).max() <= 1
    raw = method.raw(CASE)
    assert not np.array_equal(raw[~HOLE], IMAGE[~HOLE])
    assert abs(raw[HOLE].astype(int) - method.fill(CASE)[HOLE]).max() <= 1


@pytest.mark.usefixtures("eagerly")
def test_a_deepfillv2_checkpoint_fills_as_a_network_with_its_weights_does(tmp_path):
    network = SubGenerator(8, (2, 4, 8, 16), kernel_initializer="gated_he")
    weights = {k: v.numpy() for k, v in deepfillv2.generator_variables(network).items()}
    prefix = tmp_path / "release" / "snap-0"
    write_tf1_checkpoint(prefix, weights)
    mask = HOLE[None, :, :, None].astype(np.float32)
    for order, step in (("bgr", -1), ("rgb", 1)):
        method = DeepFillv2(prefix, order)
        output = network(images.to_float(IMAGE[None, :, :, ::step]), mask)
        expected = images.to_uint8(output.completed).numpy()[0, :, :, ::step]
        assert abs(method.fill(CASE).astype(int) - expected).max() <= 1
        np.testing.assert_array_equal(method.fill(CASE)[~HOLE], IMAGE[~HOLE])
        (level,) = method.levels(CASE)
        np.testing.assert_array_equal(level, method.fill(CASE))
        raw = images.to_uint8(output.refined).numpy()[0, :, :, ::step]
        assert abs(method.raw(CASE).astype(int) - raw).max() <= 1
        assert method.run["config"]["channel_order"] == order
        assert method.run["config"]["model"]["width"] == 8
    assert (method.name, method.kind) == ("deepfillv2_tf1", "deepfillv2")
    assert (method.run["folder"], method.run["checkpoint"]) == (
        f"{tmp_path.name}/release",
        "snap-0",
    )
    assert json.loads(json.dumps(method.run)) == method.run  # As it is read from results again.
    prefix.with_name("snap-0.meta").unlink()  # A graph that nothing here reads.
    assert DeepFillv2(prefix, "rgb", "named").run == method.run
    assert DeepFillv2(prefix, "rgb", "named").title == "named"


def test_the_checkpoints_hash_is_of_all_its_files(tmp_path):
    write_run(tmp_path / "a")
    files = sorted((tmp_path / "a" / "checkpoints").glob("step-2.*"))
    content = b"".join(path.name.encode() + path.read_bytes() for path in files)
    whole = hashlib.sha256(content).hexdigest()
    assert len(files) == 2 and Trained(tmp_path / "a").run["sha256"] == whole


def test_a_run_that_diverged_or_has_no_checkpoint_says_so(tmp_path):
    run = RunFolder(tmp_path / "a")
    run.begin(CONFIG)
    with pytest.raises(RunFolderError, match="a holds no checkpoint yet"):
        Trained(tmp_path / "a")
    run.record_divergence(7, "level_1/l1 is nan")
    assert Trained(tmp_path / "a").diverged == {"step": 7, "reason": "level_1/l1 is nan"}
