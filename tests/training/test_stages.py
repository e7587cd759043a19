"""Stages share the steps, follow one another without a gap, and have the learning rate they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pgi.config import SCHEDULES, ExperimentConfig, TrainConfig
from pgi.errors import RuleError
from pgi.training.stages import LearningRate, stages


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


def test_one_stage_ignores_what_belongs_to_several():
    (only,) = stages(config(stage_shares=(1.0, 2.0), stage_batch_multiples=(8,), steps=9))
    assert only == (((0, 1, 2), 0, 9, 4, 0, (0, 0, 0)))


def test_each_level_knows_since_when_it_learns():
    since = {s: [x.since for x in stages(config(schedule=s, steps=30))] for s in SCHEDULES}
    assert since["bottom_up"] == [(0,), (0, 10), (0, 10, 20)]
    assert since["layerwise"] == [(0,), (10,), (20,)]


@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
@pytest.mark.parametrize("shares", [(), (1, 1, 1), (0.7, 0.2, 0.1), (1, 100, 1)])
def test_stages_follow_one_another_up_to_the_last_step(steps, shares):
    multiples, batches = (4, 2, 1), (16, 8, 4)
    made = stages(
        config(
            schedule="bottom_up", steps=steps, stage_shares=shares, stage_batch_multiples=multiples
        )
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


def rates(**train: Any) -> list[np.ndarray]:
    """The rate of each step of each stage."""
    made = config(learning_rate=0.3, **train)
    found = []
    for stage in stages(made):
        rate = LearningRate(made.train, stage)
        steps = range(stage.last_step - stage.first_step)
        found.append(np.array([float(rate(n)) for n in steps]))
    return found


def cosine(steps: int) -> np.ndarray:
    return 0.15 * (1 + np.cos(np.pi * np.arange(steps) / steps))


@pytest.mark.parametrize("schedule", ["joint", "layerwise", "bottom_up"])
def test_a_constant_rate_warms_up_in_every_stage(schedule):
    for stage in rates(schedule=schedule, steps=30, warmup_steps=4):
        np.testing.assert_allclose(stage[:6], 0.3 * np.array([0.2, 0.4, 0.6, 0.8, 1, 1]), rtol=1e-6)
        np.testing.assert_allclose(stage[4:], 0.3, rtol=1e-6)


@pytest.mark.parametrize("schedule", ["joint", "bottom_up"])
def test_the_cosine_runs_over_the_whole_training(schedule):
    found = rates(schedule=schedule, steps=30, learning_rate_schedule="cosine")
    np.testing.assert_allclose(np.concatenate(found), cosine(30), atol=1e-6)


def test_layer_by_layer_the_cosine_runs_over_each_stage():
    for stage in rates(schedule="layerwise", steps=30, learning_rate_schedule="cosine"):
        np.testing.assert_allclose(stage, cosine(10), atol=1e-6)


def test_the_cosine_is_warmed_up_too():
    (found,) = rates(steps=20, learning_rate_schedule="cosine", warmup_steps=1)
    np.testing.assert_allclose(found, cosine(20) * np.array([0.5] + [1] * 19), atol=1e-6)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"schedule": "bottom_up", "stage_shares": (1.0, 1.0)}, "stage_shares must have one value"),
        (
            {"schedule": "layerwise", "stage_batch_multiples": (1, 2)},
            "one value for each of 3 stages, or none",
        ),
        (
            {"schedule": "bottom_up", "level_start": "below", "initial_weights": "runs/x"},
            "level_start must be",
        ),
    ],
)
def test_values_that_fit_no_stage_are_refused(values, message):
    with pytest.raises(RuleError, match=message):
        config(**values)
