"""Stages of a training: which levels learn, at which steps, batch size and learning rate.

A joint training has one stage. "layerwise" and "bottom_up" have one per level; each begins with
fresh optimisers, so that Adam's bias correction fits its empty moments. (With the clock of an
earlier stage, its first updates would be 15 to 18 times the learning rate.)
"""

from __future__ import annotations

from typing import NamedTuple, Union

from tensorflow import keras

from pgi.config import ExperimentConfig, TrainConfig

LearningRate = Union[float, keras.optimizers.schedules.LearningRateSchedule]


class Stage(NamedTuple):
    """Consecutive steps that train the same levels.

    Attributes:
        levels: the trained levels, coarsest first.
        first_step: steps taken before it.
        last_step: steps taken after it.
        batch_size: of all replicas together.
        first_sample: samples seen before it.
    """

    levels: tuple[int, ...]
    first_step: int
    last_step: int
    batch_size: int
    first_sample: int

    def sample(self, step: int) -> int:
        """Number of the first sample of a step of this stage."""
        return self.first_sample + (step - self.first_step) * self.batch_size


def stages(config: ExperimentConfig) -> list[Stage]:
    """The stages of a training, in order; a stage may be empty if there are fewer steps."""
    levels, train = range(len(config.model.levels)), config.train
    trained: list[tuple[int, ...]]
    if train.schedule == "joint":
        trained = [tuple(levels)]
    elif train.schedule == "layerwise":
        trained = [(level,) for level in levels]
    else:
        trained = [tuple(range(level + 1)) for level in levels]
    shares = train.stage_shares or (1.0,) * len(trained)
    batches = train.stage_batch_sizes or (train.batch_size,) * len(trained)
    made: list[Stage] = []
    step = sample = 0
    for number, (part, batch) in enumerate(zip(trained, batches), start=1):
        last = round(train.steps * sum(shares[:number]) / sum(shares))
        made.append(Stage(part, step, last, batch, sample))
        step, sample = last, made[-1].sample(last)
    return made


def learning_rate(train: TrainConfig, stage: Stage) -> LearningRate:
    """The learning rate of one stage, by the optimiser's own count of steps.

    With a warm-up, step n of it (from 0) has (n + 1) / (warm-up steps + 1) of the full rate. The
    cosine reaches 0 with the stage's last step.
    """
    steps = max(stage.last_step - stage.first_step, 1)
    warmup = min(train.warmup_steps, steps - 1)
    if train.learning_rate_schedule == "cosine":
        first = train.learning_rate / (warmup + 1)
        if not warmup:
            return keras.optimizers.schedules.CosineDecay(train.learning_rate, steps)
        return keras.optimizers.schedules.CosineDecay(
            first, steps - warmup, warmup_target=train.learning_rate, warmup_steps=warmup
        )
    if not warmup:
        return train.learning_rate
    return keras.optimizers.schedules.PolynomialDecay(
        train.learning_rate / (warmup + 1), warmup, end_learning_rate=train.learning_rate
    )
