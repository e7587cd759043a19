"""What the builders here have in common: images with the bytes that they were published with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pgi.reading import NoUsableImageError


class ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A dataset of images from files that the user puts in TFDS's manual folder.

    Examples hold `image`, the file's own bytes, and `file_name`. It is prepared on Apache Beam
    where the download config names a runner or options for it, and the builder can.

    Raises:
        NoUsableImageError: a file is missing, broken, or has another number of images.
    """

    HOMEPAGE: str
    runs_on_beam = False

    def counts(self) -> Mapping[str, int]:
        """How many images each split must have."""
        raise NotImplementedError

    def fetch(self, folder: Path) -> None:
        """Puts what can be had without an account into the manual folder."""

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "file_name": tfds.features.Text()}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), homepage=self.HOMEPAGE
        )

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        self.runs_on_beam = bool(download_config.beam_runner or download_config.beam_options)
        super()._download_and_prepare(dl_manager, download_config)
        if download_config.max_examples_per_split is None:
            self.check_counts({name: x.num_examples for name, x in self.info.splits.items()})

    def check_counts(self, counts: Mapping[str, int]) -> None:
        """Raises NoUsableImageError if a split has not the number of images that it must have."""
        for split, count in counts.items():
            if count != self.counts()[split]:
                raise NoUsableImageError(
                    f"{self.info.full_name} must have {self.counts()[split]:,} images in its split "
                    f"{split}, those in the manual folder are {count:,}: are the files complete, "
                    f"and the official ones? {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )

    def manual_folder(self, dl_manager: Any) -> tfds.core.Path:
        """Where the user puts files."""
        try:
            return dl_manager.manual_dir
        except AssertionError as error:  # It is missing or empty, and TFDS's message says so.
            raise NoUsableImageError(str(error)) from error


def examples(images: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys and examples of images with their names."""
    for name, content in images:
        yield name, {"image": content, "file_name": name}
