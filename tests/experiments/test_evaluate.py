"""The evaluation program: which runs, which crops and masks, and what it leaves behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

from experiments import evaluate
from pgi import deepfillv2, metrics, weights
from pgi.errors import NoUsableImageError, RuleError, RunFolderError
from pgi.evaluation import results
from pgi.export.weights_folder import Origin, export_weights
from pgi.models import SubGenerator
from pgi.training.run_folder import Checkpoint
from tests.reference import write_tf1_checkpoint
from tests.tiny_run import CONFIG, write_run

ROOT = Path(__file__).parents[2]


def program(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "experiments.evaluate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_run_is_named_by_its_folder_or_by_one_above(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a" / "seed_0")
    write_run(tmp_path / "runs" / "b")
    a, b = tmp_path / "runs" / "a" / "seed_0", tmp_path / "runs" / "b"
    assert evaluate.find_runs(str(a)) == [(a, None)]
    assert evaluate.find_runs(f"mine={a}") == [(a, "mine")]
    assert evaluate.find_runs(str(tmp_path / "runs")) == [(a, None), (b, None)]
    odd = tmp_path / "lr=1"
    shutil.copytree(a, odd)
    assert evaluate.find_runs(str(odd)) == [(odd, None)]
    assert evaluate.find_runs(f"mine={odd}") == [(odd, "mine")]
    with pytest.raises(RuleError, match=r"run must be a run folder, or a folder of them, got .*no"):
        evaluate.find_runs(str(tmp_path / "no"))


def test_weights_of_the_package_are_named_and_their_results_lie_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run")
    shipped = tmp_path / "package" / "tiny"
    origin = Origin(CONFIG, "Ask them.", "Take them.", [], hours=1.0)
    made = export_weights(Checkpoint(tmp_path / "run" / "checkpoints" / "step-1"), shipped, origin)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    assert evaluate.find_runs("tiny") == [(shipped, None)]
    assert evaluate.find_runs("mine=tiny") == [(shipped, "mine")]
    (method,) = evaluate.trained(["tiny"])
    assert (method.name, method.run["folder"]) == ("tiny", "package/tiny")
    assert method.run["sha256"] == made.sha256 and method.side == 16
    names = {
        ("tiny",): Path("runs/evaluation"),
        (str(shipped), "run"): Path("run/evaluation"),
        ("run", "tiny"): Path("run/evaluation"),
        ("deepfillv2:release",): Path("runs/evaluation"),
        (): Path("runs/evaluation"),
    }
    assert {x: evaluate.default_output(x) for x in names} == names


def test_a_deepfillv2_checkpoint_is_told_from_a_run() -> None:
    source = evaluate.deepfillv2_source
    assert source("deepfillv2:a/snap-0") == ("a/snap-0", "bgr", None)
    assert source("mine=deepfillv2_rgb:a/snap-0") == ("a/snap-0", "rgb", "mine")
    assert source("deepfillv2:lr=1/snap-0") == ("lr=1/snap-0", "bgr", None)
    assert source("mine=deepfillv2:lr=1/snap-0") == ("lr=1/snap-0", "bgr", "mine")
    assert source("runs/deepfillv2") is None and source("deepfillv2=runs/a") is None
    with pytest.raises(RunFolderError, match="nowhere is not a TensorFlow checkpoint"):
        evaluate.trained(["deepfillv2:nowhere"])


def test_crops_have_the_largest_runs_size_or_else_deepfillv2s(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    network = SubGenerator(4, (2, 4, 8, 16))
    weights = {k: v.numpy() for k, v in deepfillv2.generator_variables(network).items()}
    write_tf1_checkpoint(tmp_path / "release" / "snap-0", weights)
    run, theirs = str(tmp_path / "run"), f"deepfillv2:{tmp_path / 'release'}"
    assert evaluate.default_side(evaluate.trained([theirs, run])) == 16
    assert evaluate.default_side(evaluate.trained([theirs])) == 256
    assert evaluate.default_side([]) == 0


def test_parts_ask_for_the_papers_sizes_and_masks() -> None:
    tasks = evaluate.choose_tasks("samples", ["table_1", "table_2", "figure_6"], 128, "random")
    ratios = [f"ratio_{share}" for share in (15, 25, 35, 45, 55)]
    assert [(task.crops.listed.size, task.masks) for task in tasks] == [
        *((128, name) for name in ("center", "union", *ratios)),
        *((256, name) for name in ("center", "union")),
    ]
    figure_7 = evaluate.choose_tasks("samples", ["figure_7"], 128, "random")
    assert [(x.crops.listed.size, x.masks) for x in figure_7] == [
        (size, "center") for size in (64, 128, 256)
    ]


def test_sizes_that_no_photograph_has_are_left_out_and_said(
    capsys: pytest.CaptureFixture,
) -> None:
    tasks = evaluate.choose_tasks("samples", ["table_1", "table_2"], 256, "random")
    assert {task.crops.listed.size for task in tasks} == {256}
    assert "left out: samples has no photograph of 512 px and more" in capsys.readouterr().out
    with pytest.raises(NoUsableImageError, match="samples has no photograph of 512 px and more"):
        evaluate.choose_tasks("samples", ["table_1"], 512, "random")
    small = evaluate.choose_tasks("samples", ["figure_7"], 64, "random")
    assert [task.crops.listed.size for task in small] == [64, 128]
    assert "left out: size must be at least 56" in capsys.readouterr().out
    with pytest.raises(RuleError, match="parts must be at least one"):
        evaluate.choose_tasks("samples", [], 64, "random")


def test_results_that_are_scored_are_not_written_over(tmp_path: Path) -> None:
    theirs = tmp_path / "all" / "theirs"
    theirs.mkdir(parents=True)
    for written in (theirs, tmp_path / "all"):
        with pytest.raises(RuleError, match=r"write-results must be no folder around .*theirs"):
            evaluate.others([f"x={theirs}"], written)
    (method,) = evaluate.others([f"x={theirs}"], tmp_path / "other")
    assert method.name == "x"


@pytest.mark.slow
def test_a_run_classical_methods_and_others_results_side_by_side(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    where = ["--dataset=samples", "--size=64", "--crops-each=2"]
    dumped = program(*where, "--part=table_1", f"--dump-inputs={tmp_path / 'inputs'}")
    assert dumped.returncode == 0, dumped.stderr
    for path in (tmp_path / "inputs" / "images").rglob("*.png"):
        other = tmp_path / "theirs" / path.relative_to(tmp_path / "inputs" / "images")
        other.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(other)
    done = program(
        *where,
        "--part=table_1,figure_6",
        f"--run={tmp_path / 'run'}",
        f"--results-dir=halved={tmp_path / 'theirs'}",
        "--protocol=standard,hole",
        "--photographs=0",
        f"--write-results={tmp_path / 'written'}",
    )
    assert done.returncode == 0, done.stderr
    output = tmp_path / "run" / "evaluation"
    found = results.read(output / results.FILE)
    assert list(found.titles()) == ["tiny", "telea", "navier_stokes", "mean_colour", "halved"]
    names = {path.name for path in output.glob("*.*")}
    assert {"tables.md", "figure_6_samples_64.png", "sheet_samples_64_union.png"} <= names

    written = {x.relative_to(tmp_path / "written") for x in (tmp_path / "written").rglob("*.png")}
    assert {path.parts[0] for path in written} == {"truth", *found.titles()}
    assert sum(path.parts[:1] == ("halved",) for path in written) == 2 * 4

    # One number of the peer's, from files and photographs alone.
    place = next((tmp_path / "theirs").glob("samples_64_*/union/0003.png"))
    theirs = np.asarray(Image.open(place))
    mask = np.asarray(
        Image.open(tmp_path / "inputs/masks" / place.relative_to(tmp_path / "theirs"))
    )
    (crops,) = found.crop_lists
    top, left, height, width = crops.places[3]
    truth = data.coffee()[top : top + height, left : left + width]
    assert crops.photographs[3] == "coffee.png" and (height, width) == (64, 64)
    expected = metrics.evaluate(truth, theirs, mask, "hole")["psnr"]
    halved = results.select(found.scores, method="halved", masks="union", protocol="hole")
    (score,) = results.select(halved, metric="psnr", crop=3).value
    assert score == expected


@pytest.mark.slow
def test_deepfillv2_checkpoints_have_their_rows_beside_runs_and_telea(tmp_path: Path) -> None:
    """The results are in the run's folder; the same command again measures nothing."""
    write_run(tmp_path / "run")
    network = SubGenerator(8, (2, 4, 8, 16), kernel_initializer="gated_he")
    weights = {k: v.numpy() for k, v in deepfillv2.generator_variables(network).items()}
    write_tf1_checkpoint(tmp_path / "release" / "snap-0", weights)
    place = tmp_path / "release"
    command = [
        f"--run=deepfillv2:{place / 'snap-0'},{tmp_path / 'run'},rgb=deepfillv2_rgb:{place}",
        *("--dataset=samples", "--part=table_1", "--protocol=standard", "--size=64"),
    ]
    done = program(*command)
    assert done.returncode == 0, done.stderr
    output = tmp_path / "run" / "evaluation"
    found = results.read(output / results.FILE)
    titles = ["DeepFillv2 (TensorFlow 1 weights)", "tiny", "rgb", "Telea"]
    assert list(found.titles().values())[:4] == titles
    numbers = results.select(found.scores, protocol="standard", masks="center", metric="psnr")
    psnr = {name: list(rows.value) for name, rows in numbers.groupby("method")}
    assert all(len(values) == len(psnr["telea"]) for values in psnr.values())
    # One checkpoint, and its colours in another order.
    assert psnr["rgb"] != psnr["deepfillv2_tf1"]
    assert set(found.seconds().method) >= {"deepfillv2_tf1", "tiny", "rgb", "telea"}
    assert "DeepFillv2, trained on BGR images" in (output / "tables.md").read_text()
    again = program(*command)
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(results.read(output / results.FILE).scores, found.scores)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run=none", "--dataset=samples"], "run must be a run folder, or a folder of them"),
        (["--dataset=samples", "--size=64", "--results-dir=x"], "results of x must be in a folder"),
    ],
)
def test_bad_input_gets_one_line(arguments: list[str], message: str) -> None:
    result = program(*arguments)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert message in result.stderr
