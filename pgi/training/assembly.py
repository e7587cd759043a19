"""A config's model: its networks, and their losses and optimisers for a stage of the training."""

from __future__ import annotations

import dataclasses

import tensorflow as tf
from tensorflow import keras

from pgi.config import ExperimentConfig
from pgi.models import Objective, PyramidGenerator
from pgi.rules import check
from pgi.training import pipeline
from pgi.training.stages import LearningRate, Stage, stages


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
