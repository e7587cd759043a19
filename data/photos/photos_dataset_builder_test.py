"""The photographs are those of the lists, read from Debian packages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
import tensorflow_datasets as tfds

from data.photos import photos_dataset_builder as photos

LISTS = Path(__file__).with_name("dummy_data")
needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="reads .deb packages with dpkg-deb"
)


@needs_dpkg
class PhotosTest(tfds.testing.DatasetBuilderTestCase):
    """Two packages with three photographs, and with one in another size and a link."""

    DATASET_CLASS = photos.Builder
    SPLITS = {"train": 2, "validation": 1}

    def setUp(self) -> None:
        super().setUp()
        for name, file in (("PHOTOGRAPHS", "photographs.json"), ("MORE", "photographs_wide.json")):
            listed = json.loads((LISTS / file).read_bytes())
            # TFDS's test decodes them with TensorFlow, which cannot read WebP.
            listed = [x for x in listed if not x["path"].endswith(".webp")]
            self.enter_context(mock.patch.object(photos, name, listed))


@needs_dpkg
class WideTest(PhotosTest):
    """A third package with two photographs more, one of them in a container."""

    BUILDER_CONFIG_NAMES_TO_TEST = ["wide"]
    SPLITS = {"train": 4, "validation": 1}


if __name__ == "__main__":
    tfds.testing.test_main()
