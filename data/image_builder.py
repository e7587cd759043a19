"""What the builders here have in common: images with the bytes that they were published with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pgi.errors import NoUsableImageError


class ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A dataset of images from files in TFDS's manual folder.

    Examples hold `image`, the file's own bytes, and `file_name`.

    Attributes:
        HOMEPAGE: of the dataset.
        PAPER_SPLITS: what the paper trains on, and what is held out then, where these are not the
            splits train and validation.
        KEEP: whether the images are so few and large that training keeps them decoded.
        on_beam: whether to prepare it on Apache Beam, if the builder can.

    Raises:
        NoUsableImageError: a file is missing, broken, or has another number of images.
    """

    HOMEPAGE: str
    PAPER_SPLITS: tuple[str, str] | None = None
    KEEP = False
    on_beam = False

    def fetch(self, folder: Path) -> None:
        """Puts what can be had without an account into the manual folder."""

    def counts(self) -> Mapping[str, int]:
        """How many images each split must have."""
        raise NotImplementedError

    def check_counts(self, counts: Mapping[str, int]) -> None:
        """Raises NoUsableImageError if a split has not the number of images that it must have."""
        for split, count in counts.items():
            if count != self.counts()[split]:
                raise NoUsableImageError(
                    f"{self.info.full_name} must have {self.counts()[split]:,} images in its split "
                    f"{split}, but its archive has {count:,}: is it complete, and the official one?"
                )

    def manual_folder(self, dl_manager: Any) -> tfds.core.Path:
        """Where the user puts files; raises NoUsableImageError if it is missing or empty."""
        try:
            return dl_manager.manual_dir
        except AssertionError as error:
            message = str(error).partition(" Create it and ")[0]  # What follows are instructions.
            raise NoUsableImageError(message) from error

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "file_name": tfds.features.Text()}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), homepage=self.HOMEPAGE
        )


def examples(images: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and examples of images with their names."""
    for name, content in images:
        yield name, {"image": content, "file_name": name}
