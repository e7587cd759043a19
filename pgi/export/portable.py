"""A graph that other runtimes can run, and the comparison of their results with TensorFlow's.

A `PyramidInpainter` computes rectangles around the holes, in loops with in-place updates, which
converters do not support. The graph here computes the whole image, with attention still in tiles.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pgi.arrays import AnyArray, UInt8Array
from pgi.errors import ExportError
from pgi.images import pyramids, to_uint8
from pgi.inference import PyramidInpainter
from pgi.inference.pyramid_inpainter import mirrored
from pgi.layers import GatedConv2D
from pgi.models import PyramidGenerator

# `run(image, mask)` of a runtime: returns the outputs of `portable_function`.
Run = Callable[[UInt8Array, UInt8Array], Mapping[str, AnyArray]]

# Of `completed`, which is in [-1, 1].
TOLERANCE = 1e-4
# Softmax over large scores amplifies float rounding, in a trained network up to a thousandfold. If
# TensorFlow's own eager and graph results differ by more than the tolerance, a single value may
# differ by this many times as much.
_TIMES_ROUNDING = 5


class Agreement(NamedTuple):
    """Differences between another runtime's `completed` and TensorFlow's, the most of all sizes.

    Attributes:
        largest: of a single value.
        mean: over all values.
        rounding: of a single value between TensorFlow's eager and graph results; 0 if not computed,
            because `largest` is within the tolerance.
    """

    largest: float
    mean: float
    rounding: float


def portable_function(
    model: PyramidGenerator, height: int | None = None, width: int | None = None
) -> tf.types.experimental.GenericFunction:
    """Inference on a whole image as one graph, without checks.

    Called as `outputs = function(image, mask)`: uint8 `[1, H, W, 3]`, RGB, and uint8
    `[1, H, W, 1]`, above 127 = hole; any size, mirrored as by a `PyramidInpainter`. Returns
    `{"completed", "result"}`: float32 `[1, H, W, 3]` in [-1, 1], the highest level's completed
    image, and the same as uint8, with known pixels bit-identical to the image's.

    Args:
        model: built, with layers that compute in float32.
        height, width: of the images; None for any.
    """

    def fill(image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        rows, columns = tf.unstack(tf.shape(image)[1:3])
        # In float, because TensorFlow Lite cannot compare uint8.
        hole = tf.cast(mask[0, :, :, 0], tf.float32) > 127.5
        pyramid = pyramids(*mirrored(model, image[0], hole), len(model.levels))
        with _direct_dilation(model):
            completed = model(pyramid)[-1].completed[:, :rows, :columns]
        completed = tf.ensure_shape(completed, [1, height, width, 3])
        # `to_uint8` is the exact inverse of `to_float`, so known pixels are unchanged.
        return {"completed": completed, "result": to_uint8(completed)}

    signature = [
        tf.TensorSpec([1, height, width, 3], tf.uint8, "image"),
        tf.TensorSpec([1, height, width, 1], tf.uint8, "mask"),
    ]
    return tf.function(fill, input_signature=signature, autograph=False)


def require_agreement(
    run: Run,
    model: PyramidGenerator,
    function: tf.types.experimental.GenericFunction,
    sizes: Sequence[tuple[int, int]],
    runtime: str,
) -> Agreement:
    """Compares another runtime with TensorFlow, on one random image and mask per size.

    Args:
        run: the model in that runtime.
        model: built.
        function: of the model, from `portable_function`.
        sizes: `(height, width)` of each image.
        runtime: its name.

    Raises:
        ExportError: `run` fails; `completed` differs from the function's by more than 1e-4 on
            average, or in a value by more than 1e-4 and more than five times the rounding; or
            `result` differs from a `PyramidInpainter`'s, by more than 1 in the hole or at all
            outside.
    """
    inpainter, agreements = PyramidInpainter(model), []
    for height, width in sizes:
        place = f"in {runtime}, at {height} x {width},"
        image, mask = _example(height, width)
        expected = function(image, mask)["completed"].numpy()
        with explained(f"{runtime} cannot run it at {height} x {width}"):
            outputs = run(image, mask)
        completed, result = outputs["completed"], outputs["result"]
        if completed.shape != expected.shape or result.shape != image.shape:
            shapes = f"{completed.shape} and {result.shape}, not {image.shape}"
            raise ExportError(f"{place} completed and result are {shapes}; nothing was written")
        differences = np.abs(completed - expected)
        largest, mean, rounding = float(np.max(differences)), float(np.mean(differences)), 0.0
        if not largest <= TOLERANCE:  # Also if it is NaN.
            eager = function.python_function(tf.constant(image), tf.constant(mask))["completed"]
            rounding = float(np.max(np.abs(eager.numpy() - expected)))
        agreements.append(Agreement(largest, mean, rounding))
        allowed = max(TOLERANCE, _TIMES_ROUNDING * rounding)
        if not (mean <= TOLERANCE and largest <= allowed):
            raise ExportError(
                f"{place} completed differs by {largest:.2g} from TensorFlow's, on average by "
                f"{mean:.2g}, of which {allowed:.2g} and {TOLERANCE:g} are allowed; nothing was "
                "written"
            )
        steps = np.abs(result[0].astype(int) - inpainter(image[0], mask[0]))
        hole = mask[0] > 127
        for where, pixels, bound in (("in the hole", hole, 1), ("outside the hole", ~hole, 0)):
            if (most := np.max(steps * pixels)) > bound:
                much = f"{most} of 255 {where}, of which {bound} is allowed"
                raise ExportError(f"{place} result differs by {much}; nothing was written")
    return Agreement(*(max(values) for values in zip(*agreements)))


@contextlib.contextmanager
def _direct_dilation(model: PyramidGenerator) -> Iterator[None]:
    """Within it, dilated convolutions are a single op, which has no gradient on CPUs.

    Otherwise TensorFlow splits the image into many small ones and joins the results. For unknown
    sizes that takes half of the graph, and converters cannot simplify it.
    """

    def direct(x: tf.Tensor, kernel: tf.Tensor, rate: tuple[int, int]) -> tf.Tensor:
        # ONNX Runtime has no kernel for a dilation with "SAME".
        sides = [[at * (size // 2)] * 2 for at, size in zip(rate, kernel.shape)]
        return tf.nn.conv2d(x, kernel, 1, [[0, 0], *sides, [0, 0]], dilations=rate)

    layers = [x for x in model.submodules if isinstance(x, GatedConv2D) and x.dilation_rate[0] > 1]
    for layer in layers:
        bound = functools.partial(direct, rate=layer.dilation_rate)
        setattr(layer, "convolution_op", bound)  # noqa: B010  (type checkers forbid a plain =)
    try:
        yield
    finally:
        for layer in layers:
            del layer.convolution_op


@contextlib.contextmanager
def explained(failure: str) -> Iterator[None]:
    """Turns any error of a converter or a runtime into an ExportError of one line."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:  # Each of these libraries has its own exceptions.
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= 400 else f"{reason[:400]} ..."
        raise ExportError(f"{failure}; nothing was written: {reason}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Discards stderr, also that of native code."""
    with tempfile.TemporaryFile() as sink:
        stderr = os.dup(2)
        try:
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def require_file(path: str | Path) -> Path:
    """Checks that a file can be written there, before a conversion takes minutes."""
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path} is a folder, not a file to write")
    if not path.parent.is_dir():
        raise ExportError(f"{path.parent} is not a folder to write {path.name} into")
    return path


def _example(height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """Noise, and a mask of all grey values, with a rectangular hole in the middle."""
    rng = np.random.default_rng(height * 65537 + width)
    image = rng.integers(0, 256, [1, height, width, 3], np.uint8)
    mask = rng.integers(0, 128, [1, height, width, 1], np.uint8)
    # Shorter than the side, unless that is 1.
    rows, columns = (slice(side // 4, max(3 * side // 4, 1)) for side in (height, width))
    mask[:, rows, columns] += 128
    return image, mask
