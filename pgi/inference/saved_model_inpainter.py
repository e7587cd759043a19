"""Filling holes with a SavedModel."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from pgi.arrays import AnyArray, BoolArray, UInt8Array
from pgi.errors import RuleError, RunFolderError
from pgi.inference.inpainter import checked, fill_batch


class SavedModelInpainter:
    """An `Inpainter` with a SavedModel that `pgi export` wrote, without lower levels' results.

    Args:
        path: folder that holds saved_model.pb.

    Raises:
        RunFolderError: the SavedModel is damaged or another program's.
        RuleError: in a call, also if the image is larger than the SavedModel's limit.
    """

    def __init__(self, path: Path) -> None:
        self.origin = str(path)
        self.warning: str | None = None
        try:
            # Kept, because the signature alone would lose its variables.
            self._saved = tf.saved_model.load(str(path))
            self._predict = self._saved.signatures["predict"]
        except Exception as error:  # TensorFlow has another exception for each kind of damage.
            raise RunFolderError(
                f"{path} is not a SavedModel of pgi, or it is damaged: {error}"
            ) from error

    def __call__(self, image: UInt8Array, mask: AnyArray) -> UInt8Array:
        return fill_batch(image, mask, self._fill)

    def completed_levels(self, image: UInt8Array, mask: AnyArray) -> list[UInt8Array]:
        """The result of a call alone."""
        return [self._fill(*checked(image, mask))]

    def _fill(self, image: UInt8Array, hole: BoolArray) -> UInt8Array:
        mask = np.where(hole, np.uint8(255), np.uint8(0))[None, :, :, None]
        try:
            outputs = self._predict(image=tf.constant(image[None]), mask=tf.constant(mask))
        except tf.errors.InvalidArgumentError as error:
            # All other rules were checked before.
            refused = re.search(r"image must be of at most .*? megapixels, got .*?\)", str(error))
            if refused is None:
                raise
            hint = "the limit of this SavedModel, see --max-megapixels of pgi export"
            raise RuleError(f"{refused[0]}: {hint}") from error
        result: UInt8Array = outputs["image"][0].numpy()
        return result
