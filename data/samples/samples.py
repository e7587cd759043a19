"""The colour photographs that scikit-image ships, for training without a download.

Seven are for training, two (an animal and a still life) for validation. The two views of the
motorcycle show one scene and are in the same split. The documentation of `skimage.data` names the
photographs' authors and licences.
"""

from __future__ import annotations

from pathlib import Path

import skimage.data

SPLITS = {
    "train": (
        "astronaut.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
        "retina.jpg",
        "rocket.jpg",
    ),
    "validation": ("chelsea.png", "coffee.png"),
}


def photographs(split: str) -> list[Path]:
    """Paths of one split's photographs.

    Args:
        split: "train" or "validation".

    Raises:
        FileNotFoundError: this scikit-image does not ship one of them.
    """
    folder = Path(skimage.data.__file__).parent
    paths = [folder / name for name in SPLITS[split]]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"scikit-image lacks {', '.join(missing)} in {folder}")
    return paths
