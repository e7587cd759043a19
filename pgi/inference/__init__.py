"""Filling holes with a trained model."""

from pgi.inference.inpainter import Inpainter
from pgi.inference.loading import load, load_checkpoint
from pgi.inference.pyramid_inpainter import PyramidInpainter
from pgi.inference.saved_model_inpainter import SavedModelInpainter

__all__ = [
    "Inpainter",
    "PyramidInpainter",
    "SavedModelInpainter",
    "load",
    "load_checkpoint",
]
