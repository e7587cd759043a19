"""DIV2K's high-resolution images, from the official archives; see README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from data import archives
from data.image_builder import ImageBuilder, examples

ARCHIVES = {"train": "DIV2K_train_HR.zip", "validation": "DIV2K_valid_HR.zip"}


class Builder(ImageBuilder):
    """DIV2K: diverse photographs of 2K resolution."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The high-resolution images."}
    HOMEPAGE = "https://data.vision.ee.ethz.ch/cvl/DIV2K/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Download {ARCHIVES['train']} (3.3 GB) and {ARCHIVES['validation']} (0.4 GB), as they "
        f"are, from {HOMEPAGE}."
    )

    def counts(self) -> Mapping[str, int]:
        return {"train": 800, "validation": 100}

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = self.manual_folder(dl_manager)
        paths = {split: archives.find(folder, [name]) for split, name in ARCHIVES.items()}
        names = {split: archives.names(path) for split, path in paths.items()}
        self.check_counts({split: len(names[split]) for split in names})
        return {split: self._generate_examples(paths[split], names[split]) for split in names}

    def _generate_examples(
        self, path: tfds.core.Path, names: list[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        return examples(archives.read(path, names))
