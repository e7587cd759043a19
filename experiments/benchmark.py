"""Measures speed and memory, as ratios within one run.

    python -m experiments.benchmark              all groups
    python -m experiments.benchmark attention    one of: attention, pyramid, hole, training, small,
                                                 data, export

The baseline is the literal formulation of contextual attention, the tests' oracle: patches
extracted, the whole score matrix held. Every case runs in a process of its own, so that its peak of
memory is its own (Linux only). A run of all groups writes `benchmark.json` and, from it,
`benchmark.md`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import app, flags
from tensorflow import keras

from experiments import benchmark_input, benchmark_small
from experiments.literal_attention import literal_attention
from pgi.atomic import write_atomically
from pgi.export.saved_model import save
from pgi.export.served_model import ServedModel
from pgi.images import pyramids, to_uint8
from pgi.inference import Inpainter, SavedInpainter
from pgi.inference.restricted import complete_holes
from pgi.layers.contextual_attention import PreparedAttention, contextual_attention
from pgi.layers.region import Region
from pgi.models import Objective, PyramidGenerator, SubGenerator, refine

_OUTPUT = flags.DEFINE_string("output", "experiments/results", "Folder for the two files.")

Case = Callable[[], Callable[[], tf.Tensor]]

# Features at a quarter of the side; half of its filters leave each gated convolution.
_WIDTH, _CHANNELS = 48, 96


def _centre_hole(side: int, hole: int) -> tf.Tensor:
    mask = np.zeros([1, side, side, 1], np.float32)
    first = (side - hole) // 2
    mask[:, first : first + hole, first : first + hole] = 1
    return tf.constant(mask)


def _image(side: int, batch: int = 1) -> tf.Tensor:
    return tf.random.stateless_uniform([batch, side, side, 3], [0, side], -1, 1)


def _literal(
    foreground: tf.Tensor, background: tf.Tensor, mask: tf.Tensor, max_bytes: int | None = None
) -> tf.Tensor:
    """Holds the whole score matrix, whatever the bound."""
    parts = zip(tf.unstack(foreground), tf.unstack(background), tf.unstack(mask))
    return tf.stack([literal_attention(*part, 2, tf.float32) for part in parts])


def _use_literal_attention() -> None:
    """In this process, which measures nothing else."""
    setattr(refine, "contextual_attention", _literal)  # noqa: B010  (type checkers forbid a plain =)


# Cases: each prepares its inputs and returns what is measured.


def _attention(side: int, kind: str) -> Callable[[], tf.Tensor]:
    features = tf.random.stateless_normal([1, side // 4, side // 4, _CHANNELS], [0, side])
    mask = _centre_hole(side // 4, side // 8)
    # What a level's inference asks for: the hole, and what the layers after attention reach.
    network = refine.RefineNetwork(_WIDTH)
    margin = 2 * -(-network.merge_reach // 2)
    region = Region(*[side // 16 - margin] * 2, *[side // 8 + 2 * margin] * 2)

    def attend(x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if kind == "literal":
            return _literal(x, x, mask)
        if kind == "whole":
            return contextual_attention(x, x, mask)
        return PreparedAttention(x[0], x[0], mask[0])(region)

    graph = tf.function(attend).get_concrete_function(features, mask)
    return lambda: graph(features, mask)


def _literal_level(side: int) -> Callable[[], tf.Tensor]:
    """DeepFillv2 as the reference has it, one level of the whole image."""
    _use_literal_attention()
    sub_generator = SubGenerator(_WIDTH)
    image, mask = _image(side), _centre_hole(side, side // 2)
    graph = tf.function(lambda *x: sub_generator(*x).completed).get_concrete_function(image, mask)
    return lambda: graph(image, mask)


def _pyramid(side: int, hole: int, whole: bool = False) -> Callable[[], tf.Tensor]:
    keras.utils.set_random_seed(0)
    pyramid = PyramidGenerator([8, 16, 32], _WIDTH)
    pyramid.build_networks()

    def fill(image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if whole:
            return pyramid(pyramids(image, mask, 3))[-1].completed
        return complete_holes(pyramid, image, mask)

    signature = [tf.TensorSpec([1, None, None, 3]), tf.TensorSpec([1, None, None, 1])]
    graph = tf.function(fill, input_signature=signature, autograph=False)
    # Large sizes run once only, and the first call of all compiles.
    graph(_image(64), _centre_hole(64, 32))
    image, mask = _image(side), _centre_hole(side, hole)
    return lambda: graph(image, mask)


def _fill(exported: bool) -> Callable[[], tf.Tensor]:
    """A photograph of 512 by the Python model, or by its SavedModel, loaded again."""
    keras.utils.set_random_seed(0)
    pyramid = PyramidGenerator([8, 16, 32], _WIDTH)
    pyramid.build_networks()
    inpainter = Inpainter(pyramid)
    if exported:
        with tempfile.TemporaryDirectory() as folder:
            save(ServedModel(inpainter), Path(folder))
            inpainter = SavedInpainter(Path(folder))
    image, hole = to_uint8(_image(512))[0].numpy(), _centre_hole(512, 256)[0].numpy() > 0.5
    inpainter(image, hole)
    return lambda: tf.constant(inpainter(image, hole))


class _TwoPasses(PyramidGenerator):
    """Two forward passes a step, one for either update."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        images, masks = data
        self._update_discriminators(images, masks, self((images, masks)))
        with tf.GradientTape() as tape:
            outputs = self((images, masks))
            fakes = tf.concat([outputs[0].completed, masks[0]], axis=-1)
            scores = {0: self.discriminators[0](fakes)}
            loss, _ = self.objective.generator_loss(images, outputs, scores, self.steps_taken)
        gradients = tape.gradient(loss, self.generator_variables)
        self.generator_optimizer.apply_gradients(zip(gradients, self.generator_variables))
        return {"loss": loss}


def _training(literal: bool) -> Callable[[], tf.Tensor]:
    if literal:
        _use_literal_attention()
    kind = _TwoPasses if literal else PyramidGenerator
    pyramid = kind([256], _WIDTH, dilation="standard", fusion="none")
    adam = keras.optimizers.Adam
    pyramid.compile(adam(1e-4, 0.5), adam(1e-4, 0.5), Objective(coarse_l1_weight=1.0))
    batch = (_image(256, 4),), (tf.repeat(_centre_hole(256, 128), 4, axis=0),)
    graph = tf.function(pyramid.train_step, autograph=False).get_concrete_function(batch)
    return lambda: graph(batch)["loss"]


def _attention_gradient(megabytes: int) -> Callable[[], tf.Tensor]:
    """Attention of one image of 512, forward and backward, as in training."""
    features = tf.random.stateless_normal([1, 128, 128, _CHANNELS], [0, 1])
    mask = _centre_hole(128, 64)

    def gradient(x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = contextual_attention(x, x, mask, max_bytes=megabytes * 2**20)
        return tape.gradient(result, x)

    graph = tf.function(gradient).get_concrete_function(features, mask)
    return lambda: graph(features, mask)


class Measured(NamedTuple):
    """Seconds (the median of `runs`), and megabytes that the process grew by at its peak."""

    seconds: float
    runs: list[float]
    megabytes: float


CASES: dict[str, Case] = {
    "attention 1024, literal": lambda: _attention(1024, "literal"),
    "attention 1024, all queries": lambda: _attention(1024, "whole"),
    "attention 1024": lambda: _attention(1024, "hole"),
    "attention 2048": lambda: _attention(2048, "hole"),
    "DeepFillv2 512, literal": lambda: _literal_level(512),
    "pyramid 512": lambda: _pyramid(512, 256),
    "DeepFillv2 1024, literal": lambda: _literal_level(1024),
    "pyramid 1024": lambda: _pyramid(1024, 512),
    "pyramid 2048": lambda: _pyramid(2048, 1024),
    "pyramid 4096": lambda: _pyramid(4096, 2048),
    "hole of 300 px in 2048, whole image": lambda: _pyramid(2048, 300, whole=True),
    "hole of 300 px in 2048": lambda: _pyramid(2048, 300),
    "step 256, batch 4, literal, two passes": lambda: _training(literal=True),
    "step 256, batch 4": lambda: _training(literal=False),
    "step 512, attention in tiles": lambda: _attention_gradient(256),
    "step 512, attention at once": lambda: _attention_gradient(1024),
    **benchmark_small.CASES,
    "export: fill 512, Python": lambda: _fill(exported=False),
    "export: fill 512, SavedModel": lambda: _fill(exported=True),
    "input: read": benchmark_input.read,
    "input: decode, one thread": benchmark_input.decode,
    "input: read, decode, crop": benchmark_input.crops,
    "input: masks, pyramids": benchmark_input.pyramids,
    "input: all": benchmark_input.whole,
    "input: a training step": benchmark_input.step,
}
# What the names of a group's cases begin with.
GROUPS: dict[str, tuple[str, ...]] = {
    "attention": ("attention",),
    "pyramid": ("DeepFillv2", "pyramid"),
    "hole": ("hole",),
    "training": ("step",),
    "small": ("small",),
    "data": ("input",),
    "export": ("export",),
}


class Target(NamedTuple):
    """What a case's time over a baseline's or, without a baseline, its megabytes may reach."""

    case: str
    baseline: str | None
    at_most: float


TARGETS = [
    Target("attention 1024", "attention 1024, literal", 1 / 10),
    Target("attention 1024", None, 600),
    Target("attention 2048", None, 1500),
    Target("pyramid 512", "DeepFillv2 512, literal", 0.95),
    Target("pyramid 1024", "DeepFillv2 1024, literal", 0.3),
    Target("pyramid 2048", None, 5000),
    Target("pyramid 4096", None, 12000),
    Target("hole of 300 px in 2048", "hole of 300 px in 2048, whole image", 1 / 4),
    Target("step 256, batch 4", "step 256, batch 4, literal, two passes", 0.75),
    Target("step 512, attention at once", "step 512, attention in tiles", 0.8),
    Target("export: fill 512, SavedModel", "export: fill 512, Python", 1.05),
    Target("input: read, decode, crop", "input: a training step", 1 / 5),
]


def measure(name: str, most_runs: int = 7, seconds: float = 20.0) -> Measured:
    """Runs a case: once to warm up, unless that alone takes longer than `seconds`, then again.

    Args:
        name: of the case.
        most_runs: how many runs are timed, at most.
        seconds: no further run begins after as many.
    """
    tf.get_logger().setLevel("ERROR")
    run = CASES[name]()
    before = _megabytes("VmRSS")
    runs = [_timed(run)]
    if runs[0] < seconds:
        begin, runs = time.perf_counter(), []
        while not runs or (len(runs) < most_runs and time.perf_counter() - begin < seconds):
            runs.append(_timed(run))
    return Measured(statistics.median(runs), runs, _megabytes("VmHWM") - before)


def _timed(run: Callable[[], tf.Tensor]) -> float:
    begin = time.perf_counter()
    run().numpy()
    return (time.perf_counter() - begin) / getattr(run, "times", 1)


def _megabytes(name: str) -> float:
    """This process's own: `ru_maxrss` would also hold that of the process that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status must have {name}; this needs Linux")


def report(measured: dict[str, dict[str, Any]], machine: str) -> str:
    """The measurements as Markdown."""
    lines = [
        f"Measured by `make benchmark` on {machine}.",
        f"Full width ({_WIDTH}), float32, a centre hole of 25 %, unless the case says otherwise.",
        "Seconds are the median; MB are the process's growth at its peak.",
        "",
        "| case | seconds | runs | MB |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {x['seconds']:.3g} | {len(x['runs'])} | {x['megabytes']:,.0f} |"
        for name, x in measured.items()
    ]
    batch = benchmark_input.BATCH
    rates = {n: batch / x["seconds"] for n, x in measured.items() if n.startswith(GROUPS["data"])}
    if rates:
        lines += [
            "",
            f"Input: batches of {batch} crops of 512. The training step had run once before; the",
            "memory of that run is not in the table.",
            "",
            "| | images/s |",
            "|---|---:|",
        ]
        lines += [f"| {name} | {rate:,.{2 * (rate < 10)}f} |" for name, rate in rates.items()]
    seconds = {name: x["seconds"] for name, x in measured.items()}
    if set(benchmark_small.CASES) <= set(seconds):
        lines += ["", "| | images/s |", "|---|---:|"]
        lines += [f"| {n} | {x:,.1f} |" for n, x in benchmark_small.rates(seconds).items()]
    lines += ["", "| | reached | target: at most |", "|---|---:|---:|"]
    for target in TARGETS:
        if {target.case, target.baseline or target.case} <= set(measured):
            if target.baseline:
                reached = measured[target.case]["seconds"] / measured[target.baseline]["seconds"]
                what = f"time of {target.case} / {target.baseline}"
                lines.append(f"| {what} | {reached:.2g} | {target.at_most:.2g} |")
            else:
                megabytes = measured[target.case]["megabytes"]
                lines.append(f"| MB of {target.case} | {megabytes:,.0f} | {target.at_most:,.0f} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> None:
    """Measures the groups that are named, or all."""
    groups = argv[1:] or list(GROUPS)
    if unknown := sorted(set(groups) - set(GROUPS)):
        raise app.UsageError(f"unknown group {unknown[0]}; there are: {', '.join(GROUPS)}")
    folder = Path(_OUTPUT.value)
    measured = {}
    for name in CASES:
        if any(name.startswith(GROUPS[group]) for group in groups):
            # A fresh process a case; one that the system kills for want of memory is an error.
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                measured[name] = pool.submit(measure, name).result()._asdict()
            seconds, megabytes = measured[name]["seconds"], measured[name]["megabytes"]
            print(f"{name:<45}{seconds:9.3g} s{megabytes:10,.0f} MB", flush=True)
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}, TensorFlow {tf.__version__})"
    text = report(measured, machine)
    if len(measured) == len(CASES):  # Else ratios of different runs would come together.
        folder.mkdir(parents=True, exist_ok=True)
        result = {"machine": machine, "measured": measured}
        write_atomically(folder / "benchmark.json", json.dumps(result, indent=2).encode() + b"\n")
        write_atomically(folder / "benchmark.md", text.encode())
    print(f"\n{text}")


if __name__ == "__main__":
    app.run(main)
