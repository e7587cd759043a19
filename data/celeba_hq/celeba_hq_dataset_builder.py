"""CelebA-HQ, from a folder or a zip archive of its 30,000 images; see README.md."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from data import archives
from data.image_builder import ImageBuilder, examples
from pgi.errors import NoUsableImageError

PLACES = ("celeba_hq", "celeba_hq.zip", "CelebAMask-HQ", "CelebAMask-HQ.zip")
# The validation part starts at this index.
FIRST_HELD_OUT = 28_000


class Builder(ImageBuilder):
    """CelebA-HQ: 30,000 faces of 1024 x 1024 px, 28,000 of them for training."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "28,000 and 2,000 images, by index."}
    HOMEPAGE = "https://github.com/switchablenorms/CelebAMask-HQ"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Download CelebAMask-HQ.zip (3.2 GB), as it is, from {HOMEPAGE}, or put the 30,000 "
        "images, each named by its index, into a folder or zip archive named celeba_hq."
    )

    def counts(self) -> Mapping[str, int]:
        return {"train": FIRST_HELD_OUT, "validation": 2_000}

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = self.manual_folder(dl_manager)
        path = archives.find(folder, PLACES)
        splits = split_by_index(archives.names(path), sum(self.counts().values()), str(path))
        self.check_counts({split: len(names) for split, names in splits.items()})
        return {split: self._generate_examples(path, names) for split, names in splits.items()}

    def _generate_examples(
        self, path: tfds.core.Path, names: list[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        return examples(archives.read(path, names))


def split_by_index(names: list[str], count: int, place: str) -> dict[str, list[str]]:
    """Splits CelebA-HQ's images: index 0 to 27,999 for training, from 28,000 for validation.

    An image's index is the number at the end of its name; if no image has index 0, they count from
    1. CelebAMask-HQ also has folders of masks: the images are the folder with `count` files.

    Args:
        names: of all images in the archive.
        count: expected number of images.
        place: the archive's name, for messages.

    Returns:
        Names of "train" and "validation", each in the order of their indices.

    Raises:
        NoUsableImageError: no folder has `count` images with different numbers in their names.
    """
    folders: dict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        folder, _, file = name.rpartition("/")
        if match := re.fullmatch(r"\D*(\d+)\.\w+", file):
            folders[folder][int(match[1])] = name
    indexed = next((images for images in folders.values() if len(images) == count), None)
    if indexed is None:
        most = max(map(len, folders.values()), default=0)
        raise NoUsableImageError(
            f"{place} must hold a folder of {count:,} images, each named by its index; the largest "
            f"has {most:,}."
        )
    first_held_out = FIRST_HELD_OUT + min(min(indexed), 1)
    return {
        "train": [indexed[index] for index in sorted(indexed) if index < first_held_out],
        "validation": [indexed[index] for index in sorted(indexed) if index >= first_held_out],
    }
