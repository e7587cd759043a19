"""A training in processes of its own, and the signals that it gets, for `experiments.soak`."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgi.errors import UserError
from pgi.training.run_folder import RunFolder, checkpoints_in

_ROOT = Path(__file__).parents[1]
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_MOMENTS = ("training", "saving", "training", "starting")
_SECONDS_TO_START = 30.0
_SECONDS_TO_SAVE = 0.5
_SECONDS_TO_WAIT = 600.0  # Without a new snapshot. Longer than that, a process hangs.


class Plan(NamedTuple):
    """A signal, and when it is sent.

    Attributes:
        signal: to send.
        moment: "starting": a random time after the start of the process. "saving": a random time
            after a snapshot's metrics are written, before its checkpoints are. "training": a random
            time between two snapshots.
        step: of the first snapshot to wait for; not for "starting".
        share: of the longest time of the moment, in [0, 1).
    """

    signal: signal.Signals
    moment: str
    step: int
    share: float


def plan(kills: int, steps: int, interval: int, seed: int) -> list[Plan]:
    """Signals in the order in which they are sent, spread over the training.

    Args:
        kills: number of signals; every kind as often, half of them while it trains.
        steps: of the training.
        interval: steps between two snapshots.
        seed: of the order and of the times.
    """
    rng = np.random.default_rng(seed)
    signals = rng.permutation(np.resize(_SIGNALS, kills))
    moments = rng.permutation(np.resize(_MOMENTS, kills))
    shares = (np.arange(kills) + rng.random(kills)) / kills  # One in each part of the training.
    snapshots = (1 + np.floor(shares * (steps // interval - 3))) * interval
    return [
        Plan(signal.Signals(number), str(moment), int(step), float(share))
        for number, moment, step, share in zip(signals, moments, snapshots, rng.random(kills))
    ]


def command(workdir: Path, steps: int, interval: int) -> list[str]:
    """A training with two stages, a cosine, a moving average and milestones, of small networks."""
    return [
        *(sys.executable, "-m", "experiments.train", f"--workdir={workdir.absolute()}"),
        "--config=experiments/configs/small.py",
        "--config.data.dataset=samples",
        "--config.model.levels=(16, 32)",
        "--config.model.width=8",
        "--config.model.discriminator_width=8",
        "--config.loss.level_weights=(10.0, 1.0)",
        "--config.train.batch_size=2",
        "--config.train.stage_shares=(1.0, 1.0)",
        "--config.train.stage_batch_multiples=(2, 1)",
        f"--config.train.steps={steps}",
        f"--config.train.snapshot_steps={interval}",
        f"--config.train.milestone_steps={5 * interval}",
    ]


class Training:
    """A run, the command that trains it, and how far it has come.

    Args:
        workdir: its run folder; each process's output is written beside it.
        steps: of the training.
        interval: steps between two snapshots.
    """

    def __init__(self, workdir: Path, steps: int, interval: int) -> None:
        self.run, self.steps, self.interval = RunFolder(workdir), steps, interval
        self.command = command(workdir, steps, interval)
        self._read = 0, 0  # Time and last step of metrics.jsonl.

    def live(self, number: int, planned: Plan | None) -> dict[str, Any]:
        """Starts the command once and stops it as planned, or lets it end.

        Returns:
            `signal` and `moment` as planned; `snapshot`, the step of the newest metrics at the
            signal, and `saving`, whether its checkpoint was not there yet; `checkpoint`, the step
            of the newest checkpoint afterwards; the exit `status`, -N if signal N ended the
            process; `seconds` up to the signal and from there, `seconds_to_stop`; `problem`, None
            if it ended as documented.
        """
        output = self.run.path.with_name(f"disturbed_{number:02d}.log")
        begin = time.monotonic()
        with started(self.command, output) as process:
            if planned:
                self._wait_for_moment(planned, process, begin)
            else:
                self.wait(process, lambda: False)
            snapshot, checkpoint = self._snapshot(), self._checkpoint()
            sent = time.monotonic()
            if planned:
                process.send_signal(planned.signal)  # Does nothing if the process has ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_WAIT)
        return {
            "signal": planned and planned.signal.name,
            "moment": planned and planned.moment,
            "snapshot": snapshot,
            "saving": snapshot > checkpoint,
            "checkpoint": self._checkpoint(),
            "status": process.returncode,
            "seconds": round(sent - begin, 2),
            "seconds_to_stop": round(time.monotonic() - sent, 2),
            "problem": problem(planned and planned.signal, process.returncode, output.read_text()),
        }

    def _wait_for_moment(self, planned: Plan, process: subprocess.Popen, begin: float) -> None:
        """Returns at the planned moment, or earlier, when only the last interval is left."""
        if planned.moment == "starting":
            end = begin + planned.share * _SECONDS_TO_START
        else:
            end = first = self._wait_for_snapshot(process, planned.step)
            if planned.moment == "saving":
                end += planned.share * _SECONDS_TO_SAVE
            else:
                second = self._wait_for_snapshot(process)
                end = second + planned.share * (second - first)
        self.wait(process, lambda: time.monotonic() >= end or self._is_late())

    def _wait_for_snapshot(self, process: subprocess.Popen, step: int = 0) -> float:
        """The time at which the process writes the metrics of `step` or of a later one."""
        before = self._snapshot()
        self.wait(process, lambda: self._snapshot() >= max(step, before + 1) or self._is_late())
        return time.monotonic()

    def wait(self, process: subprocess.Popen, enough: Callable[[], bool]) -> None:
        """Returns when it is enough or the process has ended; UserError if the process hangs."""
        last, since = self._snapshot(), time.monotonic()
        while process.poll() is None and not enough():
            if self._snapshot() != last:
                last, since = self._snapshot(), time.monotonic()
            if time.monotonic() - since > _SECONDS_TO_WAIT:
                raise UserError(f"{self.run.path}: no snapshot after step {last} in 10 minutes")
            time.sleep(0.005)

    def _is_late(self) -> bool:
        return self._snapshot() >= self.steps - self.interval

    def _snapshot(self) -> int:
        """Step of the newest metrics; 0 before the first."""
        path = self.run.path / "metrics.jsonl"
        written = path.stat().st_mtime_ns if path.exists() else 0
        if written != self._read[0]:
            lines = path.read_bytes().splitlines()
            self._read = written, int(json.loads(lines[-1])["step"]) if lines else 0
        return self._read[1]

    def _checkpoint(self) -> int:
        """Step of the newest checkpoint; 0 before the first."""
        return max((x.step or 0 for x in checkpoints_in(self.run.checkpoints)), default=0)


@contextlib.contextmanager
def started(command: list[str], output: Path) -> Iterator[subprocess.Popen]:
    """The process of a command, which is killed if it still runs at the end.

    It has a session of its own, so that Ctrl-C reaches only this program.
    """
    with open(output, "wb") as file:
        process = subprocess.Popen(
            command, cwd=_ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def problem(sent: signal.Signals | None, status: int, output: str) -> str | None:
    """What is not as documented about the end of a training; None if all is.

    Args:
        sent: the signal; None if there was none.
        status: exit status; -N if signal N ended the process, which shells show as 128 + N.
        output: of the process. It tells whether the signal came into the training itself, which
            saves, or before.
    """
    if sent is None:
        documented = {0}
    elif sent == signal.SIGKILL:
        documented = {-sent}
    elif f"{sent.name}: saving after this step" in output:
        documented = {128 + sent}
        if f"{sent.name} at step" not in output:
            return "it does not say at which step it stopped"
    else:
        documented = {-sent, 128 + sent}
    if status not in documented:
        return f"status {status} instead of {' or '.join(map(str, sorted(documented)))}"
    return None
