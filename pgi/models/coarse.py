"""The coarse network G_n^c: a first, smooth fill of the hole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from pgi.models.blocks import (
    PLAIN,
    Computation,
    Decoder,
    check_arguments,
    dilated_stack,
    gated_layers,
    reach,
    run,
)


class CoarseNetwork(keras.layers.Layer):
    """Coarse network of DeepFillv2: encoder to a quarter of the side, dilated stack, decoder.

    Called as `image, features = coarse(masked_image, mask, lower_features=None)`:
    `masked_image` `[B, H, W, 3]` in [-1, 1], 0 in the hole; `mask` `[B, H, W, 1]`, 1 = hole; H and
    W multiples of 4. `lower_features` `[B, H/4, W/4, 2 * width]` are added after the dilated
    convolutions. Returns the image `[B, H, W, 3]` in (-1, 1), raw in the hole and outside, and the
    features `[B, H/4, W/4, 2 * width]` that the decoder reads. Dilation as in section 3.1.3.

    Args:
        width: filters of the first gated convolution, a multiple of 4.
        dilation_rates: one dilated convolution for each.
        kernel_initializer: "glorot_uniform" or "gated_he".
        computation: how it is computed.
    """

    def __init__(
        self,
        width: int = 48,
        dilation_rates: Sequence[int] = (2, 4, 8, 16),
        kernel_initializer: str = "glorot_uniform",
        computation: Computation = PLAIN,
        **kwargs: Any,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        check_arguments(width, dilation_rates)
        self.computation = computation
        gated = gated_layers(kernel_initializer, computation)
        self.encoder = [
            gated(width, kernel_size=5, name="conv1"),
            gated(2 * width, strides=2, name="conv2_downsample"),
            gated(2 * width, name="conv3"),
            gated(4 * width, strides=2, name="conv4_downsample"),
            gated(4 * width, name="conv5"),
            gated(4 * width, name="conv6"),
        ]
        self.dilated = dilated_stack(gated, 4 * width, dilation_rates, "conv")
        self.decoder = Decoder(width, kernel_initializer, computation, "conv")

    def call(
        self, masked_image: tf.Tensor, mask: tf.Tensor, lower_features: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        features = self.features(masked_image, mask)
        if lower_features is not None:
            features += lower_features
        return self.decode(features), features

    def features(self, masked_image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Encoder and dilated stack: `[B, H, W, 3]` to `[B, H/4, W/4, 2 * width]`."""
        mask = tf.cast(mask, masked_image.dtype)
        x = tf.concat([masked_image, tf.ones_like(mask), mask], axis=-1)
        layers = [*self.encoder, *self.dilated]
        return self.computation.part(lambda x: run(layers, x))(x)

    def decode(self, features: tf.Tensor) -> tf.Tensor:
        """The image of features: `[B, h, w, 2 * width]` to `[B, 4h, 4w, 3]`."""
        return self.computation.part(self.decoder)(features)

    @property
    def features_reach(self) -> int:
        """Receptive-field radius of `features`, in pixels."""
        return reach([*self.encoder, *self.dilated])
