"""A pyramid as a TensorFlow Lite file of one image size, of built-in ops alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from pgi.atomic import write_atomically
from pgi.errors import ExportError
from pgi.export.portable import (
    Agreement,
    explained,
    in_float32,
    portable_function,
    quiet,
    require_agreement,
    require_file,
)
from pgi.models import PyramidGenerator
from pgi.rules import check


def export_tflite(model: PyramidGenerator, path: str | Path, height: int, width: int) -> Agreement:
    """Writes a pyramid as a TensorFlow Lite file.

    Inputs `image`, uint8 `[1, height, width, 3]`, RGB, and `mask`, uint8 `[1, height, width, 1]`,
    above 127 = hole; outputs `completed`, float32, and `result`, uint8, see `portable_function`;
    its one signature has these names. It computes the whole image, in float32, and streams
    attention in bounded memory. TensorFlow Lite is held against TensorFlow before the file is
    written.

    Args:
        model: built.
        path: of the file; one that is there is replaced, if all goes well.
        height: of every image, at least 1.
        width: of every image, at least 1; not 1 if the height is.

    Raises:
        RuleError: the height or the width breaks its rule.
        ExportError: the conversion fails, or what it makes needs other ops than the built-in ones
            or gives other pixels. No file is written, and one that was there stays.

    Source: ours. Departs from it: nothing.
    """
    for name, side in (("height", height), ("width", width)):
        check(name, "at least 1", side >= 1, side)
    check("height x width", "more than one pixel", height * width > 1, (height, width))
    path = require_file(path)
    with in_float32(model):
        function = portable_function(model, height, width)
        with quiet(), explained("TensorFlow Lite cannot convert this model"):
            content = _convert(function, model)
        with explained("TensorFlow Lite made no file that can be read"):
            other = other_ops(content)
        if other:
            ops = ", ".join(other)
            raise ExportError(f"TensorFlow Lite has no built-in op for {ops}; nothing was written")
        with quiet(), explained("TensorFlow Lite cannot load what it made"):
            run = _runner(content)
        size = (height, width)
        agreement = require_agreement(run, model, function, [size], "TensorFlow Lite")
    write_atomically(path, content)
    return agreement


def other_ops(content: bytes) -> list[str]:
    """Names of a TensorFlow Lite file's ops that are not built in.

    They have to be looked for: this package's interpreter would run those that TensorFlow lends
    ("Flex"), and others' would not.
    """
    file = schema.Model.GetRootAsModel(content, 0)
    codes = [file.OperatorCodes(index) for index in range(file.OperatorCodesLength())]
    custom = schema.BuiltinOperator.CUSTOM
    # The older field holds a byte, the newer is 0 in what older converters wrote.
    return [
        (code.CustomCode() or b"?").decode()
        for code in codes
        if custom in (code.DeprecatedBuiltinCode(), code.BuiltinCode())
    ]


def _convert(function: tf.types.experimental.GenericFunction, model: PyramidGenerator) -> bytes:
    concrete = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter.convert()


def _runner(content: bytes) -> Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]:
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()

    def run(image: np.ndarray, mask: np.ndarray) -> Mapping[str, np.ndarray]:
        return signature(image=image, mask=mask)

    return run
