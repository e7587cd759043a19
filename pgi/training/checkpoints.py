"""Checkpoints of a run: the latest, milestones that are kept, and the best by validation."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from pgi.config import TrainConfig
from pgi.errors import RunFolderError
from pgi.models import PyramidGenerator
from pgi.training.run_folder import RunFolder

# What validation is judged by; lower is better.
BEST_BY = "validation/hole_l1"


def networks(model: PyramidGenerator) -> tf.train.Checkpoint:
    """Every network, the moving averages that are kept, and the step."""
    return tf.train.Checkpoint(**_network_parts(model))


def everything(model: PyramidGenerator) -> tf.train.Checkpoint:
    """All that training changes: the networks and both optimisers; the model must be compiled."""
    return tf.train.Checkpoint(**_network_parts(model), **_optimizer_parts(model))


def optimizers(model: PyramidGenerator) -> tf.train.Checkpoint:
    """Both optimisers; the model must be compiled."""
    return tf.train.Checkpoint(**_optimizer_parts(model))


def restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    """Restores everything that a checkpoint object names.

    Raises:
        RunFolderError: the files lack a part of it, hold another shape, or are damaged.
    """
    try:
        checkpoint.read(path).assert_existing_objects_matched().expect_partial()
    except Exception as error:  # TensorFlow raises another kind for every kind of damage.
        raise RunFolderError(
            f"{path} is damaged or does not fit: {error}. (What an earlier version trained can be "
            "loaded, exported, or given as train.initial_weights, but not continued.)"
        ) from error


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
    """Writes a run's checkpoints, and decides which are kept.

    Args:
        run: the run folder.
        model: compiled.
        train: says how many of the latest are kept, and which milestones.
    """

    def __init__(self, run: RunFolder, model: PyramidGenerator, train: TrainConfig) -> None:
        self.run, self.model, self.train = run, model, train
        checkpoint = everything(model)

        def manager(folder: Path, keep: int | None) -> tf.train.CheckpointManager:
            return tf.train.CheckpointManager(
                checkpoint, str(folder), max_to_keep=keep, checkpoint_name="step"
            )

        self.latest = manager(run.checkpoints, train.keep_checkpoints)
        self.best = manager(run.best, 1)
        self.milestones = manager(run.milestones, None)
        done = [line[BEST_BY] for line in run.read_metrics() if BEST_BY in line]
        self.least = min(done, default=math.inf)
        self.last_milestone = max(run.milestone_steps(), default=0)

    def save(self, step: int, validation: float | None) -> None:
        """Saves one, and again where it is a milestone or the best so far.

        Args:
            step: the present one.
            validation: the present value of `BEST_BY`; None while the highest level is untrained.
        """
        if self._is_milestone(step):
            self.milestones.save(checkpoint_number=step)
            self.last_milestone = step
        if validation is not None and validation < self.least:
            self.best.save(checkpoint_number=step)
            self.least = validation
        self.latest.save(checkpoint_number=step)

    def _is_milestone(self, step: int) -> bool:
        steps, hours = self.train.milestone_steps, self.train.milestone_hours
        due_by_step = steps and step - self.last_milestone >= steps
        # The folder is made with the run, and changes with each milestone only.
        due_by_time = hours and time.time() - self.run.milestones.stat().st_mtime >= 3600 * hours
        return bool(due_by_step or due_by_time)
