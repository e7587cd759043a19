"""One worker of test_workers.py: joins the others in TF_CONFIG, then trains by a plan.

    python -m tests.training.worker PLAN.json RESULT.json

The plan is a list of trainings with the keys of `train`. The result has for each of them either the
last metrics or the error, and the numbers and masks of the samples that this worker took.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import skimage.data
import tensorflow as tf
from tensorflow import keras

from pgi.config import DataConfig, ExperimentConfig, LossConfig, ModelConfig, TrainConfig
from pgi.errors import UserError
from pgi.training import assembly, cluster, devices, loop, pipeline, stopping
from pgi.training.checkpoints import Checkpoints
from pgi.training.reading import FileSource
from pgi.training.workers import Workers

PHOTOGRAPHS = Path(skimage.data.__file__).parent
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def config(levels: Sequence[int] = (8, 16), **options: Any) -> ExperimentConfig:
    """Three validation images do not divide by two replicas."""
    return ExperimentConfig(
        name="tiny",
        model=ModelConfig(
            levels=tuple(levels), width=4, discriminator_width=2, kernel_initializer="gated_he"
        ),
        loss=LossConfig(level_weights=(10.0, 1.0)[: len(levels)]),
        data=DataConfig(crop="random_resized", flip=True, validation_images=3),
        train=TrainConfig(**{"batch_size": 4, "learning_rate": 1e-3, **options}),
    )


def train(
    workdir: str,
    strategy: tf.distribute.Strategy,
    optimizer: str = "adam",
    signal_at: int = 0,
    poison_at: int = 0,
    disk_full: bool = False,
    eagerly: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Trains; returns the last metrics or the error, and the samples.

    Args:
        workdir: the run folder.
        strategy: the devices.
        optimizer: "adam" or "sgd".
        signal_at: step after which the last worker gets SIGTERM; 0 for none.
        poison_at: step after which all workers have weights that are not finite; 0 for none.
        disk_full: whether saving fails with an error that is no UserError.
        eagerly: whether to run without tracing, which takes longer than a few steps.
        **options: of `config`.
    """
    workers = Workers(strategy)
    samples: list[tuple[int, list[float]]] = []
    make_builder = pipeline.pyramid_builder

    def recording_builder(levels: int, mask: Any, seed: int) -> pipeline.Builder:
        build = make_builder(levels, mask, seed)

        def note(numbers: np.ndarray, holes: np.ndarray) -> np.int64:
            if seed != pipeline.VALIDATION_SEED:
                samples.extend((int(n), hole.sum(1).tolist()) for n, hole in zip(numbers, holes))
            return np.int64(0)

        def recorded(crops: tf.Tensor, numbers: tf.Tensor) -> pipeline.Pyramids:
            images, masks = build(crops, numbers)
            tf.numpy_function(note, [numbers, masks[-1][..., 0]], tf.int64)
            return images, masks

        return recorded

    class TotalSteps(stopping.TotalSteps):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            super().on_train_batch_end(batch, logs)
            if self.taken == poison_at:
                self.model.sub_generators[0].refine.decoder.conv17.bias.assign([np.nan] * 3)
            if self.taken == signal_at and workers.index == workers.count - 1:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.3)  # Until it is noted.

    def sgd(rate: Any, *_: Any, **__: Any) -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(rate)

    paths = [PHOTOGRAPHS / name for name in NAMES]
    sources = FileSource(paths[:3]), FileSource(paths[3:])
    made = SimpleNamespace(Adam=sgd if optimizer == "sgd" else keras.optimizers.Adam)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "step-1")

    tf.config.run_functions_eagerly(eagerly)
    save = fail if disk_full else Checkpoints.save
    with (
        mock.patch.object(assembly, "keras", SimpleNamespace(utils=keras.utils, optimizers=made)),
        mock.patch.object(pipeline, "pyramid_builder", recording_builder),
        mock.patch.object(stopping, "TotalSteps", TotalSteps),
        mock.patch.object(Checkpoints, "save", save),
    ):
        try:
            outcome: dict[str, Any] = {
                "metrics": loop.train(config(**options), *sources, workdir, strategy)
            }
        except (UserError, OSError) as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
    return {**outcome, "samples": samples}


def main(plan: str, result: str) -> None:
    found = cluster.from_environment()
    assert found is not None
    strategy = devices.multi_worker(found)
    outcomes = []
    for options in json.loads(Path(plan).read_text()):
        of_one = options.pop("of worker 1", {})
        outcomes.append(train(strategy=strategy, **options, **(of_one if found.index else {})))
    Path(result).write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
