"""Export to ONNX, for any image size.

tf2onnx may drop or mistranslate ops without an error, so ONNX Runtime runs every graph before it is
written.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from pgi.arrays import AnyArray, UInt8Array
from pgi.atomic import write_atomically
from pgi.errors import ExportError
from pgi.export.agreement import Agreement, Run, require_agreement
from pgi.export.portable import explained, portable_function, quiet, require_file
from pgi.models import PyramidGenerator

OPSET = 17
_LEAST_SIDE = 64


def export_onnx(model: PyramidGenerator, path: str | Path) -> Agreement:
    """Writes a pyramid as an ONNX file.

    Inputs `image`, uint8 `[1, height, width, 3]`, RGB, and `mask`, uint8 `[1, height, width, 1]`,
    above 127 = hole; outputs `completed`, float32, and `result`, uint8, see `portable_function`.
    Height and width are free. It computes the whole image, with attention in tiles of bounded
    memory. ONNX Runtime's results are compared with TensorFlow's, on photographs of the training
    size and of an odd size, before the file is written.

    Args:
        model: built, with layers that compute in float32.
        path: of the file; an existing one is replaced after success.

    Raises:
        ExportError: a package is missing, the conversion fails, or its graph is invalid or has
            other results. Nothing is written.
    """
    _require_packages()
    import onnx

    path = require_file(path)
    function = portable_function(model)
    with quiet(), explained("tf2onnx cannot convert this model"):
        content = _convert(function)
    with explained("tf2onnx made an invalid graph"):
        onnx.checker.check_model(content, full_check=True)
    with explained("ONNX Runtime cannot load the converted model"):
        run = _runner(content)
    # Smaller ones leave attention no known patches. The second size has odd and different sides.
    side = max(model.levels[-1], _LEAST_SIDE)
    sizes = [(side, side), (side // 2 + 1, side + 3)]
    agreement = require_agreement(run, model, sizes, "ONNX Runtime")
    write_atomically(path, content)
    return agreement


def _require_packages() -> None:
    try:
        for name in ("onnx", "onnxruntime", "tf2onnx"):
            importlib.import_module(name)
    except ImportError as error:
        raise ExportError(
            f'ONNX needs the extra [onnx]: pip install -c constraints.txt -e ".[onnx]" ({error})'
        ) from error


def _convert(function: tf.types.experimental.GenericFunction) -> bytes:
    import tf2onnx

    proto, _ = tf2onnx.convert.from_function(
        function,
        input_signature=function.input_signature,
        opset=OPSET,
        custom_op_handlers={"FloorMod": (_floor_mod, []), "FloorDiv": (_floor_div, [])},
    )
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, name in ((1, "height"), (2, "width")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    content: bytes = proto.SerializeToString()
    return content


# tf2onnx rounds integer quotients towards zero, but TensorFlow rounds them down. That matters here,
# since -(-a // b) rounds sizes up.
def _floor_mod(_ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """ONNX's Mod has the sign of the divisor, like FloorMod."""
    node.type = "Mod"


def _floor_div(ctx: Any, node: Any, _name: str, _args: Any) -> None:
    """(x - x mod y) / y, which is exact."""
    dividend, divisor = node.input
    rest = ctx.make_node("Mod", [dividend, divisor]).output[0]
    whole = ctx.make_node("Sub", [dividend, rest]).output[0]
    node.type = "Div"
    ctx.replace_input(node, dividend, whole, 0)


def _runner(content: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # Errors are raised as well.
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(content, options, providers=providers)
    names = ["completed", "result"]

    def run(image: UInt8Array, mask: UInt8Array) -> Mapping[str, AnyArray]:
        return dict(zip(names, session.run(names, {"image": image, "mask": mask})))

    return run
