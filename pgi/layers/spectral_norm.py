"""Spectrally normalised convolution, the building block of the discriminators.

The wrappers of Keras and TensorFlow Addons overwrite the stored kernel at every call and pass no
gradient through sigma. Here the kernel stays the parameter that the optimiser updates, and the
convolution uses a normalised copy.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras


class SpectralNormConv2D(keras.layers.Conv2D):
    """Convolution with the kernel `W / sigma(W)`, where sigma is W's largest singular value.

    W is the kernel as a matrix `[kh * kw * in, out]`. Each call does one power iteration from the
    stored vector `u`, `[1, out]`, and differentiates through it. Only a call with `training=True`,
    the discriminator's own update, stores the new `u`. As in DeepFillv2 and in Spectral
    Normalization for Generative Adversarial Networks, Miyato et al., ICLR 2018.

    Input `[B, H, W, C]`; arguments and output as of `keras.layers.Conv2D`. Kernel, `u` and sigma
    are float32 under any precision policy; `W / sigma(W)` is rounded for the convolution.
    """

    def add_weight(self, name: str, **kwargs: Any) -> tf.Variable:
        return super().add_weight(name, experimental_autocast=name == "bias", **kwargs)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        # Every replica computes the same u from the same W, so each can keep its own.
        self.u = self.add_weight(
            name="u",
            shape=[1, self.filters],
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = super().call(inputs)
        if training:
            self.advance()
        return outputs

    def advance(self) -> None:
        """Stores the `u` of one power iteration, as a call with `training=True` does."""
        self.u.assign(self._power_iteration()[0])

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        _, sigma = self._power_iteration()
        # On a map one pixel wide, oneDNN's gradient of a bfloat16 kernel at stride 2 is garbage.
        dtype = tf.float32 if inputs.shape[2] == 1 else inputs.dtype
        arguments = (tf.cast(x, dtype) for x in (inputs, kernel / sigma))
        return tf.cast(super().convolution_op(*arguments), inputs.dtype)

    def _power_iteration(self) -> tuple[tf.Tensor, tf.Tensor]:
        """One iteration from the stored u: the new u `[1, out]` and sigma."""
        matrix = tf.reshape(self.kernel, [-1, self.filters])
        v = tf.math.l2_normalize(tf.matmul(self.u, matrix, transpose_b=True))
        image = tf.matmul(v, matrix)
        u = tf.math.l2_normalize(image)
        return u, tf.reduce_sum(image * u)
