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

# The files that are photographs, by hash, with their authors and licences; and those that the
# config "wide" has besides.
PHOTOGRAPHS = json.loads(Path(__file__).with_name("photographs.json").read_bytes())
MORE = json.loads(Path(__file__).with_name("photographs_wide.json").read_bytes())


class Builder(ImageBuilder):
    """Photographs from Debian's packages, downloaded with apt-get.

    Without a config those of at least 1,500 px on the long side. "wide" has smaller ones too, all
    for training: its validation split is the same.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "From the packages of Debian 12."}
    # With BUILDER_CONFIGS there would be no dataset without a config: "photos/1.0.0" would get
    # another name, by which earlier runs and results do not know it.
    builder_configs = {
        "wide": tfds.core.BuilderConfig(
            name="wide", description="Also smaller ones, from 360 px on the short side."
        )
    }
    HOMEPAGE = packages.HOMEPAGE
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See data/photos/README.md."
    KEEP = True

    def photographs(self) -> list[dict[str, Any]]:
        """What the list says about each photograph."""
        return PHOTOGRAPHS + (MORE if self.builder_config else [])

    def _info(self) -> tfds.core.DatasetInfo:
        texts = dict.fromkeys(("file_name", "title", "author", "licence"), tfds.features.Text())
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(), **texts})
        return self.dataset_info_from_configs(features=features, homepage=self.HOMEPAGE)

    def fetch(self, folder: Path) -> None:
        packages.fetch(sorted({x["package"] for x in self.photographs()}), folder / self.name)

    def counts(self) -> Mapping[str, int]:
        return Counter(x["split"] for x in self.photographs())

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = Path(self.manual_folder(dl_manager)) / self.name
        return {split: self._generate_examples(folder, split) for split in self.counts()}

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        wanted = {x["sha256"]: x for x in self.photographs() if x["split"] == split}
        others = set()
        for name in sorted({x["package"] for x in wanted.values()}):
            files = [x["path"].partition("#")[0] for x in wanted.values() if x["package"] == name]
            suffixes = {Path(file).suffix.lower() for file in files}
            package = packages.find(name, folder)
            for path, content in packages.read(package, tuple(suffixes)) if package else ():
                # By hash, not by path, since files move and change between releases of Debian.
                if found := wanted.pop(hashlib.sha256(content).hexdigest(), None):
                    texts = {key: found[key] for key in ("title", "author", "licence")}
                    file_name = f"{name}/{found['path']}"
                    yield file_name, {"image": content, "file_name": file_name, **texts}
                else:
                    others.add((name, path))
        for x in wanted.values():
            verb = "has another" if (x["package"], x["path"]) in others else "lacks"
            listed = f"{x['path']} (of version {x['version']}, SHA-256 {x['sha256']})"
            logging.warning("photos: %s %s %s: left out", x["package"], verb, listed)
