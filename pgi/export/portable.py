"""The whole image's graph, of which other runtimes have every op, and the check of what they make.

`Inpainter` computes rectangles around the holes, in loops that write in place; no converter takes
those. This computes the same pixels everywhere. Attention stays streamed, tile by tile.
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
from tensorflow import keras

from pgi.errors import ExportError
from pgi.images import pyramids, to_uint8
from pgi.inference import Inpainter
from pgi.layers import GatedConv2D
from pgi.models import PyramidGenerator

# Of `completed`, which is in [-1, 1].
TOLERANCE = 1e-4
# Softmax over large scores enlarges the last bit of a float, in a trained network up to a
# thousandfold. Where TensorFlow, op by op, does not repeat its own graph's values to the tolerance,
# single values may differ by this many times as much.
_TIMES_ROUNDING = 5


class Agreement(NamedTuple):
    """How far another runtime's `completed` is from TensorFlow's, over all sizes.

    Attributes:
        largest: difference of a single value.
        mean: difference, of the size at which it is larger.
        rounding: the largest difference of TensorFlow from itself, op by op and as a graph; 0
            where it was not asked for, since `largest` is within the tolerance.
    """

    largest: float
    mean: float
    rounding: float


def portable_function(
    model: PyramidGenerator, height: int | None = None, width: int | None = None
) -> tf.types.experimental.GenericFunction:
    """A whole image's filling as one graph.

    Called as `outputs = function(image, mask)`: uint8 `[1, H, W, 3]`, RGB, and uint8
    `[1, H, W, 1]`, above 127 = hole; any size from 1 x 1 up, mirrored as an `Inpainter` does.
    Returns `{"completed", "result"}`: float32 `[1, H, W, 3]` in [-1, 1], the highest level's
    completed image, and the same as uint8, whose known pixels are bit-identical to the image's.
    Nothing is checked: without a hole the image comes back.

    Args:
        model: built.
        height: of the images; None for any.
        width: of the images; None for any.

    Source: sections 3.1 and 4. Departs from it: nothing.
    """
    inpainter = Inpainter(model)

    def fill(image: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        rows, columns = tf.unstack(tf.shape(image)[1:3])
        # In float: TensorFlow Lite neither compares nor selects uint8.
        hole = tf.cast(mask[0, :, :, 0], tf.float32) > 127.5
        pyramid = pyramids(*inpainter.padded(image[0], hole), len(model.levels))
        with _direct_dilation(model):
            completed = model(pyramid)[-1].completed[:, :rows, :columns]
        completed = tf.ensure_shape(completed, [1, height, width, 3])
        # Known pixels went through to_float, of which this is the exact inverse.
        return {"completed": completed, "result": to_uint8(completed)}

    signature = [
        tf.TensorSpec([1, height, width, 3], tf.uint8, "image"),
        tf.TensorSpec([1, height, width, 1], tf.uint8, "mask"),
    ]
    return tf.function(fill, input_signature=signature, autograph=False)


def require_agreement(
    run: Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]],
    model: PyramidGenerator,
    function: tf.types.experimental.GenericFunction,
    sizes: Sequence[tuple[int, int]],
    runtime: str,
) -> Agreement:
    """Holds another runtime against TensorFlow, on a random image and mask a size.

    Args:
        run: what `portable_function` gives, of the same arguments, in that runtime.
        model: built.
        function: of the model, from `portable_function`.
        sizes: `(height, width)` of each image.
        runtime: its name.

    Raises:
        ExportError: `run` raises; `completed` differs from the function's by more than 1e-4 on
            average, or in a value by more than 1e-4 and more than five times as much as TensorFlow
            from itself; or `result` differs from what an `Inpainter` gives, by more than 1 in the
            hole or at all outside.

    Source: ours. Departs from it: nothing.
    """
    inpainter, agreements = Inpainter(model), []
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
        if not largest <= TOLERANCE:  # Nor is NaN.
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
        for where, off, bound in (
            ("in the hole", np.max(steps * hole), 1),
            ("outside the hole", np.max(steps * ~hole), 0),
        ):
            if off > bound:
                much = f"{off} of 255 {where}, of which {bound} is allowed"
                raise ExportError(f"{place} result differs by {much}; nothing was written")
    return Agreement(*(max(values) for values in zip(*agreements)))


@contextlib.contextmanager
def in_float32(model: PyramidGenerator) -> Iterator[None]:
    """The model's layers compute in float32 meanwhile, whatever policy they were made under."""
    layers = [x for x in (model, *model.submodules) if isinstance(x, keras.layers.Layer)]
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer._set_dtype_policy("float32")
        yield
    finally:
        for layer, policy in zip(layers, policies):
            layer._set_dtype_policy(policy)


@contextlib.contextmanager
def _direct_dilation(model: PyramidGenerator) -> Iterator[None]:
    """Dilated convolutions are one op meanwhile, which has no gradient on a CPU.

    Otherwise TensorFlow splits an image into many small ones before it and joins them after it; of
    unknown sizes, that is half of the graph, and converters do not see through it.
    """

    def direct(x: tf.Tensor, kernel: tf.Tensor, rate: tuple[int, int]) -> tf.Tensor:
        # Of "SAME" and a dilation, ONNX Runtime has no kernel.
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
    """Turns whatever a converter or a runtime raises into an ExportError of one line."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:  # Each of these libraries has kinds of its own.
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= 400 else f"{reason[:400]} ..."
        raise ExportError(f"{failure}; nothing was written: {reason}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps away what native code and loggers write to stderr meanwhile."""
    with tempfile.TemporaryFile() as sink:
        stderr = os.dup(2)
        try:
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def require_file(path: str | Path) -> Path:
    """The path, unless a folder is there; said before the minutes that a conversion takes."""
    path = Path(path)
    if path.is_dir():
        raise ExportError(f"{path} is a folder, not a file to write")
    if not path.parent.is_dir():
        raise ExportError(f"{path.parent} is no folder to write {path.name} into")
    return path


def _example(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and a mask of every grey value, with a rectangle of hole in the middle."""
    rng = np.random.default_rng(height * 65537 + width)
    image = rng.integers(0, 256, [1, height, width, 3], np.uint8)
    mask = rng.integers(0, 128, [1, height, width, 1], np.uint8)
    # Never all of a side that is longer than 1.
    rows, columns = (slice(side // 4, max(3 * side // 4, 1)) for side in (height, width))
    mask[:, rows, columns] += 128
    return image, mask
