"""Trainings by two processes on this machine: they train like one, and end together.

Each test that starts processes has a timeout and ports of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pgi import masks
from pgi.training import devices
from pgi.training.run_folder import RunFolder, checkpoints_in
from tests.training import worker

ROOT = Path(__file__).parents[2]
SECONDS = 480.0
BATCH = 4

pytestmark = pytest.mark.slow


def free_addresses(count: int) -> list[str]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    addresses = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


class Pair:
    """Two workers that run a module, with their outputs in files."""

    def __init__(self, folder: Path, module: str, arguments: Sequence[Sequence[str]]) -> None:
        self.addresses = free_addresses(2)
        self.outputs = [folder / f"output_{k}_{time.monotonic()}" for k in range(2)]
        self.processes = []
        for k in range(2):
            task = {"type": "worker", "index": k}
            cluster = json.dumps({"cluster": {"worker": self.addresses}, "task": task})
            with open(self.outputs[k], "wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *arguments[k]],
                    cwd=ROOT,
                    env={**os.environ, "TF_CONFIG": cluster},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            self.processes.append(process)

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: Any) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def wait(self, seconds: float = SECONDS) -> list[int]:
        """The exit statuses."""
        end = time.monotonic() + seconds
        return [process.wait(max(end - time.monotonic(), 0.1)) for process in self.processes]

    def texts(self) -> list[str]:
        return [path.read_text(errors="replace") for path in self.outputs]

    def name(self, k: int) -> str:
        return f"worker {k} ({self.addresses[k]})"


def by_two_workers(folder: Path, plan: list[dict[str, Any]]) -> tuple[Pair, list[Any]]:
    """Carries out a plan of tests.training.worker; for each training, both workers' outcomes."""
    (folder / "plan.json").write_text(json.dumps(plan))
    results = [folder / f"result_{k}.json" for k in range(2)]
    arguments = [[str(folder / "plan.json"), str(result)] for result in results]
    with Pair(folder, "tests.training.worker", arguments) as pair:
        assert pair.wait() == [0, 0], pair.texts()
    found = [json.loads(path.read_text()) for path in results]
    return pair, list(zip(*found))


def by_one_process(workdir: Path, replicas: int = 1, **options: Any) -> dict[str, Any]:
    strategy = devices.mirrored([f"CPU:{n}" for n in range(replicas)])
    if replicas == 1:
        strategy = tf.distribute.get_strategy()
    return worker.train(str(workdir), strategy, **options)


def checkpoint(workdir: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(checkpoints_in(workdir / "checkpoints")[0]))
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    return {name: reader.get_tensor(name) for name in names}


def assert_close(found: dict, expected: dict, rtol: float, atol: float = 0.0) -> None:
    """Within `rtol` of the largest value of each variable, or `atol`."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        bound = max(rtol * np.abs(value).max(initial=0.0), atol)
        assert np.abs(found[name] - value).max(initial=0.0) <= bound, name


def assert_same_metrics(found: Path, expected: Path, rtol: float, atol: float) -> None:
    lines = [RunFolder(path).read_metrics() for path in (found, expected)]
    assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]
    for ours, theirs in zip(*lines):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol, atol, err_msg=name)


SGD: dict[str, Any] = {"steps": 10, "snapshot_steps": 5, "optimizer": "sgd", "ema_momentum": 0.9}
RELAY: dict[str, Any] = {"steps": 10, "snapshot_steps": 8, "clip_norm": 0.5, "levels": [8]}
# With Adam's usual epsilon, rounding moves the weights of the smallest gradients by its rate.
RELAY |= {"epsilon": 1e-2, "eagerly": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pair, list[Any]]:
    """What two workers do in one go, for the tests below."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "letter.txt").write_text("mine")
    plan: list[dict[str, Any]] = [
        {"workdir": f"{folder}/other", "steps": 1, "of worker 1": {"seed": 3}},
        {"workdir": f"{folder}/foreign", "steps": 1},
        {"workdir": f"{folder}/sgd", **SGD},
        {"workdir": f"{folder}/relay", **RELAY, "signal_at": 2},
        {
            "workdir": f"{folder}/full",
            **RELAY,
            "initial_weights": f"{folder}/relay",
            "snapshot_steps": 1,
            "disk_full": True,
        },
        {"workdir": f"{folder}/poisoned", **RELAY, "poison_at": 2},
    ]
    return folder, *by_two_workers(folder, plan)


def test_a_worker_with_another_config_is_named_by_all(trained) -> None:
    folder, pair, (outcomes, *_) = trained
    message = f"WorkersError: {pair.name(1)} has another config than {pair.name(0)}"
    assert [outcome["error"] for outcome in outcomes] == [message] * 2
    assert not (folder / "other").exists()


def test_a_chief_that_cannot_begin_stops_all(trained) -> None:
    folder, pair, (_, (chiefs, others), *_) = trained
    assert re.match(r"RunFolderError: .*foreign holds other files", chiefs["error"])
    message = chiefs["error"].partition(": ")[2]
    assert others["error"] == f"WorkersError: {pair.name(0)} stopped: {message}"
    assert [path.name for path in (folder / "foreign").iterdir()] == ["letter.txt"]


def test_a_chief_that_cannot_save_stops_all(trained) -> None:
    _, pair, (*_, (chiefs, others), _) = trained
    message = "[Errno 28] No space left on device: 'step-1'"
    assert chiefs["error"] == f"OSError: {message}"
    assert others["error"] == f"WorkersError: {pair.name(0)} stopped: {message}"


def test_all_workers_stop_at_the_same_loss_that_is_not_finite(trained) -> None:
    errors = [outcome["error"] for outcome in trained[2][-1]]
    assert re.match(r"NonFiniteLossError: step \d+: level_0/\w+ is nan", errors[0])
    assert errors[0] == errors[1]


def test_two_workers_train_like_one_process(trained, tmp_path: Path) -> None:
    """With SGD; metrics, validation over three images and the averaged weights too."""
    by_one_process(tmp_path / "one", **SGD, eagerly=True)
    one, two = checkpoint(tmp_path / "one"), checkpoint(trained[0] / "sgd")
    assert_close(two, one, rtol=1e-5, atol=1e-7)
    assert_same_metrics(trained[0] / "sgd", tmp_path / "one", rtol=1e-4, atol=1e-5)


def test_every_sample_and_mask_is_taken_once_by_one_of_two_workers(trained) -> None:
    parts = [outcome["samples"] for outcome in trained[2][2]]
    # The pipeline may prefetch, but the masks are drawn within the steps.
    assert [len(part) for part in parts] == [10 * BATCH // 2] * 2
    numbers = [[number for number, _ in part] for part in parts]
    for step in range(10):
        own = slice(step * BATCH // 2, (step + 1) * BATCH // 2)
        batch = range(step * BATCH, (step + 1) * BATCH)
        assert sorted(numbers[0][own] + numbers[1][own]) == list(batch)
    for number, rows in parts[0] + parts[1]:
        seeds = tf.constant([[0, number]], tf.int64)
        mask = masks.training_masks(seeds, 16, 16, min_width=1.0, max_width=2.5)
        np.testing.assert_array_equal(mask[0, ..., 0].numpy().sum(1), rows)


def test_only_the_chief_writes_the_run_folder(trained) -> None:
    run = RunFolder(trained[0] / "sgd")
    assert [line["step"] for line in run.read_metrics()] == [5, 10]
    assert len(list(run.events.iterdir())) == 1
    assert [x.name for x in checkpoints_in(run.checkpoints)] == ["step-10", "step-5"]
    assert sorted(path.name for path in run.samples.iterdir()) == [
        "step_0000005.png",
        "step_0000010.png",
    ]
    texts = trained[1].texts()
    assert "step" not in texts[1].replace("saving after this step", "")


def test_a_run_is_handed_from_workers_to_one_process_to_devices_and_back(
    trained, tmp_path: Path
) -> None:
    """Stopped between two snapshots each time, so the means of the metrics are handed on too."""
    folder, pair, (*_, stopped, _, _) = trained
    relay = tmp_path / "relay"
    shutil.copytree(folder / "relay", relay)
    for outcome in stopped:
        assert outcome["error"].startswith(f"Interrupted: SIGTERM of {pair.name(1)} at step ")
    steps = [checkpoints_in(relay / "checkpoints")[0].step or 0]
    assert 2 <= steps[0] < 5
    for replicas, signal_at in ((1, 5), (2, 7)):
        outcome = by_one_process(relay, replicas, signal_at=signal_at, **RELAY)
        assert outcome["error"].startswith(f"Interrupted: SIGTERM at step {signal_at}, saved")
    _, (outcomes,) = by_two_workers(tmp_path, [{"workdir": str(relay), **RELAY}])
    assert [outcome["metrics"]["step"] for outcome in outcomes] == [10, 10]

    by_one_process(tmp_path / "whole", **RELAY)
    assert_close(checkpoint(relay), checkpoint(tmp_path / "whole"), rtol=1e-4, atol=1e-6)
    assert_same_metrics(relay, tmp_path / "whole", rtol=1e-4, atol=1e-5)


def flags(workdir: Path, steps: int) -> list[str]:
    return [
        "--config=experiments/configs/small.py",
        f"--workdir={workdir}",
        "--config.model.levels=(8,)",
        "--config.loss.level_weights=(1.0,)",
        "--config.model.width=4",
        "--config.model.discriminator_width=2",
        "--config.train.schedule=joint",
        "--config.train.level_start=initializer",
        "--config.train.stage_shares=()",
        "--config.train.stage_batch_multiples=()",
        "--config.train.snapshot_steps=10",
        f"--config.train.steps={steps}",
    ]


def pair_of_programs(workdir: Path, steps: int = 80) -> Pair:
    return Pair(workdir.parent, "experiments.train", [flags(workdir, steps)] * 2)


def wait_for_step(run: Path, step: int, pair: Pair) -> None:
    end = time.monotonic() + SECONDS
    while not any((x.step or 0) >= step for x in checkpoints_in(run / "checkpoints")):
        assert time.monotonic() < end
        assert all(process.poll() is None for process in pair.processes), pair.texts()
        time.sleep(0.02)


def test_a_killed_or_stopped_worker_stops_all_and_the_run_goes_on_to_the_same_bits(
    tmp_path: Path,
) -> None:
    run, step, stopped = tmp_path / "run", 0, None
    for victim, number in ((1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGTERM)):
        step += 20
        with pair_of_programs(run) as pair:
            wait_for_step(run, step, pair)
            pair.processes[victim].send_signal(number)
            began = time.monotonic()
            while number == signal.SIGKILL and "was lost" not in pair.texts()[1 - victim]:
                assert time.monotonic() - began < 60, pair.texts()
                time.sleep(0.1)
            statuses = pair.wait()
            last = pair.texts()[1 - victim].splitlines()[-1]
        if number == signal.SIGKILL:
            assert statuses[victim] == -signal.SIGKILL and statuses[1 - victim] == os.EX_TEMPFAIL
            assert last == (
                f"error: {pair.name(1 - victim)} stops, because {pair.name(victim)} was lost; "
                "the same command continues from the last checkpoint"
            )
        else:
            assert statuses == [128 + number] * 2
            stopped = re.match(rf"SIGTERM of {re.escape(pair.name(victim))} at step (\d+)", last)
            assert stopped, last
        assert all(x.damage() is None for x in checkpoints_in(run / "checkpoints"))
    for workdir in (run, tmp_path / "whole"):
        with pair_of_programs(workdir) as pair:
            assert pair.wait() == [0, 0], pair.texts()
    expected, found = checkpoint(tmp_path / "whole"), checkpoint(run)
    assert expected.keys() == found.keys() and expected["step/.ATTRIBUTES/VARIABLE_VALUE"] == 80
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert stopped is not None
    # The means of the interval in which all stopped went on from a sum over both workers.
    rest = -(-int(stopped[1]) // 10) * 10
    lines = [RunFolder(path).read_metrics() for path in (run, tmp_path / "whole")]
    exact = [[line for line in each if line["step"] != rest] for each in lines]
    assert exact[0] == exact[1] and len(exact[0]) == 7
    assert_same_metrics(run, tmp_path / "whole", rtol=1e-5, atol=1e-7)
