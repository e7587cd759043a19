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
from collections.abc import Callable
from pathlib import Path
from signal import Signals

import tensorflow as tf
from tensorflow import keras

from pgi.config import ExperimentConfig
from pgi.errors import Interrupted
from pgi.models import Objective, PyramidGenerator
from pgi.rules import check
from pgi.training import callbacks, checkpoints, initial_weights, pipeline, stopping
from pgi.training.checkpoints import Checkpoints
from pgi.training.interruption import Interruption
from pgi.training.reading import ImageSource
from pgi.training.run_folder import Checkpoint, RunFolder, checkpoints_in
from pgi.training.snapshot import Snapshot
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
        The last snapshot's metrics: `step`, `train/...` and `validation/...`. Empty if the time
        was over before the first snapshot. A time limit ends between two steps and saves the step.

    Raises:
        RuleError: a batch, or the validation images, cannot be split evenly over the replicas, or
            the initial weights do not fit.
        RunFolderError: the folder belongs to another run or is in use, or its checkpoints are lost
            or damaged.
        Interrupted: SIGINT, SIGTERM or SIGUSR1 came, and the step that it came in is saved. Only
            the main thread of a program notices these signals; a second one ends the process.
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
    images = {x: [len(s), s.identity()] for x, s in sources.items()}
    with run.locked():
        newest = run.checkpoint_to_continue()
        if newest and (newest.step or 0) >= config.train.steps:
            run.refuse_other(config, images)
            print(f"All {config.train.steps:,} steps are done")
        else:
            run.begin(config, images, licence)
            _continue(config, train_source, validation_source, strategy, model, run, newest)
        run.forget_divergence()
        return (run.read_metrics() or [{}])[-1]


def _continue(
    config: ExperimentConfig,
    train_source: ImageSource,
    validation_source: ImageSource,
    strategy: tf.distribute.Strategy,
    model: PyramidGenerator,
    run: RunFolder,
    newest: Checkpoint | None,
) -> None:
    """Trains from the newest checkpoint, if there is one, until the end, a signal or the limit."""
    if newest:
        checkpoints.restore(checkpoints.networks(model), newest)
        print(f"Continues at step {model.step:,}")
    run.forget_after(model.step)
    end = time.monotonic() + 60 * (config.train.minutes or math.inf)
    with Interruption() as interruption:

        def seconds_left() -> float:
            return 0.0 if interruption.signal else end - time.monotonic()

        _train_stages(
            *(config, train_source, validation_source, strategy, model, run, newest, seconds_left)
        )
    if model.step < config.train.steps:
        _report_stop(run, model.step, interruption.signal)


def _train_stages(
    config: ExperimentConfig,
    train_source: ImageSource,
    validation_source: ImageSource,
    strategy: tf.distribute.Strategy,
    model: PyramidGenerator,
    run: RunFolder,
    newest: Checkpoint | None,
    seconds_left: Callable[[], float],
) -> None:
    """Trains all stages that are not done yet, or until no time is left."""
    build = pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
    examples = validation_examples(config, validation_source)
    validation = tf.data.Dataset.from_tensor_slices(examples).batch(strategy.num_replicas_in_sync)
    pictures = tf.nest.map_structure(lambda x: x[:_PICTURES], examples)
    means = callbacks.ContinueMeans(checkpoints.running_means(newest) if newest else None)
    watch, growth = stopping.StopOnNonFinite(run), callbacks.WarnOfGrowth(run)
    saved = Checkpoints(run, model, config.train)
    snapshot = Snapshot(run, saved, pictures)
    stop = stopping.StopWhenDue(lambda: seconds_left() <= 0, watch, saved)
    interval = config.train.snapshot_steps
    for stage in stages(config):
        compiled = False
        while stage.first_step <= model.step < stage.last_step and seconds_left() > 0:
            first = stage.sample(model.step)
            crops = training_crops(config, train_source, stage.batch_size, first)
            feed = pipeline.feed(crops, build, strategy)
            if not compiled:
                _begin_stage(config, stage, strategy, model, newest, feed.preprocess)
                compiled = True
            # After an interruption, first the rest of its interval between two snapshots.
            rest = -(model.step - stage.first_step) % interval
            until = min(model.step + rest, stage.last_step) if rest else stage.last_step
            bar = callbacks.ProgressBar(
                model.step, stage.last_step, seconds_left(), _label(config, stage)
            )
            total = stopping.TotalSteps(until)
            try:
                model.fit(
                    feed.dataset,
                    epochs=config.train.steps,
                    steps_per_epoch=interval,
                    validation_data=validation,
                    verbose=0,
                    callbacks=[means, watch, total, bar, growth, snapshot, stop],
                )
            except stopping.Stopped:
                return
            finally:
                bar.close()


def _begin_stage(
    config: ExperimentConfig,
    stage: Stage,
    strategy: tf.distribute.Strategy,
    model: PyramidGenerator,
    newest: Checkpoint | None,
    preprocess: pipeline.Builder | None,
) -> None:
    """Compiles the model for a stage, and continues the stage's optimisers if it had begun."""
    with strategy.scope():
        compile_model(model, config, stage, preprocess)
    if newest and model.step > stage.first_step:
        checkpoints.restore(checkpoints.optimizers(model, newest), newest)
    elif stage.first_step and config.train.level_start == "below":
        initial_weights.start_from_below(model, stage.levels[-1])


def _report_stop(run: RunFolder, step: int, signal: Signals | None) -> None:
    """Says where a training stopped early; raises Interrupted if that was by a signal."""
    newest = next(iter(checkpoints_in(run.checkpoints)), None)
    saved = f"saved: {newest}" if newest else "nothing was learned yet"
    if signal is not None:
        raise Interrupted(signal, f"{signal.name} at step {step:,}, {saved}")
    print(f"The time is over at step {step:,}, {saved}. The same command continues from it")


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
    """The config's networks, built, with the initial weights of its seed.

    Raises:
        RuleError: the present strategy and the devices cannot train them as the config says.
    """
    train = config.train
    _check_devices(config)
    keras.utils.set_random_seed(train.seed)
    model = PyramidGenerator(
        **dataclasses.asdict(config.model),
        precision=train.precision,
        convolution_dtype=train.convolution_dtype,
        attention_max_bytes=train.attention_megabytes * 2**20,
        recompute=train.recompute,
    )
    model.build_networks()
    if train.ema_momentum:
        model.keep_averages()
    return model


def _check_devices(config: ExperimentConfig) -> None:
    replicas, train = tf.distribute.get_strategy().num_replicas_in_sync, config.train
    # Mirrored variables are updated across replicas, outside of what XLA compiles.
    fits = not train.jit_compile or replicas == 1
    check("train.jit_compile", f"False with {replicas} replicas", fits, train.jit_compile)
    parts = replicas * train.accumulation_steps
    for stage in stages(config):
        batch, rule = stage.batch_size, f"a multiple of {replicas} replicas"
        rule += f" times accumulation_steps={train.accumulation_steps}"
        check("batch_size", rule, batch % parts == 0, batch)
    fits = train.precision != "mixed_float16" or bool(tf.config.list_logical_devices("GPU"))
    rule = "another than mixed_float16 without a GPU (CPUs lack the gradient of dilated layers)"
    check("train.precision", rule, fits, train.precision)


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
        accumulation_steps=train.accumulation_steps,
        jit_compile=train.jit_compile,
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
