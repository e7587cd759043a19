"""Export to TensorFlow Lite, for one image size, with built-in ops only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from pgi.arrays import AnyArray, UInt8Array
from pgi.atomic import write_atomically
from pgi.errors import ExportError
from pgi.export.agreement import Agreement, Run, require_agreement
from pgi.export.portable import explained, portable_function, quiet, require_file
from pgi.models import PyramidGenerator
from pgi.rules import check


def export_tflite(model: PyramidGenerator, path: str | Path, height: int, width: int) -> Agreement:
    """Writes a pyramid as a TensorFlow Lite file.

    Inputs `image`, uint8 `[1, height, width, 3]`, RGB, and `mask`, uint8 `[1, height, width, 1]`,
    above 127 = hole; outputs `completed`, float32, and `result`, uint8, see `portable_function`;
    its one signature has these names. It computes the whole image, with attention in tiles of
    bounded memory. TensorFlow Lite's results are compared with TensorFlow's, on photographs of that
    size, before the file is written.

    Args:
        model: built, with layers that compute in float32.
        path: of the file; an existing one is replaced after success.
        height: of every image, at least 1.
        width: of every image, at least 1; not 1 if the height is.

    Raises:
        ExportError: the conversion fails, or its file needs other than built-in ops or has other
            results. Nothing is written.
    """
    for name, side in (("height", height), ("width", width)):
        check(name, "at least 1", side >= 1, side)
    check("height x width", "more than one pixel", height * width > 1, (height, width))
    path = require_file(path)
    function = portable_function(model, height, width)
    with quiet(), explained("TensorFlow Lite cannot convert this model"):
        content = _convert(function, model)
    with explained("TensorFlow Lite made an unreadable file"):
        other = other_ops(content)
    if other:
        ops = ", ".join(other)
        raise ExportError(f"TensorFlow Lite has no built-in op for {ops}; nothing was written")
    with quiet(), explained("TensorFlow Lite cannot load the converted model"):
        run = _runner(content)
    agreement = require_agreement(run, model, [(height, width)], "TensorFlow Lite")
    write_atomically(path, content)
    return agreement


def other_ops(content: bytes) -> list[str]:
    """Names of a TensorFlow Lite file's ops that are not built in.

    TensorFlow's Python interpreter also runs "Flex" ops, which other interpreters lack, so running
    the file does not show them.
    """
    file = schema.Model.GetRootAsModel(content, 0)
    codes = [file.OperatorCodes(index) for index in range(file.OperatorCodesLength())]
    custom = schema.BuiltinOperator.CUSTOM
    # The older field has only one byte; older converters leave the newer one at 0.
    return [
        (code.CustomCode() or b"?").decode()
        for code in codes
        if custom in (code.DeprecatedBuiltinCode(), code.BuiltinCode())
    ]


def _convert(function: tf.types.experimental.GenericFunction, model: PyramidGenerator) -> bytes:
    concrete = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content: bytes = converter.convert()
    return content


def _runner(content: bytes) -> Run:
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()

    def run(image: UInt8Array, mask: UInt8Array) -> Mapping[str, AnyArray]:
        outputs: Mapping[str, AnyArray] = signature(image=image, mask=mask)
        return outputs

    return run
