"""Export of a run as a SavedModel, with files for TensorFlow Serving.

BASE/models.config        for --model_config_file
BASE/batching.config      for --batching_parameters_file
BASE/monitoring.config    for --monitoring_config_file
BASE/VERSION/             the SavedModel
    MODEL_CARD.md
    assets.extra/tf_serving_warmup_requests
    assets.extra/image.npy, mask.npy    an example for `saved_model_cli run`
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from pgi.atomic import write_atomically
from pgi.errors import ExportError
from pgi.export import serving_config, warmup
from pgi.export.limits import MAX_MEGAPIXELS
from pgi.export.model_card import model_card
from pgi.export.portable import explained
from pgi.export.served_model import ServedModel
from pgi.export.unfinished import unfinished_folder
from pgi.inference import load_checkpoint
from pgi.rules import DEFAULT_DEPTH, check
from pgi.training.run_folder import Checkpoint


def export_saved_model(
    checkpoint: Checkpoint,
    base: str | Path,
    version: int | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    depth: str = DEFAULT_DEPTH,
) -> Path:
    """Writes `base/version/`. The folder appears when it is complete, so servers may poll `base`.

    Args:
        checkpoint: of a run.
        base: folder of the versions; its name is the model's. Server files that exist there are
            kept.
        version: a positive number; None for one more than the highest in `base`.
        max_megapixels: larger images are rejected by the served model.
        depth: see `PyramidInpainter`.

    Returns:
        The version's folder.

    Raises:
        RunFolderError: the checkpoint cannot be loaded.
        ExportError: the version exists or is not positive, the folder's name cannot be a model's,
            TensorFlow Serving's Python package is missing, or writing fails.
        RuleError: max_megapixels is too small, or the run's evaluation, which the model card
            reports, cannot be read.
    """
    if version is not None and version < 1:
        raise ExportError(f"version must be a positive number, got {version}")
    rule = "at least 0.0001, which the warm-up requests need"
    check("max_megapixels", rule, max_megapixels >= 1e-4, max_megapixels)
    base = Path(os.path.abspath(base))
    if not re.fullmatch(r"[\w.-]+", base.name):
        rule = "letters, digits and any of _.- only, since it is the model's name"
        raise ExportError(f"the folder's name must have {rule}, got {base.name!r}")
    card = model_card(checkpoint, base.name, max_megapixels)
    side = warmup.fitting_side(checkpoint.run.read_config().model.levels[-1], max_megapixels)
    records = warmup.records(base.name, side)
    model = load_checkpoint(checkpoint).model
    base.mkdir(parents=True, exist_ok=True)
    version = version or 1 + max(
        (int(x.name) for x in base.iterdir() if x.name.isdecimal()), default=0
    )
    target = base / str(version)
    if target.exists():
        raise ExportError(f"version must be a new one, got {version}: {target} exists")
    with unfinished_folder(base) as parts:
        folder = parts / "model"
        with explained("the SavedModel could not be written"):
            save(ServedModel(model, max_megapixels, depth), folder)
            (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
            _write_extra(folder / "assets.extra", records, side)
        try:
            folder.rename(target)
        except OSError as error:  # Another export has made this version in the meantime.
            raise ExportError(f"version {version} could not be put in place: {error}") from error
    for name, content in serving_config.contents(base.name).items():
        # Another export may be writing the same content.
        with contextlib.suppress(FileNotFoundError):
            if not (base / name).exists():
                write_atomically(base / name, content.encode())
    return target


def _write_extra(folder: Path, records: list[bytes], side: int) -> None:
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record)
    image, mask = warmup.example(side, side)
    np.save(folder / "image.npy", image[None])
    np.save(folder / "mask.npy", mask[None, :, :, None])


def save(model: ServedModel, folder: Path) -> None:
    """Writes the SavedModel alone, with both signatures."""
    signatures = {"serving_default": model.serving_default, "predict": model.predict}
    # Gradients are needed for training only.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(model, str(folder), signatures, options)
