"""Means of many named values, in one metric."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from tensorflow import keras

from pgi.arrays import FloatArray


class NamedMeans(keras.metrics.MeanTensor):
    """Means over all examples and replicas since the last reset, by name.

    The values are kept in one vector: a metric for each would add hundreds of small operations to a
    training step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()

    def add_batch(
        self, values: Mapping[str, tf.Tensor], examples: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Adds a batch and returns the means so far.

        Args:
            values: `[B]`, or scalars of the whole batch; of the same names in every batch.
            examples: their number, B, or the sum of their weights; with 0 nothing is added.
        """
        self.names = tuple(values)
        self.update_state(tf.stack([tf.reduce_mean(x) for x in values.values()]), examples)
        return self.result()

    def state(self) -> tuple[FloatArray, FloatArray]:
        """Total and count, summed over the replicas of all workers."""
        total, count = (tf.convert_to_tensor(x).numpy() for x in (self.total, self.count))
        return total, count

    def restore(self, total: FloatArray, count: FloatArray) -> None:
        """Continues from the state that `total` and `count` had in another process."""
        if not self._built:
            self._build(total.shape)
        self.set_weights([total, count])

    def result(self) -> dict[str, tf.Tensor]:
        # Keras asks for the results of all metrics, also of those without a batch yet.
        return dict(zip(self.names, tf.unstack(super().result()))) if self.names else {}
