"""Keras callbacks that end a training: at its last step, at a loss that diverged, or when due."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from pgi.errors import NonFiniteLossError
from pgi.training.callbacks import Logs, OnceASecond, TensorLogs
from pgi.training.checkpoints import Checkpoints
from pgi.training.run_folder import RunFolder, checkpoints_in
from pgi.training.workers import Workers


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

    Args:
        run: names the last good checkpoint.
        due: whether to check after this step. Losses and weights are the same on all workers, so
            all raise together if they check after the same steps.

    Raises:
        NonFiniteLossError: names the step, the level and the term.
    """

    def __init__(self, run: RunFolder, due: Callable[[], bool] | None = None) -> None:
        super().__init__()
        self.run, self._due = run, due or OnceASecond()

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


class Agreement(TensorLogs):
    """Lets all workers stop for the same reason after the same step.

    To come before the callbacks that use it. A single worker looks for a reason after every step.
    Several agree about once a second, at steps that they have agreed on before, because an
    agreement waits for the devices.

    Args:
        workers: of the training.
        reason: number of this worker's reason to stop, 0 for none.

    Attributes:
        found: a worker that has a reason, and the reason; None so far.
        due: whether they agreed after the latest step.
    """

    SECONDS = 1.0

    def __init__(self, workers: Workers, reason: Callable[[], int]) -> None:
        super().__init__()
        self.workers, self.reason = workers, reason
        self.found: tuple[int, int] | None = None
        self.due = False
        self._steps = self._left = 1
        self._time = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._left -= 1
        self.due = self._left == 0
        if self.due:
            self._choose_next()
            self.agree()
            self._left = self._steps

    def agree(self) -> bool:
        """Whether to stop; waits for all workers, and takes the chief's number of steps."""
        answers = self.workers.gather([self.reason(), self._steps])
        self._steps = answers[0][1]
        reasons = [(worker, reason) for worker, (reason, _) in enumerate(answers) if reason]
        self.found = self.found or next(iter(reasons), None)
        return self.found is not None

    def _choose_next(self) -> None:
        """Sets the number of steps until the next agreement, for which the chief's counts."""
        now = time.monotonic()
        steps_in_time = self._steps * self.SECONDS / max(now - self._time, 1e-3)
        self._time = now
        if self.workers.count > 1:
            self._steps = max(1, min(int(steps_in_time), 2 * self._steps))


class StopWhenAgreed(TensorLogs):
    """Stops training after the step at which all workers agree to. To be the last callback.

    Between two snapshots it saves a checkpoint with the running means of the metrics, so that the
    continued run has the same snapshots as an undisturbed one.

    Args:
        agreement: whether to stop.
        watch: checks what is saved.
        checkpoints: saves it.

    Raises:
        Stopped: through `fit`.
    """

    def __init__(
        self, agreement: Agreement, watch: StopOnNonFinite, checkpoints: Checkpoints
    ) -> None:
        super().__init__()
        self.agreement, self.watch, self.checkpoints = agreement, watch, checkpoints

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        ends_epoch = self.model.stop_training or batch + 1 == self.params["steps"]
        if ends_epoch or not self.agreement.found:
            return
        self.watch.check_all(logs)
        means = self.model.metrics[0].state()  # Those of training; all workers have a part of it.
        workers = self.agreement.workers
        with workers.sharing_errors():
            if workers.chief:
                self.checkpoints.save_between_snapshots(self.model.step, means)
        raise Stopped

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.agreement.found or self.agreement.agree():
            raise Stopped
