"""Each config of Places2 is made from archives in the layout of the official ones."""

from __future__ import annotations

from unittest import mock

import pytest
import tensorflow_datasets as tfds

from data.places2 import places2_dataset_builder as places2


@pytest.mark.slow
class Places2Test(tfds.testing.DatasetBuilderTestCase):
    """Places365-Standard: six training images in three categories, four for validation."""

    DATASET_CLASS = places2.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["large", "256"]
    SPLITS = {"train": 6, "validation": 4}

    def setUp(self) -> None:
        super().setUp()
        counts = mock.patch.object(places2.Builder, "counts", return_value=self.SPLITS)
        self.enter_context(counts)


@pytest.mark.slow
class Places2ChallengeTest(Places2Test):
    """Places365-Challenge: nine training images."""

    BUILDER_CONFIG_NAMES_TO_TEST = ["challenge_large", "challenge_256"]
    SPLITS = {"train": 9, "validation": 4}


if __name__ == "__main__":
    tfds.testing.test_main()
