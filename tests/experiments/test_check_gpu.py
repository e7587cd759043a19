"""The checks of a GPU run on a CPU, and one that fails is reported without stopping the others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import tensorflow as tf

from experiments.check_gpu import Outcome, in_process, report
from experiments.gpu_checks import checks, reference, training
from experiments.gpu_checks.common import Failed, Options, Skipped, Values, at_most

ROOT = Path(__file__).parents[2]
QUICK = Options(quick=True, batch=2)


def passing(options: Options, earlier: Mapping[str, Values]) -> Values:
    return {"batch": float(options.batch), "before": earlier["first"]["loss"]}


def skipping(options: Options, earlier: Mapping[str, Values]) -> Values:
    raise Skipped("no such device")


def failing(options: Options, earlier: Mapping[str, Values]) -> Values:
    raise ValueError("out of memory\nat line 3")


def dying(options: Options, earlier: Mapping[str, Values]) -> Values:
    os._exit(7)


def hanging(options: Options, earlier: Mapping[str, Values]) -> Values:
    time.sleep(600)
    return {}


@pytest.mark.slow
def test_a_check_passes_is_skipped_fails_dies_or_hangs() -> None:
    earlier: dict[str, Values] = {"first": {"loss": 3.5}}
    passed, skipped, failed, died = (
        in_process(x, QUICK, earlier, 300) for x in (passing, skipping, failing, dying)
    )
    assert passed[:3] == ("passed", {"batch": 2.0, "before": 3.5}, "")
    assert skipped[:3] == ("skipped", {}, "no such device")
    assert failed[:3] == ("failed", {}, "ValueError: out of memory")
    assert died[:3] == ("failed", {}, "its process ended with status 7")
    begin = time.monotonic()
    hung = in_process(hanging, QUICK, earlier, 1)
    assert hung[:3] == ("failed", {}, "did not end within 1 seconds")
    assert time.monotonic() - begin < 30


def test_the_table_has_every_outcome_and_says_that_there_is_no_gpu() -> None:
    outcomes = {
        "one": Outcome("passed", {"loss": 4.0, "ms": 123.44}, "", 3.2),
        "two": Outcome("failed", {}, "ValueError: a | b", 1.0),
    }
    text = report(outcomes, QUICK)
    assert "no GPU, so on the CPU" in text and tf.__version__ in text
    cells = [
        [x.strip() for x in line.replace(r"\|", "/").split("|")[1:-1]] for line in text.splitlines()
    ]
    assert ["one", "passed", "3", "loss 4, ms 123.4"] in cells
    assert ["two", "failed", "1", "ValueError: a / b"] in cells


def test_a_value_beyond_its_bound_or_nan_fails() -> None:
    at_most("x", 0.5, 0.5)
    for value in (0.6, float("nan")):
        with pytest.raises(Failed, match=r"x must be at most 0\.5"):
            at_most("x", value, 0.5)


def test_a_loss_far_from_that_of_float32_fails() -> None:
    earlier: dict[str, Values] = {training.FLOAT32: {"loss": 4.0}}
    assert training._near({"loss": 4.19}, earlier, 0.05) == {"loss": 4.19}
    with pytest.raises(Failed, match=r"within 5% of 4, got 4\.21"):
        training._near({"loss": 4.21}, earlier, 0.05)
    assert training._near({"loss": 9.0}, {}, 0.05) == {"loss": 9.0}


def test_a_wrong_network_fails_the_golden_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float(reference.attention(QUICK, {})["difference"]) < 1e-4
    right = reference.contextual_attention
    monkeypatch.setattr(
        reference, "contextual_attention", lambda *args, **kwargs: right(*args, **kwargs) + 2e-4
    )
    with pytest.raises(Failed, match=r"the difference must be at most 0\.0001"):
        reference.attention(QUICK, {})


def test_missing_golden_numbers_are_a_reason_to_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "GOLDEN", tmp_path)
    with pytest.raises(Skipped, match=r"deepfillv2_generator\.npz is missing"):
        reference.generator(QUICK, {})


def test_the_input_of_the_gpu_is_compared_with_that_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert float(training.input_stage(QUICK, {})["other mask pixels"]) == 0
    apply_on = training.pipeline.apply_on
    made = iter([0.0, 1.0])

    def shifted(dataset, function, device):
        shift = next(made)
        return apply_on(dataset, function, device).map(
            lambda images, masks: (tuple(x + shift for x in images), masks)
        )

    monkeypatch.setattr(training.pipeline, "apply_on", shifted)
    with pytest.raises(Failed, match="an image's difference must be at most 1e-05, got 1"):
        training.input_stage(QUICK, {})


@pytest.mark.slow
def test_all_checks_run_on_a_cpu() -> None:
    command = [sys.executable, "-m", "experiments.check_gpu", "--quick"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no GPU, so on the CPU" in result.stdout
    rows = [line.split("|")[1:3] for line in result.stdout.splitlines() if line.startswith("| ")]
    outcomes = {name.strip(): outcome.strip() for name, outcome in rows[1:]}
    assert list(outcomes) == list(checks(quick=True))
    # No CPU has all of float16's kernels.
    assert outcomes.pop("10 steps, mixed_float16") == "skipped"
    assert set(outcomes.values()) == {"passed"}


@pytest.mark.slow
def test_checks_are_chosen_by_name_and_others_refused() -> None:
    command = [sys.executable, "-m", "experiments.check_gpu", "--quick", "golden numbers: att"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and result.stdout.count("passed") == 2
    command[-1] = "speed"
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2 and "beginnings of checks' names" in result.stderr
    assert len(result.stderr.splitlines()) == 1
