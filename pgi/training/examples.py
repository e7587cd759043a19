"""A config's training and validation examples, and how they are split over devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pgi.config import ExperimentConfig
from pgi.training import pipeline
from pgi.training.pipeline import WHOLE, Builder, Part, Pyramids
from pgi.training.reading import ImageSource


def training_crops(
    config: ExperimentConfig,
    source: ImageSource,
    batch_size: int,
    first: int = 0,
    part: Part = WHOLE,
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
        part=part,
    )


class Feed(NamedTuple):
    """What `fit` takes.

    Attributes:
        dataset: endless batches.
        preprocess: what `train_step` applies to each replica's batch to get pyramids; None if the
            batches are pyramids.
    """

    dataset: tf.data.Dataset
    preprocess: Builder | None


def feed(
    crops: Callable[[Part], tf.data.Dataset], build: Builder, strategy: tf.distribute.Strategy
) -> Feed:
    """Training batches for the devices of a strategy.

    On a single device, the pyramids are built there as a stage of the dataset, while the step
    before is computed. A dataset that lies on a device cannot be split over replicas, so for
    several each replica builds its own at the start of its step.

    Args:
        crops: makes a worker's part of the batches of crops and their sample numbers, on the host.
        build: see `pipeline.pyramid_builder`.
        strategy: of the training.
    """
    if strategy.num_replicas_in_sync > 1:
        return Feed(_distributed(crops, strategy), build)
    gpus = tf.config.list_logical_devices("GPU")
    device = gpus[0].name if gpus else None
    return Feed(pipeline.apply_on(crops(WHOLE), build, device), None)


def validation_examples(config: ExperimentConfig, source: ImageSource) -> Pyramids:
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


def validation_batches(
    examples: Pyramids, strategy: tf.distribute.Strategy
) -> tuple[tf.data.Dataset, int]:
    """Batches of one validation example for each replica, and the number of these batches.

    The last batch is filled up with examples of weight 0, since every replica must have one.

    Args:
        examples: images and masks in one batch.
        strategy: of the training.

    Returns:
        A dataset of `(images, masks, weights)` without an end, and its batches in one round.
    """
    count, replicas = len(examples[0][0]), strategy.num_replicas_in_sync
    numbers = np.arange(-(-count // replicas) * replicas).reshape(-1, replicas)

    def own(part: Part) -> tf.data.Dataset:
        first = part.worker * part.devices
        mine = numbers[:, first : first + part.devices].flatten()
        images, masks = tf.nest.map_structure(lambda x: tf.gather(x, mine % count), examples)
        weights = (mine < count).astype(np.float32)
        return tf.data.Dataset.from_tensor_slices((images, masks, weights)).batch(1).repeat()

    return own(WHOLE) if replicas == 1 else _distributed(own, strategy), len(numbers)


def _distributed(
    make: Callable[[Part], tf.data.Dataset], strategy: tf.distribute.Strategy
) -> tf.data.Dataset:
    """The parts of all workers, as a distributed dataset of the strategy."""

    def own(context: tf.distribute.InputContext) -> tf.data.Dataset:
        workers = context.num_input_pipelines
        devices = context.num_replicas_in_sync // workers
        return make(Part(context.input_pipeline_id, workers, devices))

    return strategy.distribute_datasets_from_function(own)
