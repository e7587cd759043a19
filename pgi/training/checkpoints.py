"""Saving and restoring checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from pgi.arrays import FloatArray
from pgi.atomic import sync, write_atomically, writing
from pgi.config import TrainConfig
from pgi.errors import RunFolderError, WriteError
from pgi.models import PyramidGenerator
from pgi.training.run_folder import Checkpoint, RunFolder, checkpoints_in
from pgi.training.weights_file import WeightsFile

# The metric of the best checkpoint; lower is better.
BEST_BY = "validation/hole_l1"
_OLDER = (
    ". (Checkpoints of earlier versions can be loaded, exported, or given as "
    "train.initial_weights, but not continued.)"
)


def networks(model: PyramidGenerator) -> tf.train.Checkpoint:
    """All networks, the moving averages if they are kept, and the step."""
    return tf.train.Checkpoint(**_network_parts(model))


def everything(model: PyramidGenerator, **more: tf.train.Checkpoint) -> tf.train.Checkpoint:
    """All state of training: networks, both optimisers, and more. The model must be compiled."""
    return tf.train.Checkpoint(**_network_parts(model), **_optimizer_parts(model), **more)


def optimizers(model: PyramidGenerator, checkpoint: Checkpoint) -> tf.train.Checkpoint:
    """Both optimisers, as far as a checkpoint holds them. The model must be compiled.

    A run in another precision saved no loss scales; then they begin anew.
    """
    parts = _optimizer_parts(model)
    if model.scales_losses and not _holds_loss_scales(checkpoint):
        parts = {
            name: tf.train.Checkpoint(_variables=list(optimizer.variables))
            for name, optimizer in parts.items()
        }
    return tf.train.Checkpoint(**parts)


def _holds_loss_scales(checkpoint: Checkpoint) -> bool:
    names = (name for name, _ in tf.train.list_variables(str(checkpoint)))
    return any(name.startswith("generator_optimizer/loss_scale/") for name in names)


def restore(objects: tf.train.Checkpoint, checkpoint: Checkpoint, advice: str = _OLDER) -> None:
    """Restores every object; RunFolderError if one is missing, does not fit, or is damaged."""
    try:
        objects.read(str(checkpoint)).assert_existing_objects_matched().expect_partial()
    except Exception as error:  # TensorFlow has another exception for each kind of damage.
        raise RunFolderError(
            f"{checkpoint} is damaged or does not fit its run's config: {error}{advice}"
        ) from error


def running_means(checkpoint: Checkpoint) -> tuple[FloatArray, FloatArray] | None:
    """Total and count of the metrics' means, if it was saved between two snapshots."""
    reader = tf.train.load_checkpoint(str(checkpoint))
    names = [f"running_means/{x}/.ATTRIBUTES/VARIABLE_VALUE" for x in ("total", "count")]
    if not reader.has_tensor(names[0]):
        return None
    total, count = (reader.get_tensor(name) for name in names)
    return total, count


def load_model(
    checkpoint: Checkpoint, discriminators: bool = False
) -> tuple[PyramidGenerator, bool]:
    """A run's networks without what only training needs.

    Args:
        checkpoint: of a run folder, or a weights file.
        discriminators: whether to load them as well; a weights file has none.

    Returns:
        The built model, and whether its sub-generators hold the moving average, which is used
        where the run kept one.

    Raises:
        RunFolderError: the config or the checkpoint cannot be read, or they do not fit.
    """
    arguments = dataclasses.asdict(checkpoint.run.read_config().model)
    if not discriminators:
        arguments["discriminator_width"] = None
    model = PyramidGenerator(**arguments)
    model.build_networks()
    if isinstance(checkpoint, WeightsFile):
        checkpoint.assign_to(model)
        return model, bool(checkpoint.origin.get("averaged"))
    averaged = "averaged_sub_generators" in parts_of(checkpoint)
    parts = {"averaged_sub_generators" if averaged else "sub_generators": model.sub_generators}
    if discriminators:
        parts["discriminators"] = model.discriminators
    restore(tf.train.Checkpoint(**parts), checkpoint, advice="")
    return model, averaged


def parts_of(checkpoint: Checkpoint) -> set[str]:
    """Names of what it holds: "sub_generators", "discriminators", "generator_optimizer", ...

    Raises:
        RunFolderError: it is damaged.
    """
    if isinstance(checkpoint, WeightsFile):
        return {"sub_generators"}
    try:
        return {name.partition("/")[0] for name, _ in tf.train.list_variables(str(checkpoint))}
    except Exception as error:  # As above.
        raise RunFolderError(f"{checkpoint} is damaged: {error}") from error


def _network_parts(model: PyramidGenerator) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "sub_generators": model.sub_generators,
        "discriminators": model.discriminators,
    }
    if model.averaged_sub_generators:
        parts["averaged_sub_generators"] = model.averaged_sub_generators
    return {**parts, "step": model.steps_taken}


def _optimizer_parts(model: PyramidGenerator) -> dict[str, Any]:
    return {
        "generator_optimizer": model.generator_optimizer,
        "discriminator_optimizer": model.discriminator_optimizer,
    }


class Checkpoints:
    """Writes a run's checkpoints: the latest, milestones, and the best by validation.

    Args:
        run: the run folder.
        model: compiled.
        train: sets how many of the latest are kept, and how often one becomes a milestone.
    """

    def __init__(self, run: RunFolder, model: PyramidGenerator, train: TrainConfig) -> None:
        self.run, self.model, self.train = run, model, train
        done = [line[BEST_BY] for line in run.read_metrics() if BEST_BY in line]
        self.least = min(done, default=math.inf)
        self.last_milestone = max(run.milestone_steps(), default=0)
        # Made here, since inside `fit` a new variable would be one of all workers together.
        self._means = [tf.Variable([], shape=[None]) for _ in range(2)]

    def save(self, step: int, validation: float | None) -> None:
        """Saves the latest checkpoint, and a copy if it is a milestone or the best so far.

        Args:
            step: the current step.
            validation: the current value of `BEST_BY`; None while the highest level is untrained.
        """
        if self._is_milestone(step):
            self._write(self.run.milestones, step)
            self.last_milestone = step
        if validation is not None and validation < self.least:
            self._write(self.run.best, step, keep=1)
            self.least = validation
        self._write(self.run.checkpoints, step, keep=self.train.keep_checkpoints)

    def save_between_snapshots(self, step: int, means: tuple[FloatArray, FloatArray]) -> None:
        """Saves the latest checkpoint, with total and count of the metrics' means so far."""
        for variable, value in zip(self._means, means):
            variable.assign(value)
        state = tf.train.Checkpoint(**dict(zip(("total", "count"), self._means)))
        keep = self.train.keep_checkpoints
        self._write(self.run.checkpoints, step, keep, running_means=state)

    def _write(
        self, folder: Path, step: int, keep: int | None = None, **more: tf.train.Checkpoint
    ) -> None:
        """Writes a checkpoint, then deletes all but the `keep` newest; None for no deletion.

        Not by `tf.train.CheckpointManager`: it knows only what TensorFlow's note names. The note is
        written for other programs.

        Raises:
            WriteError: it cannot be written, and nothing of it is left; older ones are kept.
        """
        written = Checkpoint(folder / f"step-{step}")
        try:
            with writing(written.prefix, tf.errors.OpError):
                everything(self.model, **more).write(str(written))
                sync(*written.files, folder)  # Before an older one is deleted.
        except WriteError:
            with contextlib.suppress(OSError):
                _delete_half_written(written)
            raise
        # The one just written is kept even if a best one of a later, forgotten step is there.
        others = [x for x in checkpoints_in(folder) if x != written]
        kept = others if keep is None else others[: keep - 1]
        note = [f'model_checkpoint_path: "{written.name}"']
        note += [f'all_model_checkpoint_paths: "{x.name}"' for x in (*kept[::-1], written)]
        write_atomically(folder / "checkpoint", ("\n".join(note) + "\n").encode())
        for old in others[len(kept) :]:
            old.delete()

    def _is_milestone(self, step: int) -> bool:
        steps, hours = self.train.milestone_steps, self.train.milestone_hours
        due_by_step = steps and step - self.last_milestone >= steps
        # The folder's time is that of the last milestone, or of the run's beginning.
        due_by_time = hours and time.time() - self.run.milestones.stat().st_mtime >= 3600 * hours
        return bool(due_by_step or due_by_time)


def _delete_half_written(checkpoint: Checkpoint) -> None:
    shutil.rmtree(checkpoint.prefix.with_name(f"{checkpoint.name}_temp"), ignore_errors=True)
    # One of the same step may have been there before.
    if checkpoint.damage():
        checkpoint.delete()
