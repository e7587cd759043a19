"""DIV2K is made from archives in the layout of the official ones."""

from __future__ import annotations

from unittest import mock

import tensorflow_datasets as tfds

from data.div2k import div2k_dataset_builder as div2k


class Div2kTest(tfds.testing.DatasetBuilderTestCase):
    """Four training images, three for validation."""

    DATASET_CLASS = div2k.Builder
    SPLITS = {"train": 4, "validation": 3}

    def setUp(self) -> None:
        super().setUp()
        counts = mock.patch.object(div2k.Builder, "counts", return_value=self.SPLITS)
        self.enter_context(counts)


if __name__ == "__main__":
    tfds.testing.test_main()
