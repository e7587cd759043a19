"""Photographs from Debian packages; see README.md."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from data.image_builder import ImageBuilder
from data.photos import packages

# The files that are photographs, by hash, with their authors and licences.
PHOTOGRAPHS = json.loads(Path(__file__).with_name("photographs.json").read_bytes())
_SUFFIXES = (".jpg", ".png")


class Builder(ImageBuilder):
    """Photographs of at least 1,500 px on the long side, downloaded with apt-get."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "From the packages of Debian 12."}
    HOMEPAGE = packages.HOMEPAGE
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See data/photos/README.md."
    KEEP = True

    def _info(self) -> tfds.core.DatasetInfo:
        texts = dict.fromkeys(("file_name", "title", "author", "licence"), tfds.features.Text())
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(), **texts})
        return self.dataset_info_from_configs(features=features, homepage=self.HOMEPAGE)

    def fetch(self, folder: Path) -> None:
        packages.fetch(sorted({x["package"] for x in PHOTOGRAPHS}), folder / self.name)

    def counts(self) -> Mapping[str, int]:
        return Counter(x["split"] for x in PHOTOGRAPHS)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = Path(self.manual_folder(dl_manager)) / self.name
        return {split: self._generate_examples(folder, split) for split in self.counts()}

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        wanted = {x["sha256"]: x for x in PHOTOGRAPHS if x["split"] == split}
        for name in sorted({x["package"] for x in wanted.values()}):
            package = packages.find(name, folder)
            for content in packages.read(package, _SUFFIXES) if package else ():
                # By hash, not by path, since files move and change between releases of Debian.
                if found := wanted.pop(hashlib.sha256(content).hexdigest(), None):
                    texts = {key: found[key] for key in ("title", "author", "licence")}
                    file_name = f"{name}/{found['path']}"
                    yield file_name, {"image": content, "file_name": file_name, **texts}
        for lacking in wanted.values():
            logging.warning("photos: %(package)s lacks %(path)s", lacking)
