"""Licences of the datasets' images, for the cards of models that are trained on them."""

from __future__ import annotations

import re
from pathlib import Path

_UNKNOWN = "Unknown to this program. Find out your images' licence before you pass this model on."


def licence(dataset: str) -> str:
    """The licence of a dataset's images, as Markdown; that it is unknown, if it is.

    Args:
        dataset: as in `pgi.config.DataConfig`.
    """
    return recorded_licence(dataset) or _UNKNOWN


def recorded_licence(dataset: str) -> str | None:
    """As `licence`, but None if it is unknown."""
    name = re.split("[/#]", dataset.removeprefix("tfds:"))[0]
    file = Path(__file__).parent / name / "LICENCE_OF_IMAGES.md"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None
