"""The patch discriminator D_n of a level; all levels have the same structure (section 3.2)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from pgi.layers.spectral_norm import SpectralNormConv2D


class Discriminator(keras.layers.Layer):
    """Patch discriminator of DeepFillv2: six spectrally normalised 5x5 convolutions of stride 2.

    A leaky ReLU of slope 0.2 follows each. Called as
    `scores = discriminator(image_and_mask, training=False)` with `[B, H, W, 4]`, an image in
    [-1, 1] and its mask; returns the flattened patch scores `[B, n]` float32, any real number.
    `training=True`, for the discriminator's own update, stores the power iterations' vectors.

    Args:
        width: filters of the first convolution; the others have 2, 4, 4, 4 and 4 times as many.
        precision: of the convolutions, see `Computation`.
    """

    def __init__(self, width: int = 64, precision: str = "float32", **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.convolutions = [
            SpectralNormConv2D(
                width * multiple,
                kernel_size=5,
                strides=2,
                padding="same",
                dtype=precision,
                name=f"conv{index}",
            )
            for index, multiple in enumerate((1, 2, 4, 4, 4, 4), 1)
        ]

    def call(self, image_and_mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = image_and_mask
        for convolution in self.convolutions:
            x = tf.nn.leaky_relu(convolution(x, training=training), alpha=0.2)
        scores = tf.cast(x, tf.float32)
        return tf.reshape(scores, [tf.shape(x)[0], tf.reduce_prod(tf.shape(x)[1:])])

    def advance(self) -> None:
        """Stores the power iterations' vectors, as a call with `training=True` does."""
        for convolution in self.convolutions:
            convolution.advance()
