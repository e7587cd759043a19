"""Trains an experiment: devices, data, model, and a run folder that the same call continues.

A checkpoint holds both optimisers, their steps, and every network with its spectral vectors. The
place in the data follows from the step (see `pgi.pipeline`), so a continued run computes what an
unbroken one would have computed, to the bit on a CPU.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow import keras

from pgi import callbacks, pipeline
from pgi.config import ExperimentConfig
from pgi.models import PyramidGenerator
from pgi.reading import ImageSource
from pgi.rules import check
from pgi.run_folder import RunFolder, RunFolderError

# Rows of a sample picture.
_PICTURES = 4


def train(
    config: ExperimentConfig,
    train_source: ImageSource,
    validation_source: ImageSource,
    workdir: str | Path,
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, float]:
    """Trains until the config's steps or minutes are over; continues a run that the folder holds.

    Args:
        config: of the experiment.
        train_source: photographs to learn from.
        validation_source: photographs held out.
        workdir: the run folder, new or of the same config.
        strategy: over which devices; None for `default_strategy`.

    Returns:
        The last snapshot's metrics: `step`, `train/...` and `validation/...`.

    Raises:
        RuleError: a batch, or the validation images, cannot be split evenly over the replicas.
        RunFolderError: the folder belongs to another run.
        NonFiniteLossError: a loss diverged; the last good checkpoint is kept.
    """
    shared = math.gcd(config.train.batch_size, config.data.validation_images)
    strategy = strategy or default_strategy(shared)
    replicas, batch = strategy.num_replicas_in_sync, config.train.batch_size
    for name, count in (
        ("batch_size", batch),
        ("validation_images", config.data.validation_images),
    ):
        check(name, f"a multiple of {replicas} replicas", count % replicas == 0, count)
    run = RunFolder(workdir)
    sources = {"train": train_source, "validation": validation_source}
    run.begin(config, {x: [len(s), s.identity()] for x, s in sources.items()})

    with strategy.scope():
        model = make_model(config)
        averaging = {
            "use_ema": config.train.ema_momentum > 0,
            "ema_momentum": config.train.ema_momentum,
            "ema_overwrite_frequency": config.train.ema_overwrite_frequency,
        }
        optimizers = _adam(config, **averaging), _adam(config)
        compile_model(model, config, *optimizers)
    checkpoint = make_checkpoint(model)
    manager = tf.train.CheckpointManager(
        checkpoint, str(run.checkpoints), config.train.keep_checkpoints, checkpoint_name="step"
    )
    if manager.latest_checkpoint:
        try:
            checkpoint.restore(manager.latest_checkpoint).assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:
            raise RunFolderError(f"{manager.latest_checkpoint} does not fit: {error}") from error
    run.forget_after(model.step)

    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
    examples = _validation_examples(config, validation_source)
    validation = tf.data.Dataset.from_tensor_slices(examples).batch(replicas)
    pictures = tf.nest.map_structure(lambda x: x[:_PICTURES], examples)
    snapshot = callbacks.Snapshot(run, manager, pictures)
    deadline = time.monotonic() + 60 * (config.train.minutes or math.inf)
    for only_level, last_step in _stages(config):
        step, seconds = model.step, deadline - time.monotonic()
        if step >= last_step or seconds <= 0:
            continue
        with strategy.scope():
            compile_model(model, config, *optimizers, only_level, build if replicas > 1 else None)
        training = _crops(config, train_source, config.train.seed, batch, first=step * batch)
        if replicas == 1:
            training = pipeline.apply_on(training, build, _only_gpu())
        model.fit(
            training,
            initial_epoch=step // config.train.snapshot_steps,
            epochs=config.train.steps,
            steps_per_epoch=config.train.snapshot_steps,
            validation_data=validation,
            verbose=0,
            callbacks=[
                callbacks.StopOnNonFinite(run),
                callbacks.TotalSteps(last_step),
                callbacks.TimeLimit(seconds),
                callbacks.ProgressBar(step, last_step, seconds),
                snapshot,
            ],
        )
    run.forget_divergence()
    return run.read_metrics()[-1]


def default_strategy(examples: int) -> tf.distribute.Strategy:
    """As many GPUs of this machine as can share so many examples evenly, else the one device."""
    gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
    count = max(n for n in range(1, max(len(gpus), 1) + 1) if examples % n == 0)
    if count == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(gpus[:count])


def make_model(config: ExperimentConfig) -> PyramidGenerator:
    """The config's networks, built, with the initial weights of its seed."""
    keras.utils.set_random_seed(config.train.seed)
    model = PyramidGenerator(**dataclasses.asdict(config.model))
    model.build_networks()
    return model


def compile_model(
    model: PyramidGenerator,
    config: ExperimentConfig,
    generator_optimizer: keras.optimizers.Optimizer,
    discriminator_optimizer: keras.optimizers.Optimizer,
    only_level: int | None = None,
    preprocess: pipeline.Builder | None = None,
) -> None:
    """Compiles the model with the config's losses; see `PyramidGenerator.compile`."""
    model.compile(
        generator_optimizer,
        discriminator_optimizer,
        only_level=only_level,
        preprocess=preprocess,
        **dataclasses.asdict(config.loss),
    )


def make_checkpoint(model: PyramidGenerator) -> tf.train.Checkpoint:
    """All that training changes; the model must be compiled."""
    return tf.train.Checkpoint(
        sub_generators=model.sub_generators,
        discriminators=model.discriminators,
        generator_optimizer=model.generator_optimizer,
        discriminator_optimizer=model.discriminator_optimizer,
    )


def _adam(config: ExperimentConfig, **kwargs: Any) -> keras.optimizers.Optimizer:
    betas = {"beta_1": config.train.beta_1, "beta_2": config.train.beta_2}
    return keras.optimizers.Adam(config.train.learning_rate, **betas, **kwargs)


def _stages(config: ExperimentConfig) -> list[tuple[int | None, int]]:
    """Which level is trained alone (None: all jointly), and up to which step."""
    if config.train.schedule == "joint":
        return [(None, config.train.steps)]
    levels = len(config.model.levels)
    return [(level, config.train.steps * (level + 1) // levels) for level in range(levels)]


def _crops(
    config: ExperimentConfig,
    source: ImageSource,
    seed: int,
    batch_size: int,
    first: int = 0,
    count: int | None = None,
) -> tf.data.Dataset:
    return pipeline.crops(
        source,
        size=config.model.levels[-1],
        crop=config.data.crop,
        batch_size=batch_size,
        seed=seed,
        flip=config.data.flip and count is None,
        first=first,
        count=count,
        shuffle=count is None,
    )


def _validation_examples(config: ExperimentConfig, source: ImageSource) -> pipeline.Pyramids:
    """The fixed validation images and masks, all in one batch: they are few, and made once."""
    seed, count = pipeline.VALIDATION_SEED, config.data.validation_images
    crops = _crops(config, source, seed, batch_size=count, count=count)
    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, seed)
    return next(iter(pipeline.apply_on(crops, build, device=None)))


def _only_gpu() -> str | None:
    gpus = tf.config.list_logical_devices("GPU")
    return gpus[0].name if gpus else None
