"""Cases of `experiments.benchmark` about the small configuration, now and in version 0.1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import tensorflow as tf

from experiments.benchmark_network import Case, centre_hole, random_image
from experiments.configs import small
from pgi import images
from pgi.config import ExperimentConfig, LossConfig, TrainConfig
from pgi.training import assembly
from pgi.training.stages import stages

_STAGES = ("small step, level 0", "small step, level 0 + 1", "small step, all levels")


def _before(convolution_dtype: str) -> ExperimentConfig:
    """The configuration of version 0.1: joint training, width 24, batch 4."""
    config = small.get_config()
    return replace(
        config,
        model=replace(config.model, width=24),
        loss=LossConfig(),
        train=TrainConfig(convolution_dtype=convolution_dtype),
    )


def _step(config: ExperimentConfig, number: int) -> Callable[[], tf.Tensor]:
    """A training step of stage `number`."""
    stage = stages(config)[number]
    model = assembly.make_model(config)
    assembly.compile_model(model, config, stage)
    side, batch = config.model.levels[-1], stage.batch_size
    holes = tf.repeat(centre_hole(side, side // 2), batch, axis=0)
    inputs = images.pyramids(random_image(side, batch), holes, len(config.model.levels))
    graph = tf.function(model.train_step, autograph=False).get_concrete_function(inputs)
    return lambda: graph(inputs)["loss"]


CASES: dict[str, Case] = {
    "small step, before": lambda: _step(_before("float32"), 0),
    "small step, before, bfloat16": lambda: _step(_before("bfloat16"), 0),
    _STAGES[0]: lambda: _step(small.get_config(), 0),
    _STAGES[1]: lambda: _step(small.get_config(), 1),
    _STAGES[2]: lambda: _step(small.get_config(), 2),
}


def rates(seconds: Mapping[str, float]) -> dict[str, float]:
    """Images per second of each case and of the whole training; empty if a case is missing.

    Args:
        seconds: of each case.
    """
    if not set(CASES) <= set(seconds):
        return {}
    found = {x: TrainConfig().batch_size / seconds[x] for x in CASES if x not in _STAGES}
    images_seen, time = 0, 0.0
    for name, stage in zip(_STAGES, stages(small.get_config())):
        steps = stage.last_step - stage.first_step
        found[name] = stage.batch_size / seconds[name]
        images_seen, time = images_seen + steps * stage.batch_size, time + steps * seconds[name]
    return {**found, "small training, all its stages": images_seen / time}
