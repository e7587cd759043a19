"""The names that a dataset can have; `data.load` explains them."""

from __future__ import annotations

PREPARED = ("photos", "places2", "celeba_hq", "div2k")
KNOWN = f"samples, {', '.join(PREPARED)}, folder:PATH, flist:FILE, tfds:NAME"


def name_in_tfds(name: str) -> str | None:
    """The name that TFDS has for a dataset, or None for one that TFDS does not prepare."""
    if name.partition("/")[0] in PREPARED:
        return name
    return name.removeprefix("tfds:") if name.startswith("tfds:") and name != "tfds:" else None
