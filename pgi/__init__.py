"""Image inpainting with a pyramid generator: structure first, detail next.

inpainter = pgi.load("runs/small_samples")
result = inpainter(image, mask)
"""

from __future__ import annotations

import typing

__version__ = "0.1.0"

if typing.TYPE_CHECKING:
    from pathlib import Path

    from pgi.inference import Inpainter


def load(path: str | Path) -> Inpainter:
    """A trained model, ready to fill holes; see `pgi.inference.load`."""
    from pgi import inference  # Not above: TensorFlow takes seconds to import.

    return inference.load(path)
