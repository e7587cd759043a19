"""A pyramid as an ONNX graph of any image size, kept only if ONNX Runtime gives the same pixels.

tf2onnx may drop or mistranslate ops without an error, so every graph is run before it is kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

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

OPSET = 17


def export_onnx(model: PyramidGenerator, path: str | Path) -> Agreement:
    """Writes a pyramid as an ONNX file.

    Inputs `image`, uint8 `[1, height, width, 3]`, RGB, and `mask`, uint8 `[1, height, width, 1]`,
    above 127 = hole; outputs `completed`, float32, and `result`, uint8, see `portable_function`.
    Height and width are free. It computes the whole image, in float32, and streams attention in
    bounded memory. ONNX Runtime is held against TensorFlow at two sizes, the training size and an
    odd one, before the file is written.

    Args:
        model: built.
        path: of the file; one that is there is replaced, if all goes well.

    Raises:
        ExportError: a package is missing, the conversion fails, or its graph is invalid or gives
            other pixels. No file is written, and one that was there stays.

    Source: ours. Departs from it: nothing.
    """
    _require_packages()
    path = require_file(path)
    side = model.levels[-1]
    with in_float32(model):
        function = portable_function(model)
        with quiet(), explained("tf2onnx cannot convert this model"):
            content = _convert(function)
        with explained("tf2onnx made an invalid graph"):
            _check(content)
        with explained("ONNX Runtime cannot load what tf2onnx made"):
            run = _runner(content)
        # Both sides odd, not equal, one smaller than what the levels ask for and one larger.
        sizes = [(side, side), (side // 2 + 1, side + 3)]
        agreement = require_agreement(run, model, function, sizes, "ONNX Runtime")
    write_atomically(path, content)
    return agreement


def _require_packages() -> None:
    try:
        for name in ("onnx", "onnxruntime", "tf2onnx"):
            importlib.import_module(name)
    except ImportError as error:
        message = (
            f'ONNX needs the extra [onnx]: pip install -c constraints.txt -e ".[onnx]" ({error})'
        )
        raise ExportError(message) from error


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
    return proto.SerializeToString()


def _check(content: bytes) -> None:
    import onnx

    onnx.checker.check_model(content, full_check=True)


# tf2onnx rounds quotients of whole numbers towards zero, where TensorFlow rounds down: another
# result for every negative number, and sizes are rounded up by -(-a // b).
def _floor_mod(ctx: Any, node: Any, name: str, args: Any) -> None:
    """ONNX's Mod has the divisor's sign, as FloorMod does."""
    del ctx, name, args
    node.type = "Mod"


def _floor_div(ctx: Any, node: Any, name: str, args: Any) -> None:
    """(x - x mod y) / y, which leaves nothing to round."""
    del name, args
    dividend, divisor = node.input
    rest = ctx.make_node("Mod", [dividend, divisor]).output[0]
    whole = ctx.make_node("Sub", [dividend, rest]).output[0]
    node.type = "Div"
    ctx.replace_input(node, dividend, whole, 0)


def _runner(content: bytes) -> Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # What is wrong is raised as well.
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(content, options, providers=providers)
    names = ["completed", "result"]

    def run(image: np.ndarray, mask: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(names, session.run(names, {"image": image, "mask": mask})))

    return run
