"""The soak test finds what differs between two runs, and its short form finds nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf

from experiments.run_difference import differences
from experiments.soak_process import plan, problem
from pgi.training import checkpoints
from pgi.training.run_folder import RunFolder
from tests.tiny_run import write_run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal run folders with checkpoints everywhere, two lines of metrics and two pictures."""
    paths = tmp_path / "a", tmp_path / "b"
    for path in paths:
        model = write_run(path)
        run = RunFolder(path)
        (path / "samples").mkdir(exist_ok=True)
        for step in (1, 2):
            run.append_metrics(step, {"train/loss": 1 / step, "train/l1": 0.5})
            run.write_picture(step, b"picture", ".png")
        for folder in (run.milestones, run.best):
            folder.mkdir(exist_ok=True)
            checkpoints.networks(model).write(str(folder / "step-1"))
    return paths


def test_equal_runs_have_no_difference(runs: tuple[Path, Path]) -> None:
    assert not list(differences(*runs))
    # An interrupted run has other checkpoints before the latest.
    for path in (runs[1] / "checkpoints").glob("step-1.*"):
        path.unlink()
    assert not list(differences(*runs))


def test_a_metric_is_named_with_its_line_and_both_values(runs: tuple[Path, Path]) -> None:
    path = runs[1] / "metrics.jsonl"
    path.write_text(path.read_text().replace('"train/loss": 0.5', '"train/loss": 0.51'))
    expected = "metrics.jsonl, line 2: train/loss: 0.51 instead of 0.5"
    assert list(differences(*runs)) == [expected]
    assert len(list(differences(runs[1], runs[0]))) == 1
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert list(differences(*runs)) == ["metrics.jsonl, line 2: step: None instead of 2"]


def test_a_picture_is_named(runs: tuple[Path, Path]) -> None:
    (runs[1] / "samples" / "step_0000001.png").unlink()
    (runs[1] / "samples" / "step_0000002.png").write_bytes(b"other")
    assert list(differences(*runs)) == [
        "samples: step_0000001.png missing",
        "samples: step_0000002.png is another picture",
    ]
    assert "samples: step_0000001.png too many" in list(differences(runs[1], runs[0]))


@pytest.mark.parametrize("part", ["milestones", "best"])
def test_a_checkpoint_is_named(runs: tuple[Path, Path], part: str) -> None:
    for path in (runs[1] / part).glob("step-1.*"):
        path.rename(path.with_name(path.name.replace("step-1", "step-3")))
    assert list(differences(*runs)) == [f"{part}: step-1 missing", f"{part}: step-3 too many"]


@pytest.mark.parametrize("part", ["milestones/step-1", "checkpoints/step-2"])
def test_a_variable_whose_sign_of_zero_differs_is_named(runs: tuple[Path, Path], part: str) -> None:
    """One bit of one value of one variable, which equals the other as a number."""
    name = "sub_generators/0/refine/decoder/conv17/bias/.ATTRIBUTES/VARIABLE_VALUE"
    for path, zero in zip(runs, (0.0, -0.0)):
        model = write_run(path.with_name(f"{path.name}_model"))
        bias = model.sub_generators[0].refine.decoder.conv17.bias
        before = bias.numpy()
        try:
            bias.assign([zero, 0.0, 0.0])
            checkpoints.networks(model).write(str(path / part))
        finally:
            bias.assign(before)
    assert list(differences(*runs)) == [f"{part}: {name} has other values"]


@pytest.mark.parametrize("kills", [6, 20])
def test_signals_of_every_kind_are_spread_over_the_training(kills: int) -> None:
    planned = plan(kills, steps=3000, interval=100, seed=3)
    assert planned == plan(kills, steps=3000, interval=100, seed=3)
    assert planned != plan(kills, steps=3000, interval=100, seed=4)
    sent = Counter(x.signal for x in planned)
    assert set(sent) == {signal.SIGKILL, signal.SIGTERM, signal.SIGINT}
    assert max(sent.values()) - min(sent.values()) <= 1
    assert {x.moment for x in planned} == {"starting", "training", "saving"}
    # One in each part of the training, of which two intervals are left for the last.
    for number, x in enumerate(planned):
        assert x.step % 100 == 0
        assert 100 <= x.step <= 2700
        assert number <= x.step / 2700 * kills <= number + 2


@pytest.mark.parametrize(
    ("sent", "status", "output", "fine"),
    [
        (None, 0, "", True),
        (None, 2, "", False),
        (signal.SIGKILL, -9, "", True),
        (signal.SIGKILL, 0, "", False),
        (signal.SIGTERM, 143, "SIGTERM: saving after this step\nSIGTERM at step 7, saved", True),
        (signal.SIGTERM, -15, "SIGTERM: saving after this step\nSIGTERM at step 7, saved", False),
        (signal.SIGTERM, 143, "SIGTERM: saving after this step\n", False),
        (signal.SIGTERM, -15, "", True),
        (signal.SIGINT, 130, "", True),
        (signal.SIGINT, 1, "", False),
    ],
)
def test_statuses_are_those_that_are_documented(
    sent: signal.Signals | None, status: int, output: str, fine: bool
) -> None:
    assert (problem(sent, status, output) is None) == fine


@pytest.mark.slow
def test_a_run_killed_three_times_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.soak", "--steps=240", "--interval=20"]
    command += ["--kills=3", f"--workdir={tmp_path / 'runs'}", f"--output={tmp_path}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["problems"] == [] and "No difference after 3 signals" in result.stdout
    assert [x["signal"] for x in found["processes"]][-1] is None
    assert {x["signal"] for x in found["processes"][:3]} == {"SIGKILL", "SIGTERM", "SIGINT"}
    # The comparison saw two whole runs, and not two empty folders.
    lines = [RunFolder(tmp_path / "runs" / x).read_metrics() for x in ("whole", "disturbed")]
    assert [line["step"] for line in lines[1]] == list(range(20, 241, 20))
    assert tf.train.latest_checkpoint(str(tmp_path / "runs/disturbed/best"))
