"""What the checks of `experiments.check_gpu` share.

A check returns what it measured, and raises `Failed`, or any other exception, if something is
wrong. It has a process of its own. Memory is the peak on the first GPU, or of the process on a CPU.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from experiments.benchmark import process_megabytes
from experiments.configs import paper_512
from pgi.config import ExperimentConfig, LossConfig

Values = dict[str, float | str]
STEPS = 10


class Skipped(Exception):
    """A check that cannot run here; the message says why."""


class Failed(Exception):
    """A result that is wrong; the message says what it is and what it should be."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How much is computed.

    Attributes:
        quick: small networks and images.
        batch: of the training steps; a multiple of the number of GPUs.
    """

    quick: bool
    batch: int

    @property
    def config(self) -> ExperimentConfig:
        """The paper's configuration, or small networks; with `gated_he`.

        Under the paper's initialiser networks return grey at first, whatever the precision.
        """
        config = paper_512.get_config()
        model = dataclasses.replace(config.model, kernel_initializer="gated_he")
        train = dataclasses.replace(config.train, batch_size=self.batch, steps=STEPS)
        if not self.quick:
            return dataclasses.replace(config, model=model, train=train)
        # One level, since XLA takes minutes of a CPU for two.
        model = dataclasses.replace(model, levels=(16,), width=8, discriminator_width=8)
        loss = LossConfig(level_weights=(1.0,))
        return dataclasses.replace(config, model=model, loss=loss, train=train)


Check = Callable[[Options, Mapping[str, Values]], Values]


def gpu() -> str | None:
    """Name of the first GPU; None on a CPU."""
    gpus = tf.config.list_logical_devices("GPU")
    return gpus[0].name if gpus else None


def peak_megabytes() -> float:
    """Memory at its peak."""
    if gpu():
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    return process_megabytes("VmHWM")


def median_seconds(run: Callable[[], Any]) -> float:
    """Time of a run: of up to ten within ten seconds, after one that compiles."""
    run()
    runs: list[float] = []
    begin = time.perf_counter()
    while not runs or (len(runs) < 10 and time.perf_counter() - begin < 10):
        before = time.perf_counter()
        run()
        runs.append(time.perf_counter() - before)
    return float(np.median(runs))


def largest_difference(found: Any, expected: Any) -> float:
    """Between two arrays."""
    return float(np.max(np.abs(np.asarray(found) - expected)))


def at_most(what: str, found: float, bound: float) -> None:
    """Raises Failed if a value is larger than its bound, or NaN."""
    if not found <= bound:
        raise Failed(f"{what} must be at most {bound:g}, got {found:.3g}")
