"""The photographs are those of the list, read from Debian packages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
import tensorflow_datasets as tfds

from data.photos import photos_dataset_builder as photos

LIST = Path(__file__).with_name("dummy_data") / "photographs.json"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="reads .deb packages with dpkg-deb")
class PhotosTest(tfds.testing.DatasetBuilderTestCase):
    """Two packages with three photographs, and with one in another size and a link."""

    DATASET_CLASS = photos.Builder
    SPLITS = {"train": 2, "validation": 1}

    def setUp(self) -> None:
        super().setUp()
        listed = mock.patch.object(photos, "PHOTOGRAPHS", json.loads(LIST.read_bytes()))
        self.enter_context(listed)


if __name__ == "__main__":
    tfds.testing.test_main()
