"""Stages of a training: levels, steps, batch size and learning rate.

A joint training has one stage. "layerwise" and "bottom_up" have one per level; each begins with
fresh optimisers, so that Adam's bias correction matches its empty moments. (With the step counter
of an earlier stage, its first updates would be 15 to 18 times the learning rate.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow import keras

from pgi.config import ExperimentConfig, TrainConfig


class Stage(NamedTuple):
    """Consecutive steps that train the same levels.

    Attributes:
        levels: the trained levels, coarsest first.
        first_step: number of steps before the stage.
        last_step: number of steps after the stage.
        batch_size: of all replicas together.
        first_sample: number of samples before the stage.
        since: for each trained level, the step at which its training began.
    """

    levels: tuple[int, ...]
    first_step: int
    last_step: int
    batch_size: int
    first_sample: int
    since: tuple[int, ...]

    def sample(self, step: int) -> int:
        """Number of the first sample of a step of this stage."""
        return self.first_sample + (step - self.first_step) * self.batch_size


def stages(config: ExperimentConfig) -> list[Stage]:
    """The stages of a training, in order; with few steps, a stage may be empty."""
    levels, train = range(len(config.model.levels)), config.train
    if train.schedule == "joint":
        zeros = (0,) * len(levels)
        return [Stage(tuple(levels), 0, train.steps, train.batch_size, 0, since=zeros)]
    shares = train.stage_shares or (1.0,) * len(levels)
    multiples = train.stage_batch_multiples or (1,) * len(levels)
    ends = [round(train.steps * sum(shares[: n + 1]) / sum(shares)) for n in levels]
    starts = [0, *ends[:-1]]
    made: list[Stage] = []
    for level in levels:
        lowest = level if train.schedule == "layerwise" else 0
        made.append(
            Stage(
                levels=tuple(range(lowest, level + 1)),
                first_step=starts[level],
                last_step=ends[level],
                batch_size=train.batch_size * multiples[level],
                first_sample=made[-1].sample(starts[level]) if made else 0,
                since=tuple(starts[lowest : level + 1]),
            )
        )
    return made


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate of a stage, as a function of the optimiser's own step.

    Warm-up: step n of a stage, from 0, has at most (n + 1) / (warm-up steps + 1) of the rate. The
    cosine falls to 0 over the whole training; under "layerwise", where each level learns in its own
    stage only, over each stage.

    Args:
        train: rate and schedule.
        stage: the stage.
    """

    def __init__(self, train: TrainConfig, stage: Stage) -> None:
        self.train, self.stage = train, stage
        whole = train.schedule != "layerwise"
        self.first_step = stage.first_step if whole else 0
        steps = train.steps if whole else max(stage.last_step - stage.first_step, 1)
        self.cosine = keras.optimizers.schedules.CosineDecay(train.learning_rate, steps)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        rate = tf.constant(self.train.learning_rate)
        if self.train.learning_rate_schedule == "cosine":
            rate = self.cosine(step + self.first_step)
        warmed_up = (tf.cast(step, tf.float32) + 1.0) / (self.train.warmup_steps + 1.0)
        return rate * tf.minimum(warmed_up, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"train": self.train, "stage": self.stage}
