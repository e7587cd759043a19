"""Places2, from its official archives; see README.md."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from data import archives
from data.image_builder import ImageBuilder, examples

TRAINING_IMAGES = {"standard": 1_803_460, "challenge": 8_026_628}
VALIDATION_IMAGES = 36_500


@dataclasses.dataclass
class Places2Config(tfds.core.BuilderConfig):
    """One release of Places2 in one size, as they are named in its archives.

    Attributes:
        release: "standard" or "challenge".
        size: "large" or "256".
    """

    release: str = "standard"
    size: str = "large"


class Builder(ImageBuilder):
    """Places2: photographs of 365 kinds of scenes, without their labels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Places365-Standard and Places365-Challenge."}
    BUILDER_CONFIGS = [
        Places2Config(name="large", description="Places365-Standard, in its large size."),
        Places2Config(
            name="256",
            description="Places365-Standard, resized to 256 x 256 px.",
            size="256",
        ),
        Places2Config(
            name="challenge_large",
            description="Places365-Challenge: Standard and 6.2 million images more.",
            release="challenge",
        ),
        Places2Config(
            name="challenge_256",
            description="Places365-Challenge, resized to 256 x 256 px.",
            release="challenge",
            size="256",
        ),
    ]
    HOMEPAGE = "http://places2.csail.mit.edu/"
    PAPER_SPLITS = ("train+validation[100:]", "validation[:100]")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Download the archives, as they are, from http://places2.csail.mit.edu/download.html: "
        "train_large_places365standard.tar (105 GB) and val_large.tar (2.1 GB), or those of "
        "another config, see data/places2/README.md."
    )

    def counts(self) -> Mapping[str, int]:
        training = TRAINING_IMAGES[self.builder_config.release]
        return {"train": training, "validation": VALIDATION_IMAGES}

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder, config = self.manual_folder(dl_manager), self.builder_config
        names = {
            "train": f"train_{config.size}_places365{config.release}.tar",
            "validation": f"val_{config.size}.tar",
        }
        paths = {split: os.fspath(archives.find(folder, [name])) for split, name in names.items()}
        # Takes a minute and finds an incomplete download before hours of writing.
        found = {split: sum(map(len, archives.walk_tar(path))) for split, path in paths.items()}
        self.check_counts(found)
        return {split: self._generate_examples(path) for split, path in paths.items()}

    def _generate_examples(self, path: str) -> Any:
        if not self.on_beam:
            return (pair for group in archives.walk_tar(path) for pair in _read(group))
        beam = tfds.core.lazy_imports.apache_beam
        return (
            beam.Create([path])
            | "Walk" >> beam.FlatMap(archives.walk_tar)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_read)
        )


def _read(group: list[archives.Member]) -> Iterator[tuple[str, dict[str, Any]]]:
    # Without the outermost folder: `a/airfield/00000001.jpg`.
    named = ((name.removeprefix("./"), image) for name, image in archives.read_group(group))
    return examples((name.split("/", 1)[-1], image) for name, image in named)
