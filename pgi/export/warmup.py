"""Requests that TensorFlow Serving replays before it serves a version, so that no client waits.

They are a TFRecord file of `PredictionLog`s in the SavedModel's `assets.extra`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import skimage.data
import tensorflow as tf
from PIL import Image

from pgi.errors import ExportError


class ServingProtos(NamedTuple):
    """The modules of tensorflow-serving-api that requests are made of."""

    predict: Any
    prediction_log: Any


def serving_protos() -> ServingProtos:
    """Imports them, which only an export needs.

    Raises:
        ExportError: the package is missing.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ExportError(
            "a SavedModel's warm-up file needs tensorflow-serving-api, the extra [serving]: "
            f'pip install -c constraints.txt -e ".[serving]" ({error})'
        ) from error
    return ServingProtos(predict_pb2, prediction_log_pb2)


def example(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph of that size, and a mask with a hole in its middle.

    Returns:
        uint8 `[height, width, 3]` and uint8 `[height, width]`, 255 = hole.
    """
    photograph = Image.fromarray(skimage.data.chelsea())
    image = np.asarray(photograph.resize((width, height), Image.Resampling.BICUBIC))
    mask = np.zeros([height, width], np.uint8)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = 255
    return image, mask


def write(path: Path, model: str, side: int, protos: ServingProtos) -> None:
    """Writes the requests: one image, two of different and odd sizes, and one as pixels.

    Args:
        path: of the file.
        model: its name on the server.
        side: of the images that the model was trained on, in pixels.
        protos: from `serving_protos`.
    """
    sizes = [(side, side)], [(side, side * 3 // 2), (side * 2 - 1, side + 1)]
    requests = [_of_files(batch) for batch in sizes]
    image, mask = example(side, side)
    requests.append({"image": image[None], "mask": mask[None, :, :, None]})
    with tf.io.TFRecordWriter(str(path)) as writer:
        for inputs in requests:
            request = protos.predict.PredictRequest()
            request.model_spec.name = model
            pixels = "image" in inputs
            request.model_spec.signature_name = "predict" if pixels else "serving_default"
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = protos.prediction_log.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())


def _of_files(sizes: list[tuple[int, int]]) -> dict[str, Any]:
    examples = [example(*size) for size in sizes]
    return {
        "image_bytes": [tf.io.encode_jpeg(image).numpy() for image, _ in examples],
        "mask_bytes": [tf.io.encode_png(mask[:, :, None]).numpy() for _, mask in examples],
    }
