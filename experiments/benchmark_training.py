"""Cases of `experiments.benchmark` about the steps of the standard configurations, and their parts.

`small` is measured in its last stage, which trains all levels, at that stage's batch. `places2` and
`celeba_hq` have the networks of `paper_512`. That one has a batch of 1 instead of 4, so that it
fits into 8 GB and is done in minutes on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from experiments import benchmark_input
from experiments.benchmark_network import Case, centre_hole, random_image
from experiments.configs import deepfillv2_256, paper_512, small
from pgi import images
from pgi.config import ExperimentConfig
from pgi.models import PyramidGenerator
from pgi.models.pyramid import Pyramid
from pgi.training import assembly, pipeline
from pgi.training.stages import stages

Part = Callable[[ExperimentConfig, int], Callable[[], tf.Tensor]]

# The first run also optimises the graph, for half a minute, and must not be the one that counts.
LIMITS: dict[str, Any] = {"most_runs": 3, "seconds": 180.0}
CONFIGS: dict[str, tuple[ExperimentConfig, int]] = {
    "small": (small.get_config(), 4),
    "deepfillv2_256": (deepfillv2_256.get_config(), 4),
    "paper_512": (paper_512.get_config(), 1),
}


def whole(config: ExperimentConfig, batch: int) -> Callable[[], tf.Tensor]:
    """A training step as `fit` runs it, without its input."""
    model, inputs = _model(config), _inputs(config, batch)
    graph = tf.function(model.train_step, autograph=False).get_concrete_function(inputs)
    return lambda: graph(inputs)["loss"]


def forward(config: ExperimentConfig, batch: int) -> Callable[[], tf.Tensor]:
    """All sub-generators, forwards."""
    model, inputs = _model(config), _inputs(config, batch)
    graph = tf.function(lambda *x: model(x, training=True)[-1].completed, autograph=False)
    concrete = graph.get_concrete_function(*inputs)
    return lambda: concrete(*inputs)


def gradient(config: ExperimentConfig, batch: int) -> Callable[[], tf.Tensor]:
    """All sub-generators, forwards, and their loss backwards, through the discriminators too."""
    model, inputs = _model(config), _inputs(config, batch)

    def norm(truths: Pyramid, masks: Pyramid) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(model.generator_variables)
            outputs = model((truths, masks), training=True)
            fakes = [tf.concat([x.completed, m], axis=-1) for x, m in zip(outputs, masks)]
            scores = {n: judge(x) for n, (judge, x) in enumerate(zip(model.discriminators, fakes))}
            loss, _ = model.objective.generator_loss(truths, outputs, scores, model.steps_taken)
        return tf.linalg.global_norm(tape.gradient(loss, model.generator_variables))

    graph = tf.function(norm, autograph=False).get_concrete_function(*inputs)
    return lambda: graph(*inputs)


def discriminators(config: ExperimentConfig, batch: int) -> Callable[[], tf.Tensor]:
    """All discriminators on photographs and results, forwards and backwards."""
    model, inputs = _model(config), _inputs(config, batch)

    def norm(truths: Pyramid, masks: Pyramid) -> tf.Tensor:
        real, fake = {}, {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(model.discriminator_variables)
            for n, (truth, mask) in enumerate(zip(truths, masks)):
                # The photographs stand for the results, which cost the same.
                both = tf.concat([tf.concat([truth, mask], axis=-1)] * 2, axis=0)
                scores = model.discriminators[n](both, training=True)
                real[n], fake[n] = tf.split(scores, 2, axis=0)
            loss, _ = model.objective.discriminator_loss(real, fake)
        return tf.linalg.global_norm(tape.gradient(loss, model.discriminator_variables))

    graph = tf.function(norm, autograph=False).get_concrete_function(*inputs)
    return lambda: graph(*inputs)


def fed(config: ExperimentConfig, batch: int) -> benchmark_input.Batches:
    """The input alone: the host's stages, masks and pyramids; batches of it, one after another."""
    crops = pipeline.crops(
        benchmark_input.source(),
        size=config.model.levels[-1],
        crop=config.data.crop,
        batch_size=batch,
        seed=config.train.seed,
        flip=config.data.flip,
        rotate=config.data.rotate,
        colour_jitter=config.data.colour_jitter,
    )
    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
    gpus = tf.config.list_logical_devices("GPU")
    iterator = iter(pipeline.apply_on(crops, build, gpus[0].name if gpus else None))
    return benchmark_input.Batches(lambda: tf.nest.flatten(next(iterator))[0])


def _model(config: ExperimentConfig) -> PyramidGenerator:
    model = assembly.make_model(config)
    assembly.compile_model(model, config, stages(config)[-1])
    return model


def _inputs(config: ExperimentConfig, batch: int) -> tuple[Pyramid, Pyramid]:
    side, levels = config.model.levels[-1], len(config.model.levels)
    holes = tf.repeat(centre_hole(side, side // 2), batch, axis=0)
    truths, masks = images.pyramids(random_image(side, batch), holes, levels)
    return truths, masks


PARTS: dict[str, Part] = {
    "whole": whole,
    "input": fed,
    "forward": forward,
    "forward and backward": gradient,
    "discriminators": discriminators,
}


def _name(config: str, part: str) -> str:
    return f"step {config}, batch {CONFIGS[config][1]}: {part}"


def _case(config: str, part: str) -> Case:
    return lambda: PARTS[part](*CONFIGS[config])


CASES: dict[str, Case] = {
    _name(config, part): _case(config, part) for config in CONFIGS for part in PARTS
}


def steps(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What a step of each configuration costs and how its time is divided.

    Args:
        measured: seconds and megabytes of each case.

    Returns:
        For each configuration whose cases were all measured: steps per second, peak megabytes, and
        seconds. "backward" is of the generators' loss; "rest" is the optimisers' updates, norms and
        moving averages, what `whole` takes longer than its parts. The input is made while the step
        before runs, so it is no part of `whole`.
    """
    found = {}
    for config in CONFIGS:
        names = {part: _name(config, part) for part in PARTS}
        if not set(names.values()) <= set(measured):
            continue
        seconds = {part: measured[name]["seconds"] for part, name in names.items()}
        parts = {
            "input": seconds["input"],
            "forward": seconds["forward"],
            "backward": seconds["forward and backward"] - seconds["forward"],
            "discriminators": seconds["discriminators"],
            "rest": seconds["whole"] - seconds["forward and backward"] - seconds["discriminators"],
        }
        megabytes = measured[names["whole"]]["megabytes"]
        found[names["whole"].removesuffix(": whole")] = {
            "steps/s": 1 / seconds["whole"],
            "MB": megabytes,
            **parts,
        }
    return found
