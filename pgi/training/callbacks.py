"""Keras callbacks of the training: progress bar, means of the metrics, warnings."""

from __future__ import annotations

import math
import time
from typing import ClassVar

import tensorflow_addons as tfa
from absl import logging
from tensorflow import keras

from pgi.arrays import FloatArray
from pgi.training.run_folder import RunFolder

Logs = dict[str, float]


class OnceASecond:
    """True at most once a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self) -> bool:
        due = time.monotonic() >= self._next
        if due:
            self._next = time.monotonic() + 1.0
        return due


class TensorLogs(keras.callbacks.Callback):
    """Callback that takes logs as tensors.

    Unless all callbacks do, Keras converts the logs to numbers at every step, and the host waits
    for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._supports_tf_logs = True


class ContinueMeans(TensorLogs):
    """Lets the first epoch's means go on from those of a checkpoint between two snapshots.

    Keras resets them before it calls `on_epoch_begin`.

    Args:
        means: total and count; None to begin anew.
    """

    def __init__(self, means: tuple[FloatArray, FloatArray] | None) -> None:
        super().__init__()
        self.means = means

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.means is not None:
            self.model.metrics[0].restore(*self.means)
            self.means = None


class WarnOfGrowth(TensorLogs):
    """Warns once if the gradient norm of a coarse or refine network has grown a hundredfold.

    Checks the mean norms since the last snapshot, once a second and at a snapshot, against the
    smallest mean of the same network so far. The norm must also be three times the smallest norm of
    the whole gradient, because some networks begin with almost none.

    Args:
        run: its metrics hold the norms of earlier snapshots.
    """

    OWN, WHOLE = 100, 3

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run, self.warned, self._due = run, False, OnceASecond()
        self._least: dict[str, float] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        for line in self.run.read_metrics():
            self._remember({name.removeprefix("train/"): norm for name, norm in line.items()})

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._due():
            self._look(logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._look(logs or {})

    def _look(self, logs: Logs) -> None:
        norms = self._remember(logs)
        for name, norm in norms.items():
            level, _, network = name.removesuffix("/gradient_norm").partition("/")
            if self.warned or network not in ("coarse", "refine"):
                continue
            own, whole = self._least[name], self._least["generator/gradient_norm"]
            if norm > max(self.OWN * own, self.WHOLE * whole):
                self.warned = True
                logging.warning(
                    "step %d: the gradient of %s's %s network has grown over %d times, from a mean "
                    'norm of %.3g to %.3g; see "Sick" in docs/TRAINING.md',
                    *(self.model.step, level, network, self.OWN, own, norm),
                )

    def _remember(self, logs: Logs) -> Logs:
        """The gradient norms among the logs; updates the smallest ones."""
        norms = {n: float(x) for n, x in logs.items() if n.endswith("/gradient_norm")}
        # 0 is that of steps that were skipped for an overflow.
        norms = {name: norm for name, norm in norms.items() if norm > 0}
        for name, norm in norms.items():
            self._least[name] = min(norm, self._least.get(name, math.inf))
        return norms


class ProgressBar(tfa.callbacks.TQDMProgressBar):
    """TFA's progress bar over a whole stage; shows rate, losses, gradient norm and time left.

    Args:
        first_step: first step of this call.
        steps: last step.
        seconds: time limit; may be infinite.
        label: text before the bar.
    """

    SHOWN: ClassVar = {
        "loss": "loss",
        "discriminator_loss": "D",
        "generator/gradient_norm": "gradient",
    }

    def __init__(self, first_step: int, steps: int, seconds: float, label: str = "") -> None:
        bar_format = label + "{percentage:3.0f}% |{bar}| {elapsed} + {remaining} left{postfix}"
        super().__init__(overall_bar_format=bar_format, show_epoch_progress=False)
        self.first_step, self.steps, self.seconds = first_step, steps, seconds
        self._supports_tf_logs, self._due, self.step = True, OnceASecond(), first_step

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self.began = time.monotonic()
        self.overall_progress_tqdm.reset(total=1.0)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.step += 1
        if self._due() or self.step == self.steps:
            self._show(logs or {})

    def _show(self, logs: Logs) -> None:
        elapsed, taken = time.monotonic() - self.began, self.step - self.first_step
        done = max(taken / (self.steps - self.first_step), elapsed / self.seconds)
        shown = {label: f"{logs[name]:.3f}" for name, label in self.SHOWN.items()}
        bar = self.overall_progress_tqdm
        rate = f"{taken / elapsed:.2f} steps/s"
        bar.set_postfix(step=self.step, rate=rate, **shown, refresh=False)
        bar.update(min(done, 1.0) - bar.n)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Does nothing: the bar does not count epochs."""

    def close(self) -> None:
        """Ends the bar's line, also if `fit` was left by an exception."""
        if self.overall_progress_tqdm is not None:
            self.overall_progress_tqdm.close()
