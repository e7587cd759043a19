"""Keras callbacks that end a training: at its last step, at a loss that diverged, or when due."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pgi.errors import NonFiniteLossError
from pgi.training.callbacks import Logs, OnceASecond, TensorLogs
from pgi.training.checkpoints import Checkpoints
from pgi.training.run_folder import RunFolder, checkpoints_in


class TotalSteps(TensorLogs):
    """Stops training after a number of steps, from the beginning of the run."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.taken = steps, 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.taken = self.model.step

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.taken += 1  # Reading the model's counter would wait for the device.
        if self.taken >= self.steps:
            self.model.stop_training = True


class StopOnNonFinite(TensorLogs):
    """Stops training at a loss or weight that is not finite, before it is saved.

    Losses are checked once a second and before a checkpoint. They are computed before a step's
    update, so weights are checked before a checkpoint too.

    Raises:
        NonFiniteLossError: names the step, the level and the term.
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run, self._due = run, OnceASecond()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._due():
            self._check(logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.check_all(logs)

    def check_all(self, logs: Logs | None) -> None:
        """Checks the losses and all weights."""
        self._check(logs)
        model = self.model
        networks = {"sub-generator": model.sub_generators, "discriminator": model.discriminators}
        for kind, levels in networks.items():
            for level, network in enumerate(levels):
                if not all(np.isfinite(variable).all() for variable in network.variables):
                    self._stop(f"level_{level}'s {kind} has weights that are not finite")

    def _check(self, logs: Logs | None) -> None:
        # The logs are means since the last snapshot, in which a NaN persists.
        for name, value in (logs or {}).items():
            if not math.isfinite(value):
                self._stop(f"{name} is {float(value)}")

    def _stop(self, what: str) -> None:
        good = next(iter(checkpoints_in(self.run.checkpoints)), "none yet")
        raise NonFiniteLossError(
            self.model.step,
            what,
            f"The last good checkpoint is kept: {good}. The same command would end here again: "
            "try a lower --config.train.learning_rate or --config.train.clip_norm, in another "
            "--workdir",
        )


class Stopped(Exception):
    """Ends `fit` without the rest of its epoch, without validation and snapshot."""


class StopWhenDue(TensorLogs):
    """Stops training within a step of a signal or of the end of its time.

    Between two snapshots it saves a checkpoint with the running means of the metrics, so that the
    continued run has the same snapshots as an undisturbed one. To be the last callback.

    Args:
        due: whether to stop.
        watch: checks what is saved.
        checkpoints: saves it.

    Raises:
        Stopped: through `fit`.
    """

    def __init__(
        self, due: Callable[[], bool], watch: StopOnNonFinite, checkpoints: Checkpoints
    ) -> None:
        super().__init__()
        self.due, self.watch, self.checkpoints = due, watch, checkpoints

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        ends_epoch = self.model.stop_training or batch + 1 == self.params["steps"]
        if not ends_epoch and self.due():
            self.watch.check_all(logs)
            self.checkpoints.save_between_snapshots(self.model.step)
            raise Stopped

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.due():
            raise Stopped
