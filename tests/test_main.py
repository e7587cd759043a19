"""The program as its user meets it: arguments, messages, exit statuses."""

from __future__ import annotations

import configparser
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import pgi
from pgi import inference, weights
from pgi.__main__ import main, program
from pgi.errors import RuleError, RunFolderError
from pgi.export.weights_folder import Origin, export_weights
from pgi.training.run_folder import Checkpoint
from tests.files.picture_files import FILL, HOLE, NOISE, OPAQUE, decoded, encoded
from tests.tiny_run import CONFIG, write_run

ROOT = Path(__file__).parents[1]
COMMAND = ["inpaint", "--model", "run", "--images", "images", "--masks", "masks", "--output", "out"]


class Model:
    """In place of a trained one; records what was loaded and how often it was used."""

    origin = "run/checkpoints/step-7, moving average"
    warning = None

    def __init__(self):
        self.loaded, self.calls, self.error = [], 0, None

    def load(self, path, depth):
        self.loaded.append(path)
        self.depth = depth
        return self

    def completed_levels(self, image, mask):
        self.calls += 1
        if self.error is not None and self.calls == 2:
            raise self.error
        return [np.where(mask[..., None], FILL, 0).astype(np.uint8)]


@pytest.fixture
def model(tmp_path, monkeypatch) -> Model:
    """In a working folder with three images and their masks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    model = Model()
    monkeypatch.setattr(inference, "load", model.load)
    for name in ("a", "b", "c"):
        write(f"images/{name}.png", OPAQUE["RGB"])
        write(f"masks/{name}.png", encoded(Image.fromarray(HOLE)))
    return model


def write(name: str, content: bytes) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(content)


def test_a_folder_is_filled_and_the_program_says_with_which_weights(model, capsys):
    assert main(COMMAND) == 0
    shown = capsys.readouterr()
    assert (
        shown.out
        == "3 done, 0 skipped (exist; --overwrite replaces them), 0 failed; outputs in out\n"
    )
    assert shown.err.startswith("weights: run/checkpoints/step-7, moving average\n")
    assert "3/3" in shown.err and "loading" not in shown.err
    assert model.loaded == [Path("run")] and model.calls == 3
    for name in ("a", "b", "c"):
        pixels = np.asarray(decoded(Path(f"out/{name}.png").read_bytes()))
        np.testing.assert_array_equal(pixels, np.where(HOLE[..., None], FILL, NOISE))


def test_without_a_model_the_weights_of_the_package_are_taken(model):
    assert main([x for x in COMMAND if x not in ("--model", "run")]) == 0
    assert model.loaded == [None] and model.calls == 3


def test_a_package_without_weights_says_so(model, monkeypatch, capsys, tmp_path):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    for command in (["inpaint", *COMMAND[3:]], ["export"]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"pgi {command[0]}: error: no model was named, and")
        assert "weights.npz is missing. Name a run folder" in line
    assert not Path("out").exists() and not Path("export").exists()


def test_warnings_of_model_and_mask_are_one_line_each(model, capsys, recwarn):
    model.warning = "level 1 is not trained yet"
    write("masks/b.png", encoded(Image.fromarray(np.arange(HOLE.size).reshape(HOLE.shape) > 9)))
    assert main(COMMAND) == 0
    lines = [x for x in capsys.readouterr().err.splitlines() if "warn" in x]
    assert lines[0] == "warning: level 1 is not trained yet"
    assert len(lines) == 2 and "images/b.png: mask is 99% hole" in lines[1]
    assert not [x for x in recwarn if x.category is UserWarning]


def test_what_exists_is_skipped_unless_it_is_to_be_overwritten(model, capsys):
    write("out/b.png", b"of another day")
    assert main(COMMAND) == 0
    assert capsys.readouterr().out.startswith(
        "2 done, 1 skipped (exist; --overwrite replaces them), 0 failed"
    )
    assert Path("out/b.png").read_bytes() == b"of another day"
    assert main(COMMAND) == 0
    assert capsys.readouterr().out.startswith("0 done, 3 skipped")
    assert model.loaded == [Path("run")]  # Once: where nothing is to do, no model is needed.
    assert main([*COMMAND, "--overwrite"]) == 0
    assert capsys.readouterr().out.startswith("3 done, 0 skipped")
    assert decoded(Path("out/b.png").read_bytes()).size == (34, 24)


def test_failures_are_listed_at_the_end_and_the_rest_is_done(model, capsys):
    write("images/a.png", b"no picture")
    write("images/d.png", OPAQUE["RGB"])
    model.error = RuntimeError("out of memory\nat some address")
    assert main(COMMAND) == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-3:] == [
        "images/d.png: no mask masks/d with one of .png, .jpg, .jpeg, .jpe, .jfif, .webp, .tif, "
        ".tiff, .bmp, .dib, .gif",
        "images/a.png: no PNG, JPEG, WebP, TIFF or BMP, or its header is damaged",
        "images/c.png: RuntimeError: out of memory",
    ]
    assert (
        shown.out
        == "1 done, 0 skipped (exist; --overwrite replaces them), 3 failed; outputs in out\n"
    )
    assert os.listdir("out") == ["b.png"]


def test_an_interrupted_run_is_continued_by_the_same_command(model, capsys):
    model.error = KeyboardInterrupt()
    assert main(COMMAND) == 130
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith("interrupted") and not shown.out
    assert os.listdir("out") == ["a.png"]
    assert main(COMMAND) == 0
    assert capsys.readouterr().out.startswith(
        "2 done, 1 skipped (exist; --overwrite replaces them), 0 failed"
    )


def test_masks_beside_their_images(model, capsys):
    for name in ("a_mask001", "a_mask002", "b_mask", "c_hole"):
        write(f"images/{name}.png", encoded(Image.fromarray(HOLE)))
    together = ["inpaint", "--model", "run", "--images", "images", "--masks", "images"]
    assert main([*together, "--output", "out"]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("3 done, 0 skipped (exist; --overwrite replaces them), 2 failed")
    assert "images/c.png: no mask images/c_mask*" in shown.err
    assert sorted(os.listdir("out")) == ["a_mask001.png", "a_mask002.png", "b.png"]
    hole = ["--mask-suffix=_hole", "--images", "images/c.png", "--grow-mask", "2"]
    assert main([*together, *hole, "--output", "c.png"]) == 0
    pixels = np.asarray(decoded(Path("c.png").read_bytes()))
    grown = ndimage.distance_transform_edt(~HOLE) <= 2
    np.testing.assert_array_equal(pixels, np.where(grown[..., None], FILL, NOISE))


def test_other_pictures_are_failures_and_masks_without_a_hole_are_counted(model, capsys):
    write("images/film.gif", b"GIF89a")
    write("images/Thumbs.db", b"\xd0\xcf\x11\xe0")
    write("masks/a.png", encoded(Image.new("L", (34, 24))))
    assert main(COMMAND) == 1
    shown = capsys.readouterr()
    assert shown.out == (
        "2 done, 1 unchanged (their masks have no hole), 0 skipped (exist; --overwrite replaces "
        "them), 1 failed; outputs in out\n"
    )
    last = "images/film.gif: GIF is read as a mask only: convert it to PNG"
    assert shown.err.splitlines()[-1] == last and "Thumbs" not in shown.err


@pytest.mark.parametrize("format", ["png", "jpeg", "webp", "tiff", "bmp"])
def test_a_format_holds_for_all_outputs(model, format):
    assert main([*COMMAND, "--format", format]) == 0
    outputs = sorted(Path("out").iterdir())
    assert [path.stem for path in outputs] == ["a", "b", "c"]
    assert {decoded(path.read_bytes()).format for path in outputs} == {format.upper()}


def test_options_reach_the_files(model, capsys):
    one = ["inpaint", "--model", "run", "--images", "images/a.png"]
    write("double.png", encoded(Image.fromarray(~HOLE.repeat(2, axis=0).repeat(2, axis=1))))
    masks = ["--masks", "double.png", "--mask-polarity", "black", "--resize-masks"]
    assert main([*one, *masks, "--output", "x.webp"]) == 0
    after = decoded(Path("x.webp").read_bytes())
    assert after.format == "WEBP"
    np.testing.assert_array_equal(np.asarray(after), np.where(HOLE[..., None], FILL, NOISE))
    assert main([*one, "--mask-from-alpha", "--output", "out"]) == 1
    assert "images/a.png: must have alpha" in capsys.readouterr().err
    assert main([*COMMAND, "--max-megapixels", "0.0001"]) == 1
    assert "must have at most 0.0001 megapixels, got 0.000816 (34 x 24)" in capsys.readouterr().err


@pytest.mark.parametrize("depth", [None, "auto", "paper"])
def test_the_depth_reaches_the_model(model, depth):
    assert main(COMMAND + (["--depth", depth] if depth else [])) == 0
    assert model.depth == depth


def test_the_users_limit_holds_and_not_pillows(model, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert main(COMMAND) == 0


@pytest.mark.parametrize(
    "error",
    [
        RuleError("run must be one, got run"),
        RunFolderError("run is not a run folder: x"),
        ImportError("OpenCV cannot be loaded"),
        OSError("run/checkpoints cannot be read"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_line(model, monkeypatch, capsys, error):
    def load(path, depth):
        raise error

    monkeypatch.setattr(inference, "load", load)
    assert main(COMMAND) == 2
    assert capsys.readouterr().err == f"pgi inpaint: error: {error}\n"
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--images nowhere", "images must be a file or a folder, got nowhere"),
        ("--output images", "output and images must be two places"),
        ("--mask-from-alpha", "not allowed with argument --masks"),
        ("--max-megapixels 0", "--max-megapixels: must be a positive number, got 0"),
        ("--max-megapixels nan", "--max-megapixels: must be a positive number, got nan"),
        ("--max-megapixels many", "--max-megapixels: must be a positive number, got many"),
        ("--mask-polarity grey", "invalid choice: 'grey'"),
        ("--format gif", "invalid choice: 'gif'"),
        ("--grow-mask -1", "--grow-mask: must be a whole number from 0 up, got -1"),
        ("--masks masks/a.png --mask-suffix _m", "masks must be a folder under a mask suffix"),
        ("--speed 9", "unrecognized arguments: --speed 9"),
    ],
)
def test_what_cannot_be_meant_is_one_message_and_status_2(model, capsys, arguments, message):
    status: str | int | None
    try:
        status = main([*COMMAND, *arguments.split()])
    except SystemExit as error:
        status = error.code
    shown = capsys.readouterr()
    assert status == 2 and not shown.out
    assert message in shown.err.splitlines()[-1] and "Traceback" not in shown.err
    assert not model.loaded


def test_masks_are_asked_for_and_alpha_has_one_polarity(model, capsys):
    with pytest.raises(SystemExit):
        main(["inpaint", "--model", "run", "--images", "images", "--output", "out"])
    assert "one of the arguments --masks --mask-from-alpha is required" in capsys.readouterr().err
    alpha = "inpaint --model run --images images --output out --mask-from-alpha"
    assert main([*alpha.split(), "--mask-polarity", "black"]) == 2
    assert "--mask-polarity must be white under --mask-from-alpha" in capsys.readouterr().err


def test_help_and_mistakes_in_arguments_wait_for_no_tensorflow(tmp_path):
    program = """
import os, sys
from pgi.__main__ import main
for arguments in (["--help"], ["inpaint", "--help"], ["inpaint"], sys.argv[1:]):
    try:
        print("status", main(arguments))
    except SystemExit as error:
        print("status", error.code)
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
print(sorted({"tensorflow", "cv2", "scipy"} & set(sys.modules)))
"""
    arguments = [*COMMAND, "--images", "nowhere"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={x: y for x, y in os.environ.items() if x != "TF_CPP_MIN_LOG_LEVEL"},
    )
    lines = done.stdout.splitlines()
    assert [x for x in lines if "status" in x] == ["status 0", "status 0", "status 2", "status 2"]
    assert lines[-2:] == ["3", "[]"]
    assert "images must be a file or a folder, got nowhere" in done.stderr
    assert "--mask-from-alpha" in done.stdout and "opaque" in done.stdout


@pytest.mark.slow
def test_the_program_runs_as_a_module_and_as_an_installed_command():
    command = [sys.executable, "-m", "pgi", "inpaint", "--model"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("usage: pgi inpaint")
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    name, _, place = config["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = place.partition(":")
    assert name == "pgi" and getattr(importlib.import_module(module), function) is program


@pytest.mark.slow
def test_names_that_cannot_be_shown_are_names_too(tmp_path):
    name = os.fsdecode(b"\xff")
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}{folder}.png").touch()
    done = subprocess.run(
        [sys.executable, "-m", "pgi", *COMMAND, "--output", name],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 1
    assert done.stdout.endswith("1 failed; outputs in \\udcff\n")
    assert done.stderr.startswith("images/\\udcffimages.png: no mask")


@pytest.mark.slow
def test_a_trained_run_fills_files_of_any_size(tmp_path):
    write_run(tmp_path / "run")
    rng = np.random.default_rng(0)
    picture, mask = rng.integers(0, 256, [37, 21, 3], np.uint8), np.zeros([37, 21], bool)
    mask[10:20, 5:9] = True
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(picture).save(tmp_path / "images" / "a.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    (tmp_path / "images" / "lonely.png").write_bytes(b"")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pgi", *COMMAND]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert (
        result.stdout
        == "1 done, 0 skipped (exist; --overwrite replaces them), 1 failed; outputs in out\n"
    )
    assert result.stderr.splitlines()[-1].startswith("images/lonely.png: no mask ")
    filled = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    np.testing.assert_array_equal(filled[~mask], picture[~mask])
    np.testing.assert_array_equal(filled, pgi.load(tmp_path / "run")(picture, mask))
    assert (filled[mask] != picture[mask]).any()


# Exports


@pytest.fixture
def exporters(tmp_path, monkeypatch) -> list:
    """A run folder in the working folder, and what would have been exported."""
    from pgi.export import onnx, saved_model, tflite
    from pgi.export.agreement import Agreement, Differences

    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/tiny"))
    calls = []
    agreement = Agreement(Differences(3e-4, 2e-3), Differences(4e-4, 1e-3))

    def record(name):
        def exporter(*arguments):
            calls.append((name, *arguments[1:]))
            return Path("export/tiny/3") if name == "saved_model" else agreement

        return exporter

    monkeypatch.setattr(saved_model, "export_saved_model", record("saved_model"))
    monkeypatch.setattr(onnx, "export_onnx", record("onnx"))
    monkeypatch.setattr(tflite, "export_tflite", record("tflite"))
    return calls


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ([], ("saved_model", Path("export/tiny"), None, 13.0, "auto")),
        (
            ["--version=3", "--output=out", "--max-megapixels=2", "--depth=paper"],
            ("saved_model", Path("out"), 3, 2, "paper"),
        ),
        (["--format=onnx"], ("onnx", Path("export/tiny.onnx"))),
        (["--format=tflite"], ("tflite", Path("export/tiny.tflite"), 16, 16)),
        (["--format=tflite", "--size=24x40"], ("tflite", Path("export/tiny.tflite"), 24, 40)),
    ],
)
def test_an_export_is_named_after_its_run(exporters, capsys, options, call):
    assert main(["export", "--run", "runs/tiny", *options]) == 0
    assert exporters == [call]
    where = "export/tiny/3" if call[0] == "saved_model" else str(call[1])
    shown = capsys.readouterr().out
    assert shown.endswith(f"step-2 of runs/tiny exported to {where}\n")
    assert ("mean 0.0003, 99.9 % within 0.002 (" in shown) == (call[0] != "saved_model")


def test_without_a_run_the_weights_of_the_package_are_exported(exporters, capsys, monkeypatch):
    run = Checkpoint.find("runs/tiny")
    origin = Origin(CONFIG, "Ask them.", "Take them.", [], hours=1.0)
    export_weights(Checkpoint(run.prefix.with_name("step-1")), Path("package/little"), origin)
    monkeypatch.setattr(weights, "FOLDER", Path("package").resolve())
    monkeypatch.setattr(weights, "DEFAULT", "little")
    assert main(["export"]) == main(["export", "--run=little", "--format=onnx"]) == 0
    assert exporters == [
        ("saved_model", Path("export/little"), None, 13.0, "auto"),
        ("onnx", Path("export/little.onnx")),
    ]
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "weights.npz of little exported to export/tiny/3"
    assert last == "weights.npz of little exported to export/little.onnx"


def test_what_cannot_be_exported_is_one_line(exporters, capsys):
    assert main(["export", "--run", "runs/none"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("pgi export: error: runs/none is neither a run folder nor")
    with pytest.raises(SystemExit):
        main(["export", "--run", "runs/tiny", "--size=24"])
    assert "must be HEIGHTxWIDTH in pixels, such as 512x512, got 24" in capsys.readouterr().err
    for options in (
        ["--size=8x8"],
        ["--format=onnx", "--version=1"],
        ["--format=tflite", "--max-megapixels=1"],
        ["--format=onnx", "--depth=auto"],
    ):
        assert main(["export", "--run", "runs/tiny", *options]) == 2
        assert "is for --format" in capsys.readouterr().err
    assert not exporters


def test_a_page_is_served_for_the_model_that_is_named(model, monkeypatch, capsys):
    demo, pages = pytest.importorskip("pgi.demo"), []
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)

    def serve(*arguments):
        pages.append(arguments)
        return 0

    monkeypatch.setattr(demo, "serve_until_interrupted", serve)
    assert main(["demo", "--model", "run", "--port", "7000"]) == 0
    assert model.loaded == [Path("run")] and pages[0][2] == demo.Settings(port=7000)
    assert Image.MAX_IMAGE_PIXELS == 32_000_000  # Pillow raises an error above twice that.
    with pytest.raises(SystemExit):
        main(["demo", "--model", "run", "--port", "70000"])
    assert "must be from 1 to 65535, got 70000" in capsys.readouterr().err
    assert main(["demo"]) == 0 and model.loaded == [Path("run"), None]


def test_a_page_for_others(model, monkeypatch, capsys, tmp_path):
    demo, pages = pytest.importorskip("pgi.demo"), []
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)

    def serve(*arguments):
        pages.append(arguments)
        return 0

    monkeypatch.setattr(demo, "serve_until_interrupted", serve)
    options = ["--host=0.0.0.0", "--host-name=a.example", "--host-name=b.example"]
    accounts = tmp_path / "accounts"
    accounts.write_text("ann:secret\n")
    assert main(["demo", "--model", "run", *options, f"--auth={accounts}"]) == 0
    settings = pages[0][2]
    assert settings.host_names == ("a.example", "b.example")
    assert settings.accounts == [("ann", "secret")]
    assert (settings.megapixels, Image.MAX_IMAGE_PIXELS) == (16, 8_000_000)
    accounts.write_text("secret\n")
    model.loaded.clear()
    assert main(["demo", "--model", "run", f"--auth={accounts}"]) == 2
    assert capsys.readouterr().err.endswith("accounts, line 1: must be NAME:PASSWORD\n")
    assert not model.loaded


def test_a_missing_gradio_is_said_before_a_model_is_loaded(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "pgi.demo", raising=False)
    monkeypatch.delattr(pgi, "demo", raising=False)
    assert main(["demo", "--model", "run"]) == 2
    assert capsys.readouterr().err.startswith("pgi demo: error: pgi demo needs Gradio")
    assert not model.loaded
