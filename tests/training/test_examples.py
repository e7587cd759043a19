"""How examples are split over replicas and workers: all of them, once, in their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tensorflow as tf

from pgi.config import DataConfig, ExperimentConfig, LossConfig, ModelConfig
from pgi.training import devices, examples
from pgi.training.pipeline import Part, pyramid_builder
from pgi.training.reading import FileSource

PHOTOGRAPHS = Path(skimage.data.__file__).parent
CONFIG = ExperimentConfig(
    model=ModelConfig(levels=(8, 16), width=4),
    loss=LossConfig(level_weights=(10.0, 1.0)),
    data=DataConfig(crop="random_resized", flip=True, validation_images=3),
)


def source() -> FileSource:
    names = ("astronaut.png", "chelsea.png", "coffee.png")
    return FileSource([PHOTOGRAPHS / name for name in names])


def two_devices() -> tf.distribute.Strategy:
    return devices.mirrored(["CPU:0", "CPU:1"])


@pytest.mark.parametrize(("workers", "each"), [(1, 2), (2, 1), (2, 3), (3, 2), (6, 1)])
def test_the_parts_of_all_workers_are_the_batch_in_its_order(workers: int, each: int) -> None:
    """From within an epoch of three photographs into the next ones."""
    first, batch, steps = 2, 6, 3
    whole = examples.training_crops(CONFIG, source(), batch, first)
    parts = [
        examples.training_crops(CONFIG, source(), batch, first, Part(worker, workers, each))
        for worker in range(workers)
    ]
    taken = [list(part.take(each * steps).as_numpy_iterator()) for part in parts]
    for step, (images, numbers) in enumerate(whole.take(steps).as_numpy_iterator()):
        assert numbers.tolist() == list(range(first + step * batch, first + (step + 1) * batch))
        own = slice(each * step, each * (step + 1))
        for whole_batch, index in ((images, 0), (numbers, 1)):
            joined = np.concatenate([x[index] for part in taken for x in part[own]])
            np.testing.assert_array_equal(joined, whole_batch)


def test_the_devices_of_a_worker_get_the_batch_in_its_order() -> None:
    build = pyramid_builder(2, CONFIG.mask, 0)
    strategy = two_devices()
    feed = examples.feed(
        lambda part: examples.training_crops(CONFIG, source(), 4, part=part), build, strategy
    )
    assert feed.preprocess is build
    _, numbers = next(iter(feed.dataset))
    found = [x.numpy().tolist() for x in strategy.experimental_local_results(numbers)]
    assert found == [[0, 1], [2, 3]]


def test_validation_has_every_example_once_with_weight_1() -> None:
    held_out = examples.validation_examples(CONFIG, source())
    for strategy in (tf.distribute.get_strategy(), two_devices()):
        dataset, steps = examples.validation_batches(held_out, strategy)
        assert steps == -(-3 // strategy.num_replicas_in_sync)
        iterator, seen = iter(dataset), []
        for _ in range(2 * steps):  # Two rounds.
            images, masks, weights = (
                tf.nest.map_structure(strategy.experimental_local_results, x)
                for x in next(iterator)
            )
            for replica, weight in enumerate(weights):
                assert weight.shape == (1,)
                if weight.numpy() == 1:
                    seen.append((images[-1][replica][0], masks[-1][replica][0]))
                else:
                    assert weight.numpy() == 0
        assert len(seen) == 6
        for n, pair in enumerate(seen):
            for ours, theirs in zip(pair, (held_out[0][-1], held_out[1][-1])):
                np.testing.assert_array_equal(ours, theirs[n % 3])
