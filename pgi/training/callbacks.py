"""Keras callbacks of the training: progress bar, stopping, warnings, snapshots."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from absl import logging
from tensorflow import keras

from pgi import images, sheets
from pgi.arrays import FloatArray, UInt8Array
from pgi.atomic import writing
from pgi.errors import NonFiniteLossError
from pgi.layers.resize import double_nearest
from pgi.training.checkpoints import BEST_BY, Checkpoints
from pgi.training.run_folder import RunFolder, checkpoints_in

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


class Snapshot(TensorLogs):
    """Writes metrics, a sample picture and the checkpoints at the end of an epoch.

    The checkpoint is saved last, so a run killed earlier repeats the steps and rewrites these
    files.

    Args:
        run: the run folder.
        checkpoints: saves the checkpoints.
        pictures: pyramids of a few validation images and of their masks, coarsest first.
    """

    def __init__(
        self,
        run: RunFolder,
        checkpoints: Checkpoints,
        pictures: tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]],
    ) -> None:
        super().__init__()
        self.run, self.checkpoints, self.pictures = run, checkpoints, pictures
        self.writer = tf.summary.create_file_writer(str(run.events))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        step = self.model.step
        values = {_metric_name(name): float(value) for name, value in (logs or {}).items()}
        self.run.append_metrics(step, values)
        with writing(self.run.events, tf.errors.OpError), self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
            self.writer.flush()
        picture = sample_sheet(self.model, *self.pictures)
        self.run.write_picture(step, *sheets.encode(picture))
        self.checkpoints.save(step, values.get(BEST_BY))


def _metric_name(name: str) -> str:
    """Keras's `val_level_0/l1` as `validation/level_0/l1`, which TensorBoard groups."""
    return f"validation/{name[4:]}" if name.startswith("val_") else f"train/{name}"


def sample_sheet(
    model: keras.Model, pyramid: Sequence[tf.Tensor], masks: Sequence[tf.Tensor]
) -> UInt8Array:
    """Contact sheet with one row per image: masked, each level's result, truth.

    Args:
        model: a compiled `PyramidGenerator`; untrained levels are left out.
        pyramid: images of each level, `[B, H, W, 3]` in [-1, 1], coarsest first.
        masks: masks of each level, `[B, H, W, 1]`, 1 = hole.

    Returns:
        `[H', W', 3]` uint8, with captions above the columns.
    """
    outputs = model.predict_on_batch((tuple(pyramid[: model.top]), tuple(masks[: model.top])))
    columns = {"masked": images.complete(pyramid[-1], tf.ones_like(pyramid[-1]), masks[-1])}
    for level, output in enumerate(outputs):
        shown = tf.convert_to_tensor(output.completed)
        for _ in range(len(pyramid) - 1 - level):
            shown = double_nearest(shown)
        columns[f"level {level}: {output.completed.shape[1]} px"] = shown
    columns["truth"] = pyramid[-1]
    return sheets.sheet({name: images.to_uint8(x).numpy() for name, x in columns.items()})
