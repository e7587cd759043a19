"""Filling holes with a trained model."""

from pgi.inference.inpainter import (
    Inpainter,
    LevelResult,
    SavedInpainter,
    find_checkpoint,
    generators_in,
    load,
)

__all__ = [
    "Inpainter",
    "LevelResult",
    "SavedInpainter",
    "find_checkpoint",
    "generators_in",
    "load",
]
