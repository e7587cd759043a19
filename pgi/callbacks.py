"""What happens beside the steps of training: the bar, the watch over the losses, the snapshots."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from tensorflow import keras

from pgi import images, sheets
from pgi.layers.resize import double_nearest
from pgi.run_folder import RunFolder, write_atomically

Logs = dict[str, float]


class NonFiniteLossError(ArithmeticError):
    """A loss became infinite or no number; the message names the level and the term.

    Args:
        step: the last one that was taken.
        reason: which loss or weights are not finite.
        advice: what the user has, and can do.
    """

    def __init__(self, step: int, reason: str, advice: str) -> None:
        super().__init__(f"step {step}: {reason}. {advice}")
        self.step, self.reason = step, reason


class TotalSteps(keras.callbacks.Callback):
    """Stops once the generators' optimiser has taken so many steps, over all runs."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.model.step >= self.steps:
            self.model.stop_training = True


class TimeLimit(tfa.callbacks.TimeStopping):
    """TFA's, which ends a run with the first snapshot after its time, for any number of seconds.

    Args:
        seconds: positive; may be infinite.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends the run at the first loss or weight that is no finite number, before it is saved.

    Losses are those from before a step's update, so the weights are looked at before a snapshot.

    Raises:
        NonFiniteLossError: names the step, the level and the term.
    """

    def __init__(self, run: RunFolder) -> None:
        super().__init__()
        self.run = run

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # These are means since the last snapshot, and no mean gets rid of a NaN.
        for name, value in (logs or {}).items():
            if not math.isfinite(value):
                self._stop(f"{name} is {value}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.on_train_batch_end(epoch, logs)
        networks = {"sub-generator": self.model.sub_generators}
        networks["discriminator"] = self.model.discriminators
        for kind, levels in networks.items():
            for level, network in enumerate(levels):
                if not all(np.isfinite(variable).all() for variable in network.variables):
                    self._stop(f"level_{level}'s {kind} has weights that are not finite")

    def _stop(self, what: str) -> None:
        good = tf.train.latest_checkpoint(str(self.run.checkpoints)) or "none yet"
        raise NonFiniteLossError(
            self.model.step,
            what,
            f"The last good checkpoint is kept: {good}. The same command would end here again: "
            "try a lower --config.train.learning_rate, in another --workdir",
        )


class ProgressBar(tfa.callbacks.TQDMProgressBar):
    """TFA's bar over the whole run instead of one an epoch; shows rate, losses and time left.

    Args:
        first_step: where this run takes up.
        steps: where it ends at the latest.
        seconds: after how long it ends at the latest; may be infinite.
    """

    SHOWN = ("loss", "discriminator_loss")

    def __init__(self, first_step: int, steps: int, seconds: float) -> None:
        bar_format = "{percentage:3.0f}% |{bar}| {elapsed} + {remaining} left{postfix}"
        super().__init__(overall_bar_format=bar_format, show_epoch_progress=False)
        self.first_step, self.steps, self.seconds = first_step, steps, seconds

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self.began = time.monotonic()
        self.overall_progress_tqdm.reset(total=1.0)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        step, elapsed = self.model.step, time.monotonic() - self.began
        taken = step - self.first_step
        done = max(taken / (self.steps - self.first_step), elapsed / self.seconds)
        losses = logs or {}
        shown = {name: f"{losses[name]:.3f}" for name in self.SHOWN}
        bar = self.overall_progress_tqdm
        bar.set_postfix(step=step, rate=f"{taken / elapsed:.2f} steps/s", **shown, refresh=False)
        bar.update(min(done, 1.0) - bar.n)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Nothing: the bar counts no epochs."""


class Snapshot(keras.callbacks.Callback):
    """At the end of an epoch: metrics, a sample picture, and then the checkpoint.

    In this order, because a run that is killed in between takes the steps again: its files are
    then written again, where a checkpoint without them would never be.

    Args:
        run: where it all goes.
        manager: of the checkpoints.
        pictures: pyramids of a few validation images and of their masks, coarsest first.
    """

    def __init__(
        self,
        run: RunFolder,
        manager: tf.train.CheckpointManager,
        pictures: tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]],
    ) -> None:
        super().__init__()
        self.run, self.manager, self.pictures = run, manager, pictures
        self.writer = tf.summary.create_file_writer(str(run.events))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        step = self.model.step
        values = {_metric_name(name): float(value) for name, value in (logs or {}).items()}
        self.run.append_metrics(step, values)
        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
        content = sheets.png(sample_sheet(self.model, *self.pictures))
        write_atomically(self.run.picture(step), content)
        self.manager.save(checkpoint_number=step)


def _metric_name(name: str) -> str:
    """Keras's `val_level_0/l1` as `validation/level_0/l1`, which TensorBoard groups."""
    return f"validation/{name[4:]}" if name.startswith("val_") else f"train/{name}"


def sample_sheet(
    model: keras.Model, pyramid: Sequence[tf.Tensor], masks: Sequence[tf.Tensor]
) -> np.ndarray:
    """One row an image: masked, each level's result, truth.

    Args:
        model: a `PyramidGenerator`.
        pyramid: images of each level, `[B, H, W, 3]` in [-1, 1], coarsest first.
        masks: masks of each level, `[B, H, W, 1]`, 1 = hole.

    Returns:
        `[H', W', 3]` uint8, with a line of captions above.
    """
    outputs = model.predict_on_batch((tuple(pyramid), tuple(masks)))
    columns = {"masked": images.complete(pyramid[-1], tf.ones_like(pyramid[-1]), masks[-1])}
    for level, output in enumerate(outputs):
        shown = tf.convert_to_tensor(output.completed)
        for _ in range(len(outputs) - 1 - level):
            shown = double_nearest(shown)
        columns[f"level {level}: {output.completed.shape[1]} px"] = shown
    columns["truth"] = pyramid[-1]
    return sheets.sheet({name: images.to_uint8(x).numpy() for name, x in columns.items()})
