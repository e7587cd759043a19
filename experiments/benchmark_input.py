"""Cases of `experiments.benchmark` about the input: its stages, and a training step it feeds.

Photographs are JPEGs of 1000 x 700 px, about the size of those in Places2, in a TFDS dataset;
batches are those of the paper's configuration.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import skimage.data
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from PIL import Image

from data.prepared import ExampleSource
from experiments.benchmark_network import Case
from experiments.configs import places2
from pgi.training import assembly, pipeline
from pgi.training.decoding import read_image
from pgi.training.stages import stages

BATCH = 4
_WIDTH, _HEIGHT = 1000, 700
_PHOTOGRAPHS = 256
_CONFIG = places2.get_config()


@dataclasses.dataclass(frozen=True)
class Batches:
    """Makes `times` batches in one run, by which the benchmark divides the run's time."""

    make: Callable[[], tf.Tensor]
    times: int = 32

    def __call__(self) -> tf.Tensor:
        for _ in range(self.times):
            made = self.make()
        return made


def read() -> Batches:
    """Reading the bytes of a batch from random places of the dataset."""
    numbers = itertools.cycle(np.random.default_rng(0).permutation(_PHOTOGRAPHS).tolist())
    decoders = {"image": tfds.decode.SkipDecoding()}
    examples = _dataset()[0].as_data_source(split="train", decoders=decoders)
    return Batches(lambda: tf.constant([examples[next(numbers)]["image"] for _ in range(BATCH)]))


def decode() -> Batches:
    """Decoding a batch in one thread."""
    encoded = itertools.cycle([example["image"] for _, example in _photographs()])

    def batch() -> tf.Tensor:
        return tf.constant([read_image(io.BytesIO(next(encoded)))[0, 0] for _ in range(BATCH)])

    return Batches(batch)


def crops() -> Batches:
    """The host's stages: read, decode, crop, batch."""
    return _next_of(_crops())


def pyramids() -> Batches:
    """The accelerator's stage, here on the CPU: masks and pyramids."""
    batch = next(iter(_crops()))
    graph = tf.function(_builder(), autograph=False).get_concrete_function(*batch)
    return Batches(lambda: graph(*batch)[0][0])


def whole() -> Batches:
    """The whole input pipeline."""
    return _next_of(pipeline.apply_on(_crops(), _builder(), device=None))


def step() -> Callable[[], tf.Tensor]:
    """A training step of the paper's configuration."""
    model = assembly.make_model(_CONFIG)
    assembly.compile_model(model, _CONFIG, stages(_CONFIG)[0])
    batch = next(iter(pipeline.apply_on(_crops(), _builder(), device=None)))
    graph = tf.function(model.train_step, autograph=False).get_concrete_function(batch)
    graph(batch)  # The first call also optimises the graph, for a quarter of a minute.
    return lambda: graph(batch)["loss"]


@functools.cache
def _dataset() -> tuple[tfds.core.DatasetBuilder, tempfile.TemporaryDirectory]:
    """The prepared photographs, and their temporary folder."""
    folder = tempfile.TemporaryDirectory()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        builder = tfds.dataset_builders.store_as_tfds_dataset(
            name="photographs",
            version="1.0.0",
            features=tfds.features.FeaturesDict({"image": tfds.features.Image()}),
            split_datasets={"train": list(_photographs())},
            data_dir=folder.name,
            file_format="array_record",
        )
    return builder, folder


def _photographs() -> Iterator[tuple[int, dict[str, Any]]]:
    """Random crops of scikit-image's photographs, resized."""
    rng = np.random.default_rng(0)
    wholes = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    for number in range(_PHOTOGRAPHS):
        image = Image.fromarray(wholes[number % len(wholes)])
        width = int(rng.integers(image.width // 2, image.width * 2 // 3))
        height = width * _HEIGHT // _WIDTH
        left = int(rng.integers(image.width - width))
        top = int(rng.integers(image.height - height))
        part = image.crop((left, top, left + width, top + height)).resize((_WIDTH, _HEIGHT))
        encoded = io.BytesIO()
        part.save(encoded, "JPEG", quality=90)
        yield number, {"image": encoded.getvalue()}


def source() -> ExampleSource:
    """The photographs to train on."""
    return ExampleSource(_dataset()[0], "train")


def _crops() -> tf.data.Dataset:
    crop, size = _CONFIG.data.crop, _CONFIG.model.levels[-1]
    return pipeline.crops(source(), size=size, crop=crop, batch_size=BATCH, seed=0)


def _builder() -> pipeline.Builder:
    return pipeline.pyramid_builder(len(_CONFIG.model.levels), _CONFIG.mask, seed=0)


def _next_of(batches: tf.data.Dataset) -> Batches:
    iterator = iter(batches)
    return Batches(lambda: tf.nest.flatten(next(iterator))[0])


CASES: dict[str, Case] = {
    "input: read": read,
    "input: decode, one thread": decode,
    "input: read, decode, crop": crops,
    "input: masks, pyramids": pyramids,
    "input: all": whole,
    "input: a training step": step,
}


def rates(seconds: Mapping[str, float]) -> dict[str, float]:
    """Images per second of the cases that were measured; `seconds` are those of each case."""
    return {name: BATCH / seconds[name] for name in CASES if name in seconds}
