"""Trains an experiment: devices, data, model, and a run folder that the same call resumes.

A checkpoint holds the step, both optimisers, the moving average, and every network with its
spectral vectors. Stage and place in the data follow from the step (see `pgi.training.stages` and
`pgi.training.pipeline`), so a resumed run computes what an uninterrupted one would have computed,
to the bit on a CPU.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path

import tensorflow as tf
from tensorflow import keras

from pgi.config import ExperimentConfig
from pgi.models import Objective, PyramidGenerator
from pgi.rules import check
from pgi.training import callbacks, checkpoints, initial_weights, pipeline
from pgi.training.checkpoints import Checkpoints
from pgi.training.reading import ImageSource
from pgi.training.run_folder import RunFolder, checkpoints_in
from pgi.training.stages import LearningRate, Stage, stages

# Rows of a sample picture.
_PICTURES = 4


def train(
    config: ExperimentConfig,
    train_source: ImageSource,
    validation_source: ImageSource,
    workdir: str | Path,
    strategy: tf.distribute.Strategy | None = None,
    licence: str | None = None,
) -> dict[str, float]:
    """Trains until the config's steps or minutes are over; resumes a run that the folder holds.

    Args:
        config: of the experiment.
        train_source: photographs to learn from.
        validation_source: photographs held out.
        workdir: the run folder, new or of the same config.
        strategy: the devices; None for `default_strategy`.
        licence: of the images, for the model card.

    Returns:
        The last snapshot's metrics: `step`, `train/...` and `validation/...`.

    Raises:
        RuleError: a batch, or the validation images, cannot be split evenly over the replicas, or
            the initial weights do not fit.
        RunFolderError: the folder belongs to another run, or its checkpoints are lost or damaged.
        WriteError: the disk is full or read-only; the last checkpoint is kept.
        NonFiniteLossError: a loss diverged; the last good checkpoint is kept.
    """
    strategy = _checked(strategy, config)
    run = RunFolder(workdir)
    with strategy.scope():
        model = make_model(config)
    if config.train.initial_weights and not checkpoints_in(run.checkpoints):
        print(initial_weights.load(model, config.train.initial_weights))
    sources = {"train": train_source, "validation": validation_source}
    run.begin(config, {x: [len(s), s.identity()] for x, s in sources.items()}, licence)
    newest = run.checkpoint_to_continue()
    if newest:
        checkpoints.restore(checkpoints.networks(model), newest)
    run.forget_after(model.step)

    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
    examples = validation_examples(config, validation_source)
    validation = tf.data.Dataset.from_tensor_slices(examples).batch(strategy.num_replicas_in_sync)
    pictures = tf.nest.map_structure(lambda x: x[:_PICTURES], examples)
    growth = callbacks.WarnOfGrowth(run)
    end = time.monotonic() + 60 * (config.train.minutes or math.inf)
    for stage in stages(config):
        seconds = end - time.monotonic()
        if not stage.first_step <= model.step < stage.last_step or seconds <= 0:
            continue
        first = stage.sample(model.step)
        crops = training_crops(config, train_source, stage.batch_size, first)
        feed = pipeline.feed(crops, build, strategy)
        with strategy.scope():
            compile_model(model, config, stage, feed.preprocess)
        if newest and model.step > stage.first_step:
            checkpoints.restore(checkpoints.optimizers(model), newest)
        elif stage.first_step and config.train.level_start == "below":
            initial_weights.start_from_below(model, stage.levels[-1])
        model.fit(
            feed.dataset,
            initial_epoch=model.step // config.train.snapshot_steps,
            epochs=config.train.steps,
            steps_per_epoch=config.train.snapshot_steps,
            validation_data=validation,
            verbose=0,
            callbacks=[
                callbacks.StopOnNonFinite(run),
                callbacks.TotalSteps(stage.last_step),
                callbacks.TimeLimit(seconds),
                callbacks.ProgressBar(model.step, stage.last_step, seconds, _label(config, stage)),
                growth,
                callbacks.Snapshot(run, Checkpoints(run, model, config.train), pictures),
            ],
        )
    run.forget_divergence()
    return run.read_metrics()[-1]


def _checked(
    strategy: tf.distribute.Strategy | None, config: ExperimentConfig
) -> tf.distribute.Strategy:
    """The strategy, or the default one, whose replicas must share every batch evenly."""
    counts = [("batch_size", stage.batch_size) for stage in stages(config)]
    counts.append(("validation_images", config.data.validation_images))
    strategy = strategy or default_strategy(math.gcd(*(count for _, count in counts)))
    replicas = strategy.num_replicas_in_sync
    for name, count in counts:
        check(name, f"a multiple of {replicas} replicas", count % replicas == 0, count)
    return strategy


def default_strategy(examples: int) -> tf.distribute.Strategy:
    """As many local GPUs as can share `examples` evenly, or the default device."""
    gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
    count = max(n for n in range(1, max(len(gpus), 1) + 1) if examples % n == 0)
    if count == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(gpus[:count])


def make_model(config: ExperimentConfig) -> PyramidGenerator:
    """The config's networks, built, with the initial weights of its seed."""
    keras.utils.set_random_seed(config.train.seed)
    model = PyramidGenerator(
        **dataclasses.asdict(config.model),
        convolution_dtype=config.train.convolution_dtype,
        attention_max_bytes=config.train.attention_megabytes * 2**20,
    )
    model.build_networks()
    if config.train.ema_momentum:
        model.keep_averages()
    return model


def compile_model(
    model: PyramidGenerator,
    config: ExperimentConfig,
    stage: Stage,
    preprocess: pipeline.Builder | None = None,
) -> None:
    """Compiles the model with the config's losses and fresh optimisers, for one stage."""
    train, loss = config.train, dataclasses.asdict(config.loss)
    warmup = loss.pop("adversarial_warmup") * train.steps

    def adam() -> keras.optimizers.Optimizer:
        rate = LearningRate(train, stage)
        return keras.optimizers.Adam(rate, train.beta_1, train.beta_2, epsilon=train.epsilon)

    model.compile(
        adam(),
        adam(),
        Objective(**loss, adversarial_warmup_steps=warmup),
        trained_levels=stage.levels,
        trained_since=stage.since,
        clip_norm=train.clip_norm,
        ema_momentum=train.ema_momentum,
        preprocess=preprocess,
    )


def training_crops(
    config: ExperimentConfig, source: ImageSource, batch_size: int, first: int = 0
) -> tf.data.Dataset:
    """The config's endless training crops, from sample `first` on; see `pipeline.crops`."""
    data = config.data
    return pipeline.crops(
        source,
        size=config.model.levels[-1],
        crop=data.crop,
        batch_size=batch_size,
        seed=config.train.seed,
        downsample=data.downsample,
        flip=data.flip,
        rotate=data.rotate,
        colour_jitter=data.colour_jitter,
        first=first,
    )


def validation_examples(config: ExperimentConfig, source: ImageSource) -> pipeline.Pyramids:
    """The fixed validation images and masks, in one batch; without augmentation."""
    seed, count = pipeline.VALIDATION_SEED, config.data.validation_images
    crops = pipeline.crops(
        source,
        size=config.model.levels[-1],
        crop=config.data.crop,
        batch_size=count,
        seed=seed,
        downsample=config.data.downsample,
        count=count,
        shuffle=False,
    )
    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, seed)
    pyramids, masks = next(iter(pipeline.apply_on(crops, build, device=None)))
    return pyramids, masks


def _label(config: ExperimentConfig, stage: Stage) -> str:
    """The levels that a stage trains, if not all of them, for the progress bar."""
    if len(stage.levels) == len(config.model.levels):
        return ""
    return f"level {' + '.join(map(str, stage.levels))}: "
