"""Many means in one metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras


class NamedMeans(keras.metrics.MeanTensor):
    """Means over all examples and replicas since the last reset, by name.

    As one vector: a metric for each value would add some hundred small operations to a step.

    Args:
        names: of the values.
        **kwargs: of `keras.metrics.MeanTensor`.
    """

    def __init__(self, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(shape=[len(names)], **kwargs)
        self.names = tuple(names)

    def update_state(self, values: Mapping[str, tf.Tensor], examples: tf.Tensor) -> tf.Operation:
        """Adds a batch.

        Args:
            values: at least those that have a name here; `[B]`, or scalars of the whole batch.
            examples: their number, B.
        """
        vector = tf.stack([tf.reduce_mean(values[name]) for name in self.names])
        return super().update_state(vector, examples)

    def result(self) -> dict[str, tf.Tensor]:
        return dict(zip(self.names, tf.unstack(super().result())))
