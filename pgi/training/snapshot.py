"""The Keras callback that writes a run's snapshots, and its sample pictures."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from pgi import images, sheets
from pgi.arrays import UInt8Array
from pgi.atomic import writing
from pgi.layers.resize import double_nearest
from pgi.models.sub_generator import SubGeneratorOutput
from pgi.training.callbacks import Logs, TensorLogs
from pgi.training.checkpoints import BEST_BY, Checkpoints
from pgi.training.pipeline import Pyramids
from pgi.training.run_folder import RunFolder
from pgi.training.workers import Workers


class Snapshot(TensorLogs):
    """Writes metrics, a sample picture and the checkpoints at the end of an epoch.

    The checkpoint is saved last, so a run killed earlier repeats the steps and rewrites these
    files. Of several workers the chief writes, and the others wait.

    Args:
        workers: of the training.
        run: the run folder.
        checkpoints: saves the checkpoints.
        pictures: pyramids of a few validation images and of their masks, coarsest first.
    """

    def __init__(
        self,
        workers: Workers,
        run: RunFolder,
        checkpoints: Checkpoints,
        pictures: Pyramids,
    ) -> None:
        super().__init__()
        self.workers, self.run, self.checkpoints = workers, run, checkpoints
        self.pictures = pictures
        # By one device of one worker: `predict` would ask all of them.
        self._complete = tf.function(lambda *inputs: self.model(inputs))
        if workers.chief:
            self.writer = tf.summary.create_file_writer(str(run.events))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        with self.workers.sharing_errors():
            if self.workers.chief:
                self._write(self.model.step, logs or {})

    def _write(self, step: int, logs: Logs) -> None:
        values = {_metric_name(name): float(value) for name, value in logs.items()}
        self.run.append_metrics(step, values)
        with writing(self.run.events, tf.errors.OpError), self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
            self.writer.flush()
        pyramid, masks = self.pictures
        outputs = self._complete(pyramid[: self.model.top], masks[: self.model.top])
        picture = sample_sheet(outputs, pyramid, masks)
        self.run.write_picture(step, *sheets.encode(picture))
        self.checkpoints.save(step, values.get(BEST_BY))


def _metric_name(name: str) -> str:
    """Keras's `val_level_0/l1` as `validation/level_0/l1`, which TensorBoard groups."""
    return f"validation/{name[4:]}" if name.startswith("val_") else f"train/{name}"


def sample_sheet(
    outputs: Sequence[SubGeneratorOutput], pyramid: Sequence[tf.Tensor], masks: Sequence[tf.Tensor]
) -> UInt8Array:
    """Contact sheet with one row per image: masked, each level's result, truth.

    Args:
        outputs: of the lowest levels; those that are not trained yet are missing.
        pyramid: images of each level, `[B, H, W, 3]` in [-1, 1], coarsest first.
        masks: masks of each level, `[B, H, W, 1]`, 1 = hole.

    Returns:
        `[H', W', 3]` uint8, with captions above the columns.
    """
    columns = {"masked": images.complete(pyramid[-1], tf.ones_like(pyramid[-1]), masks[-1])}
    for level, output in enumerate(outputs):
        shown = tf.convert_to_tensor(output.completed)
        for _ in range(len(pyramid) - 1 - level):
            shown = double_nearest(shown)
        columns[f"level {level}: {output.completed.shape[1]} px"] = shown
    columns["truth"] = pyramid[-1]
    return sheets.sheet({name: images.to_uint8(x).numpy() for name, x in columns.items()})
