"""Image inpainting with a pyramid generator: structure first, detail next.

inpainter = pgi.load()  # or pgi.load("runs/small_samples")
result = inpainter(image, mask)
"""

from __future__ import annotations

import typing
import warnings

__version__ = "0.1.0"

if typing.TYPE_CHECKING:
    from pathlib import Path

    from pgi.inference import Inpainter


def load(path: str | Path | None = None, depth: str | None = None) -> Inpainter:
    """A trained model, ready to fill holes; see `pgi.inference.load`.

    Without a path it is the one whose weights ship with the package.

    For holes larger than in training it runs more levels; not under `depth="paper"`.

    A SavedModel is a program, and loading it can run anything: load none from a stranger. A run
    folder or a checkpoint is read as data only.

    Warns:
        UserWarning: the model's `warning`, if it has one.
    """
    from pgi import inference  # Not above: TensorFlow takes seconds to import.

    inpainter = inference.load(path, depth)
    if inpainter.warning:
        warnings.warn(inpainter.warning, stacklevel=2)
    return inpainter
