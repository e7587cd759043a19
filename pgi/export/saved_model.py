"""A run as a SavedModel that TensorFlow Serving serves, with what its server wants beside it.

BASE/models.config        name and place, for --model_config_file
BASE/batching.config      for --batching_parameters_file
BASE/monitoring.config    for --monitoring_config_file
BASE/VERSION/             the SavedModel
    MODEL_CARD.md
    assets.extra/tf_serving_warmup_requests
    assets.extra/image.npy, mask.npy    one example, for `saved_model_cli run`
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from pgi.atomic import write_atomically
from pgi.errors import ExportError
from pgi.export import server_files, warmup
from pgi.export.model_card import model_card
from pgi.export.portable import explained
from pgi.export.served_model import ServedModel
from pgi.inference import Inpainter, find_checkpoint, load


def export_saved_model(
    run: str | Path,
    base: str | Path,
    version: int | None = None,
    max_megapixels: float = 64.0,
) -> Path:
    """Writes `base/version/`, whole or not at all: a server that polls never sees a part of it.

    Args:
        run: a run folder, whose newest checkpoint is taken, or one of its checkpoints.
        base: folder of the versions; its name is the model's. Server files that exist there are
            left as they are.
        version: a positive number; None for one more than the highest that is there.
        max_megapixels: larger files are refused by the served model.

    Returns:
        The version's folder.

    Raises:
        RunFolderError: there is no run or no checkpoint, or the checkpoint does not fit.
        ExportError: the version exists or is no positive number, the folder's name is no model's,
            TensorFlow Serving's Python package is missing, or writing fails.
        RuleError: the run's evaluation, which the model card tells of, cannot be read.

    Source: ours. Departs from it: nothing.
    """
    if version is not None and version < 1:
        raise ExportError(f"version must be a positive number, got {version}")
    base, checkpoint = Path(os.path.abspath(base)), find_checkpoint(run)
    if not re.fullmatch(r"[\w.-]+", base.name):
        rule = "letters, digits and any of _.- only, since it is the model's name"
        raise ExportError(f"the folder's name must have {rule}, got {base.name!r}")
    protos = warmup.serving_protos()
    card = model_card(checkpoint, base.name, max_megapixels)
    inpainter = load_float32(checkpoint)
    base.mkdir(parents=True, exist_ok=True)
    version = version or 1 + max(
        (int(x.name) for x in base.iterdir() if x.name.isdecimal()), default=0
    )
    target = base / str(version)
    if target.exists():
        raise ExportError(f"version must be a new one, got {version}: {target} exists")
    with tempfile.TemporaryDirectory(dir=base, prefix=".export-") as parts:
        folder = Path(parts) / "model"
        with explained("the SavedModel could not be written"):
            save(ServedModel(inpainter, max_megapixels), folder)
            (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
            _write_extra(folder / "assets.extra", base.name, inpainter.model.levels[-1], protos)
        try:
            folder.rename(target)
        except OSError as error:  # Another export was sooner.
            raise ExportError(f"version {version} could not be put in place: {error}") from error
    for name, content in server_files.contents(base.name).items():
        # Another export, that writes the same, may be at the same place.
        with contextlib.suppress(FileNotFoundError):
            if not (base / name).exists():
                write_atomically(base / name, content.encode())
    return target


def _write_extra(extra: Path, name: str, side: int, protos: warmup.ServingProtos) -> None:
    extra.mkdir()
    warmup.write(extra / "tf_serving_warmup_requests", name, side, protos)
    image, mask = warmup.example(side, side)
    np.save(extra / "image.npy", image[None])
    np.save(extra / "mask.npy", mask[None, :, :, None])


def load_float32(path: str | Path) -> Inpainter:
    """A run's inpainter in float32, whatever the policy that is in force."""
    with _float32_policy():
        return load(path)


def save(model: ServedModel, folder: Path) -> None:
    """Writes the SavedModel alone, with both signatures, in float32."""
    signatures = {"serving_default": model.serving_default, "predict": model.predict}
    # Nobody trains a served model on.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with _float32_policy():
        tf.saved_model.save(model, str(folder), signatures, options)


@contextlib.contextmanager
def _float32_policy() -> Iterator[None]:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
