"""Base class of this project's dataset builders, which store image files unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pgi.errors import NoUsableImageError


class ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A dataset of images from files in TFDS's manual folder.

    Examples have the features `image`, the file's unchanged bytes, and `file_name`.

    Attributes:
        HOMEPAGE: of the dataset.
        PAPER_SPLITS: training and validation split as in the paper; None for "train" and
            "validation".
        KEEP: whether training keeps the decoded images in memory; for few, large images.
        on_beam: whether to prepare the dataset on Apache Beam, if the builder can.

    Raises:
        NoUsableImageError: a file is missing or broken, or the number of images is wrong.
    """

    HOMEPAGE: str
    PAPER_SPLITS: tuple[str, str] | None = None
    KEEP = False
    on_beam = False

    def fetch(self, folder: Path) -> None:
        """Downloads those files that need no account into the manual folder."""

    def counts(self) -> Mapping[str, int]:
        """Expected number of images of each split."""
        raise NotImplementedError

    def check_counts(self, counts: Mapping[str, int]) -> None:
        """Raises NoUsableImageError if the number of images of a split is not the expected one."""
        for split, count in counts.items():
            if count != self.counts()[split]:
                raise NoUsableImageError(
                    f"{self.info.full_name} must have {self.counts()[split]:,} images in its split "
                    f"{split}, but its archive has {count:,}: is it complete, and the official one?"
                )

    def manual_folder(self, dl_manager: Any) -> tfds.core.Path:
        """The folder of the user's files; raises NoUsableImageError if missing or empty."""
        try:
            return dl_manager.manual_dir
        except AssertionError as error:
            message = str(error).partition(" Create it and ")[0]  # Without TFDS's instructions.
            raise NoUsableImageError(message) from error

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "file_name": tfds.features.Text()}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), homepage=self.HOMEPAGE
        )


def examples(images: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and examples, from names and contents of image files."""
    for name, content in images:
        yield name, {"image": content, "file_name": name}
