"""Weights that ship with the package: a folder for each, named after them.

    NAME/weights.npz      the generators' weights, see `pgi.training.weights_file`
    NAME/config.json      as of a run folder
    NAME/MODEL_CARD.md

`python -m experiments.package_weights` writes them.
"""

from __future__ import annotations

import os
from pathlib import Path

from pgi.errors import RunFolderError

FOLDER = Path(__file__).parent
FILE = "weights.npz"
# What is used where no model is named.
DEFAULT = "photos_256"


def names() -> list[str]:
    """Names of the weights that this installation has."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))


def located(model: str | Path | None) -> Path:
    """The place of a model.

    Args:
        model: a path; the name of weights that ship with the package, unless something in the
            working folder has that name; or None for the weights named `DEFAULT`.

    Raises:
        RunFolderError: it is None, and this installation has no such weights.
    """
    if model is None and DEFAULT not in names():
        raise RunFolderError(
            f"no model was named, and this installation of pgi has no weights: "
            f"{FOLDER / DEFAULT / FILE} is missing. Name a run folder, such as "
            "runs/small_samples, which `make train` makes"
        )
    if model is None or (str(model) in names() and not os.path.lexists(model)):
        return FOLDER / (model or DEFAULT)
    return Path(model)
