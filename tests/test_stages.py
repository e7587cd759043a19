"""Stages share the steps, follow one another without a gap, and have the learning rate they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from pgi.config import ExperimentConfig, TrainConfig
from pgi.rules import RuleError
from pgi.stages import learning_rate, stages


def config(**train: Any) -> ExperimentConfig:
    return ExperimentConfig(train=TrainConfig(**train))


@pytest.mark.parametrize(
    "schedule, levels",
    [
        ("joint", [(0, 1, 2)]),
        ("layerwise", [(0,), (1,), (2,)]),
        ("bottom_up", [(0,), (0, 1), (0, 1, 2)]),
    ],
)
def test_a_schedule_says_which_levels_learn(schedule, levels):
    assert [stage.levels for stage in stages(config(schedule=schedule))] == levels


@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("shares", [(), (1, 1, 1), (0.7, 0.2, 0.1), (1, 100, 1)])
def test_stages_follow_one_another_up_to_the_last_step(steps, shares):
    batches = (16, 8, 4)
    made = stages(
        config(schedule="bottom_up", steps=steps, stage_shares=shares, stage_batch_sizes=batches)
    )
    assert made[0].first_step == made[0].first_sample == 0
    assert made[-1].last_step == steps
    for lower, upper in zip(made, made[1:]):
        assert upper.first_step == lower.last_step
        assert upper.first_sample == lower.sample(lower.last_step)
    shares = np.array(shares or (1, 1, 1)) / sum(shares or (1, 1, 1))
    lengths = [stage.last_step - stage.first_step for stage in made]
    assert np.abs(lengths - steps * shares).max() <= 1
    seen = sum(length * batch for length, batch in zip(lengths, batches))
    assert made[-1].sample(steps) == seen


def rates(train: TrainConfig) -> np.ndarray:
    """The rate of each step of the only stage."""
    (only,) = stages(ExperimentConfig(train=train))
    rate = learning_rate(train, only)
    return np.array([float(rate(n)) if callable(rate) else rate for n in range(train.steps)])


@pytest.mark.parametrize("warmup", [0, 1, 5])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_learning_rate_warms_up_and_falls_as_it_says(schedule, warmup):
    train = TrainConfig(
        learning_rate=0.3, learning_rate_schedule=schedule, warmup_steps=warmup, steps=20
    )
    expected = []
    for n in range(20):
        if n < warmup:
            expected.append(0.3 * (n + 1) / (warmup + 1))
        elif schedule == "constant":
            expected.append(0.3)
        else:
            expected.append(0.15 * (1 + math.cos(math.pi * (n - warmup) / (20 - warmup))))
    np.testing.assert_allclose(rates(train), expected, rtol=1e-5)


def test_a_warm_up_longer_than_a_stage_still_ends_in_it():
    train = TrainConfig(warmup_steps=50, steps=4, learning_rate_schedule="cosine")
    assert np.argmax(rates(train)) == 3


@pytest.mark.parametrize(
    "values, message",
    [
        ({"schedule": "bottom_up", "stage_shares": (1.0, 1.0)}, "stage_shares must have one value"),
        ({"stage_batch_sizes": (1, 2, 3)}, "one value for each of 1 stages, or none"),
        ({"level_start": "below"}, '"below" needs train.schedule "layerwise" or "bottom_up"'),
    ],
)
def test_values_that_fit_no_stage_are_refused(values, message):
    with pytest.raises(RuleError, match=message):
        config(**values)
