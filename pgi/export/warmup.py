"""Example requests that TensorFlow Serving replays before it serves a version.

They are `PredictionLog`s in the SavedModel's `assets.extra/tf_serving_warmup_requests`, a TFRecord
file. Without them the first client's request is slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import skimage.data
import tensorflow as tf
from PIL import Image

from pgi.arrays import UInt8Array
from pgi.errors import ExportError


def example(height: int, width: int) -> tuple[UInt8Array, UInt8Array]:
    """A photograph, and a mask with a hole in its middle.

    Returns:
        uint8 `[height, width, 3]` and uint8 `[height, width]`, 255 = hole.
    """
    photograph = Image.fromarray(skimage.data.chelsea())
    image = np.asarray(photograph.resize((width, height), Image.Resampling.BICUBIC))
    mask = np.zeros([height, width], np.uint8)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
    return image, mask


def fitting_side(side: int, max_megapixels: float) -> int:
    """The side, or the largest with which no image of `records` has more megapixels."""
    # The largest image has at most 3 * side ** 2 pixels.
    return int(min(side, (max_megapixels * 1e6 / 3) ** 0.5))


def records(model: str, side: int) -> list[bytes]:
    """Requests with one image, with two images of odd sizes, and with one image as pixels.

    Args:
        model: its name on the server.
        side: of the images, in pixels.

    Raises:
        ExportError: the package tensorflow-serving-api is missing.
    """
    image, mask = example(side, side)
    return [
        _record(model, "serving_default", _files((side, side))),
        _record(model, "serving_default", _files((side, side * 3 // 2), (side * 2 - 1, side + 1))),
        _record(model, "predict", {"image": image[None], "mask": mask[None, :, :, None]}),
    ]


def _files(*sizes: tuple[int, int]) -> dict[str, list[bytes]]:
    examples = [example(*size) for size in sizes]
    return {
        "image_bytes": [tf.io.encode_jpeg(image).numpy() for image, _ in examples],
        "mask_bytes": [tf.io.encode_png(mask[:, :, None]).numpy() for _, mask in examples],
    }


def _record(model: str, signature: str, inputs: dict[str, Any]) -> bytes:
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ExportError(
            "a SavedModel's warm-up requests need tensorflow-serving-api, the extra [serving]: "
            f'pip install -c constraints.txt -e ".[serving]" ({error})'
        ) from error
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    content: bytes = log.SerializeToString()
    return content
