"""Training steps in every precision, by XLA and on all GPUs, and their input."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

import data
from experiments.gpu_checks.common import (
    STEPS,
    Failed,
    Options,
    Skipped,
    Values,
    at_most,
    gpu,
    largest_difference,
    peak_megabytes,
)
from pgi.config import ExperimentConfig, LossConfig, from_dict, to_dict
from pgi.errors import RuleError
from pgi.training import assembly, devices, pipeline
from pgi.training.stages import stages

FLOAT32 = f"{STEPS} steps, float32"


def ten_steps(
    options: Options, earlier: Mapping[str, Values], within: float = 0.0, **train: Any
) -> Values:
    """Training steps under fields of `TrainConfig`; the loss stays near that of float32.

    Args:
        options: of all checks.
        earlier: values of earlier checks.
        within: largest difference of the mean loss, as a share of float32's.
        **train: fields that are not the default.
    """
    try:
        values = _train(_with(options.config, **train))
    except RuleError as error:
        if gpu():
            raise
        raise Skipped(str(error)) from error
    return _near(values, earlier, within)


def xla(options: Options, earlier: Mapping[str, Values]) -> Values:
    """Training steps of the lowest level, compiled by XLA; the loss is within 1 % of that without.

    XLA takes many minutes to compile the step of three levels.
    """
    model = dataclasses.replace(options.config.model, levels=options.config.model.levels[:1])
    loss = LossConfig(level_weights=(1.0,))
    config = dataclasses.replace(options.config, model=model, loss=loss)
    expected = _train(config)
    return _near(_train(_with(config, jit_compile=True)), {FLOAT32: expected}, 0.01)


def mirrored(options: Options, earlier: Mapping[str, Values]) -> Values:
    """Training steps on all GPUs; the mean loss is within 1 % of one GPU's."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    if len(gpus) == 1:
        raise Skipped("there is one GPU only")
    kind = "GPU" if gpus else "CPU"
    strategy = devices.mirrored([x.name for x in tf.config.list_logical_devices(kind)])
    with strategy.scope():
        values = _train(options.config)
    return {"replicas": strategy.num_replicas_in_sync, **_near(values, earlier, 0.01)}


def _with(config: ExperimentConfig, **train: Any) -> ExperimentConfig:
    fields = to_dict(config)
    return from_dict({**fields, "train": {**fields["train"], **train}})


def _train(config: ExperimentConfig) -> Values:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    crops, build = _crops(config), _builder(config)
    model = assembly.make_model(config)
    assembly.compile_model(model, config, stages(config)[0], build if replicas > 1 else None)
    ends = [time.perf_counter()]
    timer = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    dataset = crops if replicas > 1 else pipeline.apply_on(crops, build, gpu())
    history = model.fit(
        dataset, epochs=1, steps_per_epoch=STEPS, verbose=0, callbacks=[timer]
    ).history
    loss = float(history["loss"][0])
    if not np.isfinite(loss):
        raise Failed(f"the loss is {loss}")
    seconds = np.diff(ends)
    return {
        "loss": loss,
        "ms/step": 1000 * float(np.median(seconds[1:])),
        "s to compile": float(seconds[0]),
        "MB": peak_megabytes(),
    }


def _near(values: Values, earlier: Mapping[str, Values], share: float) -> Values:
    """The same values; Failed if the loss is not near that of float32's steps, if they ran."""
    expected, found = float(earlier.get(FLOAT32, values)["loss"]), float(values["loss"])
    if abs(found - expected) > share * abs(expected):
        raise Failed(f"the loss must be within {share:.0%} of {expected:.4g}, got {found:.4g}")
    return values


def input_stage(options: Options, earlier: Mapping[str, Values]) -> Values:
    """Masks and pyramids made on the GPU are those that the CPU makes."""
    device, crops, build = gpu(), _crops(options.config), _builder(options.config)
    with tf.device(device):
        batches = iter(pipeline.apply_on(crops, build, device))
        images, masks = next(batches)
    if device and not images[-1].device.endswith(device.rpartition("/")[2]):
        raise Failed(f"the images must be on {device}, got {images[-1].device}")
    other_images, other_masks = next(iter(pipeline.apply_on(crops, build, None)))
    at_most("an image's difference", largest_difference(images[-1], other_images[-1]), 1e-5)
    others = float(np.mean(masks[-1].numpy() != other_masks[-1].numpy()))
    at_most("the share of other mask pixels", others, 1e-3)
    begin, count = time.perf_counter(), 20
    for _ in range(count):
        next(batches)[0][-1].numpy()
    seconds = time.perf_counter() - begin
    return {"images/s": count * options.batch / seconds, "other mask pixels": others}


def _crops(config: ExperimentConfig) -> tf.data.Dataset:
    photographs, _ = data.load("samples")
    side, batch = config.model.levels[-1], config.train.batch_size
    return pipeline.crops(
        photographs, size=side, crop="random", batch_size=batch, seed=config.train.seed
    )


def _builder(config: ExperimentConfig) -> pipeline.Builder:
    return pipeline.pyramid_builder(len(config.model.levels), config.mask, config.train.seed)
