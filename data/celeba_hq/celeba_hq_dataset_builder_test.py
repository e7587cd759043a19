"""CelebA-HQ is made from CelebAMask-HQ.zip, without its masks."""

from __future__ import annotations

from unittest import mock

import tensorflow_datasets as tfds

from data.celeba_hq import celeba_hq_dataset_builder as celeba_hq


class CelebaHqTest(tfds.testing.DatasetBuilderTestCase):
    """The images at the splits' edges: 0, 1, 9999, 27999; 28000, 29999."""

    DATASET_CLASS = celeba_hq.Builder
    SPLITS = {"train": 4, "validation": 2}

    def setUp(self) -> None:
        super().setUp()
        counts = mock.patch.object(celeba_hq.Builder, "counts", return_value=self.SPLITS)
        self.enter_context(counts)


if __name__ == "__main__":
    tfds.testing.test_main()
