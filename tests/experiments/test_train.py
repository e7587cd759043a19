"""The training program as its user meets it: flags, dry run, messages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.train import classical_hole_l1, default_workdir
from pgi.config import DataConfig, ExperimentConfig, LossConfig, ModelConfig
from pgi.opencv import cv2
from pgi.training.examples import validation_examples
from pgi.training.reading import ImageSource

ROOT = Path(__file__).parents[2]


SMALL = "--config=experiments/configs/small.py"


def train(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "experiments.train", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_dry_run_shows_the_resolved_config_shapes_and_parameters_and_makes_nothing(
    tmp_path: Path,
) -> None:
    result = train(
        "--config=experiments/configs/paper_512.py",
        "--config.train.batch_size=2",
        "--dry-run",
        f"--workdir={tmp_path / 'run'}",
    )
    assert result.returncode == 0, result.stderr
    assert '"batch_size": 2' in result.stdout
    assert "(2, 512, 512, 3)" in result.stdout
    assert not (tmp_path / "run").exists()
    assert not result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SMALL, "--config.train.batch_size=0"], "batch_size must be positive, got 0"),
        ([SMALL, "--config.train.speed=3"], "speed"),
        (["--config=no/such.py"], "no/such.py"),
        ([SMALL, "--config.data.dataset=places"], "dataset must be one of samples, photos"),
    ],
)
def test_bad_input_gets_a_message_and_no_traceback(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = train(*arguments, f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_diverging_run_ends_with_a_message(tmp_path: Path) -> None:
    result = train(
        SMALL,
        "--config.model.levels=(8, 16)",
        "--config.loss.level_weights=(10.0, 1.0)",
        "--config.model.width=4",
        "--config.train.stage_shares=(1.0, 1.0)",
        "--config.train.stage_batch_multiples=(2, 2)",
        "--config.train.learning_rate=1e38",
        f"--workdir={tmp_path / 'run'}",
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert re.search(r"error: step \d+: level_0/\w+ is (nan|inf)", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("small", "samples", "")),
        (["DATASET=places2"], ("places2", "places2", "")),
        (["DATASET=places2/challenge_large"], ("places2", "places2/challenge_large", "")),
        (["DATASET=celeba_hq", "MINUTES=9"], ("celeba_hq", "celeba_hq", "9")),
        (["DATASET=folder:/my places2"], ("small", "folder:/my places2", "")),
        (["CONFIG=experiments/configs/paper_512.py"], ("paper_512", "", "")),
        (["DATASET=places2", "CONFIG=experiments/configs/small.py"], ("small", "places2", "")),
    ],
)
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_trains_what_the_paper_does_on_the_papers_datasets(
    arguments: list[str], expected: tuple[str, str, str]
) -> None:
    show = 'show:;@echo "$$CONFIG|$$DATASET|$$MINUTES"'
    environment = {k: v for k, v in os.environ.items() if k not in ("CONFIG", "DATASET", "MINUTES")}
    command = ["make", "-s", f"--eval={show}", "show", *arguments]
    shown = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    config, dataset, minutes = expected
    line = f"experiments/configs/{config}.py|{dataset}|{minutes}"
    assert shown.stdout.splitlines() == [line]


@pytest.mark.slow
def test_a_missing_system_library_of_opencv_is_one_line_that_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = 'raise ImportError("libGL.so.1: cannot open shared object file")'
    (tmp_path / "cv2.py").write_text(broken)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = train("--dry-run")
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert "libGL.so.1" in line and "apt-get install libgl1" in line


def test_the_report_has_the_classical_methods_hole_l1_on_the_validation_examples() -> None:
    photograph = np.full([40, 40, 3], 100, np.uint8)
    photograph[:, 20:] = 180

    class Source(ImageSource):
        def __len__(self) -> int:
            return 1

        def identity(self) -> str:
            return "one"

        def key(self, number: int) -> int:
            return number

        def name(self, number: int) -> str:
            return str(number)

        def decode(self, number: int) -> np.ndarray:
            return photograph

    config = ExperimentConfig(
        model=ModelConfig(levels=(32,)),
        loss=LossConfig(level_weights=(1.0,)),
        data=DataConfig(validation_images=2),
    )
    found = classical_hole_l1(config, Source())
    (truth,), (masks,) = validation_examples(config, Source())
    assert list(found) == ["Telea", "Navier-Stokes"]
    for title, flag in (("Telea", cv2.INPAINT_TELEA), ("Navier-Stokes", cv2.INPAINT_NS)):
        errors = []
        for image, mask in zip(truth.numpy(), masks.numpy()[..., 0]):
            pixels = np.rint((image + 1) * 127.5).astype(np.uint8)
            filled = cv2.inpaint(pixels, mask.astype(np.uint8), 3, flag) / 127.5 - 1
            errors.append(np.abs(filled - image)[mask == 1].mean())
        np.testing.assert_allclose(found[title], np.mean(errors), rtol=1e-4)


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        ("samples", "runs/n_samples"),
        ("folder:/my photos/of 2024/", "runs/n_of_2024"),
        ("flist:lists/train.flist", "runs/n_train_flist"),
        ("flist:lists/train.flist,lists/val.flist", "runs/n_train_flist"),
        ("tfds:cats/small", "runs/n_tfds_cats_small"),
        ("places2/256", "runs/n_places2_256"),
        ("n", "runs/n"),
    ],
)
def test_runs_of_different_datasets_go_to_different_folders(dataset: str, folder: str) -> None:
    config = ExperimentConfig(name="n", data=DataConfig(dataset=dataset))
    assert default_workdir(config) == folder
