"""`pgi import-deepfillv2`: a checkpoint of the reference becomes a run like any other."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from PIL import Image

import pgi
from pgi import deepfillv2, deepfillv2_import
from pgi.__main__ import main
from pgi.errors import RunFolderError
from pgi.evaluation.methods import Case, DeepFillv2, Trained
from pgi.inference import PyramidInpainter
from pgi.models import Discriminator, PyramidGenerator, SubGenerator
from pgi.training import checkpoints, initial_weights, loop
from pgi.training.reading import FileSource
from pgi.training.run_folder import Checkpoint, RunFolder
from tests.reference import golden, reference_weights, write_frozen_graph, write_tf1_checkpoint

NUMBERS = golden("deepfillv2_generator")
JUDGED = golden("deepfillv2_discriminator")
PHOTOGRAPHS = Path(skimage.data.__file__).parent


@pytest.fixture(scope="module")
def generator() -> dict[str, np.ndarray]:
    return reference_weights("generator", int(NUMBERS["seed"]))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, generator: dict[str, np.ndarray]) -> Path:
    """A folder as of a training by the reference's own program."""
    slots = {f"{k}/Adam": np.ones_like(v) for k, v in generator.items() if k.endswith("bias")}
    weights = generator | reference_weights("discriminator", int(JUDGED["seed"])) | slots
    folder = tmp_path_factory.mktemp("release")
    write_tf1_checkpoint(folder / "snap-0", {**weights, "global_step": np.asarray(7)})
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, release: Path) -> dict[str, Path]:
    """The same checkpoint imported as weights of BGR, by default, and of RGB images."""
    folder = tmp_path_factory.mktemp("runs")
    found = {"bgr": folder / "bgr", "rgb": folder / "rgb"}
    assert main(["import-deepfillv2", str(release), "--output", str(found["bgr"])]) == 0
    named = str(release / "snap-0.data-00000-of-00001")
    assert main(["import-deepfillv2", named, "--rgb", "--output", str(found["rgb"])]) == 0
    return found


def small_weights(discriminator: bool = False) -> dict[str, np.ndarray]:
    """Of width 8."""
    variables = deepfillv2.generator_variables(SubGenerator(8, (2, 4, 8, 16)))
    if discriminator:
        variables |= deepfillv2.discriminator_variables(Discriminator(2))
    rng = np.random.default_rng(1)
    return {k: 0.3 * rng.standard_normal(v.shape).astype(np.float32) for k, v in variables.items()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("small") / "snap-3"
    write_tf1_checkpoint(prefix, small_weights())
    return prefix


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Path:
    """Without a discriminator."""
    run = tmp_path_factory.mktemp("runs") / "small"
    assert main(["import-deepfillv2", str(small), "--output", str(run)]) == 0
    return run


def loaded(run: Path) -> PyramidInpainter:
    inpainter = pgi.load(run)
    assert isinstance(inpainter, PyramidInpainter)
    return inpainter


def weights(run: Path) -> list[np.ndarray]:
    return [x for network in loaded(run).model.sub_generators for x in network.get_weights()]


@pytest.mark.parametrize(("order", "step"), [("rgb", 1), ("bgr", -1)])
def test_the_run_completes_images_as_the_reference_does(
    runs: dict[str, Path], order: str, step: int
) -> None:
    """What the reference did to the numbers' images, the run does to them in its own order."""
    inpainter = loaded(runs[order])
    assert inpainter.warning is None and inpainter.model.levels == (256,)
    masked = tf.constant((NUMBERS["image"] * (1 - NUMBERS["mask"]))[..., ::step])
    (output,) = inpainter.model(((masked,), (tf.constant(NUMBERS["mask"]),)))
    np.testing.assert_allclose(output.completed, NUMBERS["completed"][..., ::step], atol=1e-4)
    np.testing.assert_allclose(output.coarse, NUMBERS["stage1"][..., ::step], atol=1e-4)


def test_the_discriminator_judges_as_the_references_does(runs: dict[str, Path]) -> None:
    model, _ = checkpoints.load_model(Checkpoint.find(runs["rgb"]), discriminators=True)
    scores = model.discriminators[0](tf.constant(JUDGED["input"].astype(np.float32)), training=True)
    np.testing.assert_allclose(scores, JUDGED["output_step1"], atol=1e-4)


def test_files_are_filled_by_the_weights_in_their_own_order_of_colours(
    runs: dict[str, Path], generator: dict[str, np.ndarray], tmp_path: Path
) -> None:
    photograph = skimage.data.astronaut()[100:164, 200:296]
    hole = NUMBERS["mask"][0, ..., 0] > 0.5
    Image.fromarray(np.where(hole, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    results = {}
    for order, image in {"rgb": photograph, "bgr": photograph[..., ::-1]}.items():
        Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / f"{order}.png")
        command = [
            "inpaint",
            "--model",
            str(runs[order]),
            "--images",
            str(tmp_path / f"{order}.png"),
        ]
        output = tmp_path / f"filled_{order}.png"
        assert main([*command, "--masks", str(tmp_path / "mask.png"), "--output", str(output)]) == 0
        results[order] = np.asarray(Image.open(output))
        np.testing.assert_array_equal(results[order][~hole], image[~hole])
    network = SubGenerator(dilation_rates=(2, 4, 8, 16))
    deepfillv2.assign_generator(network, generator)
    pixels = photograph[None].astype(np.float32) / 127.5 - 1
    expected = network(tf.constant(pixels * ~hole[..., None]), NUMBERS["mask"]).completed[0]
    # A value in the middle between two may be rounded to either.
    in_pixels = np.asarray((np.clip(expected, -1, 1) + 1) * 127.5)
    np.testing.assert_allclose(results["rgb"][hole], in_pixels[hole], atol=0.5 + 0.02)
    np.testing.assert_allclose(results["bgr"][..., ::-1], results["rgb"], atol=1)
    swapped = loaded(runs["bgr"])(photograph, hole)
    assert np.abs(swapped.astype(int) - results["rgb"])[hole].max() > 10


def test_a_frozen_graph_gives_the_same_run(tmp_path: Path, small: Path) -> None:
    """Also below a scope, as graphs that were imported into others have them."""
    arrays = small_weights()
    write_frozen_graph(tmp_path / "frozen.pb", arrays)
    write_frozen_graph(tmp_path / "scoped.pb", {f"import/{k}": v for k, v in arrays.items()})
    write_tf1_checkpoint(tmp_path / "a" / "snap-1", {f"a/b/{k}": v for k, v in arrays.items()})
    for number, source in enumerate([small, *tmp_path.glob("*.pb"), tmp_path / "a"]):
        output = tmp_path / "runs" / str(number)
        assert main(["import-deepfillv2", str(source), "--output", str(output)]) == 0
    runs = [weights(tmp_path / "runs" / str(number)) for number in range(4)]
    assert len(runs[0]) == len(arrays)
    for run in runs[1:]:
        for a, b in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_was_found_is_said(
    tmp_path: Path, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = small_weights(discriminator=True)
    spare = {"global_step": np.asarray(3), "vgg/conv1/kernel": np.zeros(3)}
    slots = {f"{name}/Adam_1": x for name, x in arrays.items()}
    slots |= {f"training/{name}/m": x for name, x in arrays.items()}
    averages = {"inpaint_net/conv1/bias/ExponentialMovingAverage": np.zeros(8)}
    write_tf1_checkpoint(tmp_path / "snap-0", {**arrays, **spare, **slots, **averages})
    assert main(["import-deepfillv2", str(tmp_path), "--output", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[:3] == [
        "generator: imported, width 8, trained on BGR images, converted to RGB",
        "discriminator: imported, width 2",
        "not used: global_step, inpaint_net/conv1/bias/ExponentialMovingAverage, vgg/conv1/kernel",
    ]
    assert not shown.err
    config = RunFolder(tmp_path / "run").read_config()
    assert (config.name, config.model.discriminator_width) == ("run", 2)
    assert (config.model.dilation, config.model.fusion) == ("standard", "none")


def test_a_discriminator_that_does_not_fit_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = small_weights(discriminator=True)
    scope = "discriminator/sn_patch_gan"
    arrays[f"{scope}/conv2/bias"] = np.zeros(3, np.float32)
    arrays[f"{scope}/conv7/bias"] = arrays.pop(f"{scope}/conv6/bias")
    write_tf1_checkpoint(tmp_path / "snap-0", arrays)
    assert main(["import-deepfillv2", str(tmp_path), "--output", str(tmp_path / "run")]) == 0
    assert (
        f"discriminator: left out, since it does not fit; missing: {scope}/conv6/bias; "
        f"{scope}/conv2/bias must have shape (4,), got (3,); "
        f"without a place in the network: {scope}/conv7/bias\n"
    ) in capsys.readouterr().out
    parts = checkpoints.parts_of(Checkpoint.find(tmp_path / "run"))
    assert {"sub_generators"} <= parts and "discriminators" not in parts


def _rename(arrays: dict[str, np.ndarray]) -> None:
    arrays["inpaint_net/conv99/bias"] = arrays.pop("inpaint_net/conv3/bias")


def _cut(arrays: dict[str, np.ndarray]) -> None:
    arrays["inpaint_net/xconv3/bias"] = arrays["inpaint_net/xconv3/bias"][:5]


def _break(arrays: dict[str, np.ndarray]) -> None:
    arrays["inpaint_net/xconv3/bias"][2] = np.nan


@pytest.mark.parametrize("write", [write_tf1_checkpoint, write_frozen_graph])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename, "missing: inpaint_net/conv3/bias; without a place in the network: "
        "inpaint_net/conv99/bias"),
        (_cut, "inpaint_net/xconv3/bias must have shape (16,), got (5,)"),
        (_break, "must hold finite weights, got NaN or infinity in inpaint_net/xconv3/bias"),
        (dict.clear, "missing: inpaint_net/"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named_and_nothing_is_made(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path, dict[str, np.ndarray]], None],
    change: Callable[[dict[str, np.ndarray]], None],
    said: str,
) -> None:
    arrays = small_weights()
    change(arrays)
    source = tmp_path / ("frozen.pb" if write is write_frozen_graph else "snap-0")
    write(source, arrays or {"dense/kernel": np.ones(3, np.float32)})
    assert_refused([str(source), "--output", str(tmp_path / "runs" / "run")], said, capsys)
    assert not (tmp_path / "runs").exists()


def assert_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], status: int = 2
) -> None:
    """The program ends with one line."""
    capsys.readouterr()
    assert main(["import-deepfillv2", *arguments]) == status
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert len(lines) == 1 and said in lines[0] and not shown.out


def test_what_is_no_checkpoint_is_refused_by_name(
    tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tmp_path / "run")]
    (tmp_path / "noise.pb").write_bytes(b"\xff" * 100)
    write_frozen_graph(tmp_path / "other.pb", {"x": np.ones(3, np.float32)})
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    for file in small.parent.glob("snap-3.*"):
        (tmp_path / "half" / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for name, said in {
        "nowhere": "nowhere.index is missing",
        "nowhere.pb": "nowhere.pb is not a frozen graph: [Errno 2] No such file",
        "noise.pb": "noise.pb is not a frozen graph",
        "other.pb": "other.pb is not a frozen graph: it has no constant that is named as a weight",
        "empty": "must hold one TensorFlow checkpoint (snap-0.index and snap-0.data-*), got none",
        "half/snap-3": "snap-3 is damaged",
    }.items():
        assert_refused([str(tmp_path / name), *output], said, capsys)
    assert not (tmp_path / "run").exists()


def test_an_output_that_exists_is_left_as_it_is(
    tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("folder", "file", "link"):
        arguments = [str(small), "--output", str(tmp_path / name)]
        assert_refused(arguments, f"{name} exists already", capsys)
    assert not list((tmp_path / "folder").iterdir()) and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing of the import is left behind"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "run: No space left on device"),
    ],
)
def test_an_import_that_ends_early_leaves_nothing(
    tmp_path: Path,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
) -> None:
    """It ends after the checkpoint, before the model card."""

    def card(checkpoint: Checkpoint, name: str) -> str:
        assert checkpoint.damage() is None and os.listdir(tmp_path)
        raise error

    monkeypatch.setattr(deepfillv2_import, "model_card", card)
    assert_refused([str(small), "--output", str(tmp_path / "run")], said, capsys, status)
    assert os.listdir(tmp_path) == []


def test_sigterm_leaves_nothing_either(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def card(*_: Any) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("unreachable")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(deepfillv2_import, "model_card", card)
    with pytest.raises(SystemExit) as ended:
        main(["import-deepfillv2", str(small), "--output", str(tmp_path / "run")])
    assert ended.value.code == 143 and os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_card_names_licence_files_and_order_of_colours(
    runs: dict[str, Path], release: Path
) -> None:
    for order, run in runs.items():
        card = (run / "MODEL_CARD.md").read_text()
        assert card.startswith(f"# {order}\n") and "CC BY-NC 4.0" in card
        assert f"trained on {order.upper()} images" in card
        for name in ("snap-0.index", "snap-0.data-00000-of-00001"):
            assert f"| `{name}` | `{sha256((release / name).read_bytes()).hexdigest()}` |" in card
        assert Checkpoint.find(run).sha256 in card and "generator and discriminator" in card
        assert "samples" not in card and "steps only" not in card
        assert json.loads((run / "config.json").read_bytes())["imported"]["channel_order"] == order


@pytest.mark.slow
def test_an_export_has_the_licence_in_its_card(small_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow_serving", reason="needs the extra [serving]")
    output = tmp_path / "served"
    assert main(["export", "--run", str(small_run), "--output", str(output)]) == 0
    card = (output / "1" / "MODEL_CARD.md").read_text()
    assert card.startswith("# served\n") and "CC BY-NC 4.0" in card
    assert "| `snap-3.index` | `" in card and "trained on BGR images" in card
    assert "generators only" in card and "images in a request" in card
    image, hole = skimage.data.astronaut()[:40, 200:264], np.zeros([40, 64], bool)
    hole[8:20, 10:30] = True
    np.testing.assert_allclose(
        pgi.load(output)(image, hole), loaded(small_run)(image, hole), atol=1
    )


def test_evaluation_measures_it_as_the_checkpoint_itself(small_run: Path, small: Path) -> None:
    ours, theirs = Trained(small_run), DeepFillv2(small)
    assert (ours.name, ours.kind, ours.side) == ("small", theirs.kind, 256)
    assert ours.run["config"] == theirs.run["config"]
    hole = np.zeros([64, 64], bool)
    hole[16:40, 20:50] = True
    case = Case("", "", skimage.data.astronaut()[:64, 200:264], hole)
    np.testing.assert_array_equal(ours.fill(case), theirs.fill(case))


def test_training_does_not_continue_in_it_but_starts_from_it(
    small_run: Path, tmp_path: Path
) -> None:
    config = RunFolder(small_run).read_config()
    photographs = FileSource([PHOTOGRAPHS / "astronaut.png"])
    before = sorted((x.name, x.stat().st_mtime_ns) for x in small_run.glob("*/*"))
    with pytest.raises(RunFolderError, match=r"without optimisers.*train\.initial_weights="):
        loop.train(config, photographs, photographs, small_run)
    assert sorted((x.name, x.stat().st_mtime_ns) for x in small_run.glob("*/*")) == before
    model = PyramidGenerator((128, 256), 8, "standard", "image", discriminator_width=4)
    model.build_networks()
    fresh = model.discriminators[1].get_weights()
    report = initial_weights.load(model, str(small_run))
    assert "level 1 (256 px): weights of its sub-generator; its discriminator keeps its" in report
    for a, b in zip(model.sub_generators[1].get_weights(), weights(small_run), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(model.discriminators[1].get_weights(), fresh):
        np.testing.assert_array_equal(a, b)
