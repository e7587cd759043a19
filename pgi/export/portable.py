"""A graph that other runtimes can run, and what the exports to them share.

A `PyramidInpainter` computes rectangles around the holes, in loops with in-place updates, which
converters do not support. The graph here computes the whole image, with attention still in tiles.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from pgi.errors import ExportError
from pgi.images import pyramids, to_uint8
from pgi.inference.pyramid_inpainter import mirrored
from pgi.models import PyramidGenerator
from pgi.models.blocks import frozen


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
        levels = len(model.levels)
        pyramid = pyramids(*mirrored(image[0], hole, levels), levels)
        with frozen(model.evaluated_sub_generators):  # Converters need single ops.
            completed = model(pyramid)[-1].completed[:, :rows, :columns]
        completed = tf.ensure_shape(completed, [1, height, width, 3])
        # `to_uint8` is the exact inverse of `to_float`, so known pixels are unchanged.
        return {"completed": completed, "result": to_uint8(completed)}

    signature = [
        tf.TensorSpec([1, height, width, 3], tf.uint8, "image"),
        tf.TensorSpec([1, height, width, 1], tf.uint8, "mask"),
    ]
    return tf.function(fill, input_signature=signature, autograph=False)


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
