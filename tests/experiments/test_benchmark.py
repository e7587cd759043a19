"""What the benchmark prints is what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from experiments import benchmark, benchmark_input
from experiments.benchmark import CASES, GROUPS, TARGETS, measure, reached, report
from experiments.benchmark_input import Batches
from experiments.benchmark_training import PARTS, steps
from pgi.config import ExperimentConfig, LossConfig, ModelConfig
from pgi.errors import RuleError

ROOT = Path(__file__).parents[2]


def test_every_target_is_of_cases_that_there_are_and_every_case_has_a_group() -> None:
    for target in TARGETS:
        assert {target.case, target.baseline or target.case} <= set(CASES)
    for name in CASES:
        assert sum(name.startswith(prefixes) for prefixes in GROUPS.values()) == 1


def test_measures_the_median_time_without_the_first(monkeypatch) -> None:
    pauses = iter([0.5, 0.05, 0.15, 0.1, *[9.0] * 9])

    def run() -> tf.Tensor:
        time.sleep(next(pauses))
        return tf.constant(0)

    monkeypatch.setitem(CASES, "pause", lambda: run)
    measured = measure("pause", most_runs=3)
    assert len(measured.runs) == 3 and measured.runs[0] < measured.runs[1]
    assert measured.seconds == np.median(measured.runs)


_ALLOCATE = """
import numpy, tensorflow
from experiments import benchmark, benchmark_input

def run():
    return tensorflow.constant(float(numpy.ones(300 * 2**17)[0]))

benchmark.CASES["allocate"] = lambda: run
print(benchmark.measure("allocate").megabytes)
"""


@pytest.mark.slow
def test_measures_the_memory_that_is_held_at_the_peak() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _ALLOCATE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 290 < float(result.stdout) < 400


def test_of_a_case_of_many_batches_one_counts(monkeypatch) -> None:
    def make() -> tf.Tensor:
        time.sleep(0.02)
        return tf.constant(0)

    monkeypatch.setitem(CASES, "pause", lambda: Batches(make, times=5))
    assert 0.02 <= measure("pause", most_runs=3).seconds < 0.04


def test_a_case_that_takes_long_runs_once(monkeypatch) -> None:
    runs: list[int] = []

    def run() -> tf.Tensor:
        time.sleep(0.2)
        runs.append(1)
        return tf.constant(0)

    monkeypatch.setitem(CASES, "pause", lambda: run)
    assert len(measure("pause", seconds=0.1).runs) == len(runs) == 1


def test_the_targets_that_were_measured_have_ratios_and_no_others() -> None:
    measured = {
        "step 256, batch 4": {"seconds": 1.5, "runs": [1.5], "megabytes": 10.0},
        "step 256, batch 4, literal, two passes": {
            "seconds": 2.0,
            "runs": [1.0, 2.0, 3.0],
            "megabytes": 2000.0,
        },
        "attention 2048": {"seconds": 3.0, "runs": [3.0], "megabytes": 1234.0},
    }
    name = "time of step 256, batch 4 / step 256, batch 4, literal, two passes"
    expected = [("MB of attention 2048", 1234.0, 1500), (name, 0.75, 0.75)]
    assert list(reached(measured)) == expected
    cells = [[x.strip() for x in line.split("|")] for line in report(measured, "one").splitlines()]
    literal = "step 256, batch 4, literal, two passes"
    assert ["", literal, "2", "3", "2,000", ""] in cells
    assert ["", "MB of attention 2048", "1,234", "1,500", ""] in cells


TINY = ExperimentConfig(
    model=ModelConfig(levels=(16, 32), width=4, discriminator_width=2),
    loss=LossConfig(level_weights=(10.0, 1.0)),
)


@pytest.mark.slow
def test_every_part_of_a_step_runs_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_input, "_PHOTOGRAPHS", 8)
    benchmark_input._dataset.cache_clear()
    for name, part in PARTS.items():
        run = part(TINY, 2)
        for _ in range(2):
            assert np.isfinite(run().numpy()).all(), name
    benchmark_input._dataset.cache_clear()


def measured_steps() -> dict[str, dict[str, Any]]:
    seconds = {
        "whole": 8.0,
        "input": 0.5,
        "forward": 1.0,
        "forward and backward": 4.0,
        "discriminators": 3.0,
    }
    return {
        f"step paper_512, batch 1: {part}": {"seconds": x, "runs": [x], "megabytes": 100 * x}
        for part, x in seconds.items()
    }


def test_a_step_is_divided_into_its_parts() -> None:
    measured = measured_steps()
    assert set(measured) <= set(CASES)
    assert steps(measured) == {
        "step paper_512, batch 1": {
            "steps/s": 0.125,
            "MB": 800,
            "input": 0.5,
            "forward": 1.0,
            "backward": 3.0,
            "discriminators": 3.0,
            "rest": 1.0,
        }
    }
    cells = [[x.strip() for x in line.split("|")] for line in report(measured, "one").splitlines()]
    row = ["", "step paper_512, batch 1", "0.125", "800", "0.5", "1", "3", "3", "1", ""]
    assert row in cells
    measured.popitem()
    assert steps(measured) == {}


def test_a_group_writes_files_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked = []

    def measured(names: list[str]) -> dict[str, dict[str, Any]]:
        asked.append(names)
        return measured_steps() if len(asked) == 1 else {}

    monkeypatch.setattr(benchmark, "_measure_all", measured)
    monkeypatch.setattr(benchmark, "flags", SimpleNamespace(FLAGS=SimpleNamespace(output=tmp_path)))
    benchmark.main(["benchmark", "training", "hole"])
    assert asked[0] == [x for x in CASES if x.startswith("step")]
    assert asked[1] == [x for x in CASES if x.startswith("hole")]
    assert {x.name for x in tmp_path.iterdir()} == {
        f"benchmark_{group}.{kind}" for group in ("training", "hole") for kind in ("json", "md")
    }
    found = json.loads((tmp_path / "benchmark_training.json").read_text())
    assert found["measured"] == measured_steps()
    assert found["steps"] == steps(measured_steps())
    assert (tmp_path / "benchmark_training.md").read_text() in capsys.readouterr().out

    benchmark.main(["benchmark"])
    assert asked[2] == list(CASES) and (tmp_path / "benchmark.json").exists()


@pytest.mark.slow
def test_every_case_of_the_input_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_input, "_CONFIG", TINY)
    monkeypatch.setattr(benchmark_input, "_PHOTOGRAPHS", 8)
    benchmark_input._dataset.cache_clear()
    for name, case in benchmark_input.CASES.items():
        assert isinstance(case()(), tf.Tensor), name
    benchmark_input._dataset.cache_clear()


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(RuleError, match=r"group must be one of attention, .*, got 'speed'"):
        benchmark.main(["benchmark", "speed"])
