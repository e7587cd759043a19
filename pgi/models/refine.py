"""The refine network G_n^r: redraws the hole, with features borrowed from known patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow import keras

from pgi.layers.attention_tile import AttentionInputs
from pgi.layers.contextual_attention import (
    PreparedAttention,
    attention_inputs,
    contextual_attention,
)
from pgi.layers.region import Region
from pgi.layers.resize import dimensions, nearest_align_corners
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


class RefineFeatures(NamedTuple):
    """Features of the two paths before the merge, each `[B, H/4, W/4, 2 * width]`."""

    convolution: tf.Tensor
    attention: tf.Tensor


class RefineNetwork(keras.layers.Layer):
    """Refine network of DeepFillv2: a convolution path and an attention path, merged and decoded.

    Called as `image, features = refine(convolution_input, attention_input, mask,
    lower_features=None)`: the two inputs `[B, H, W, 3]` in [-1, 1], completed (they differ only
    under the one-path fusions of Table 4); `mask` `[B, H, W, 1]`, 1 = hole; H and W multiples of 8.
    `lower_features` are added after the dilated convolutions of one path and after the attention
    of the other. Returns the image `[B, H, W, 3]` in (-1, 1), raw in the hole and outside, and the
    `RefineFeatures`. Dilation as in section 3.1.3.

    Args:
        width: filters of the first gated convolution, a multiple of 4.
        dilation_rates: of the convolution path, one dilated convolution for each.
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
        self.convolution_encoder = [
            gated(width, kernel_size=5, name="xconv1"),
            gated(width, strides=2, name="xconv2_downsample"),
            gated(2 * width, name="xconv3"),
            gated(2 * width, strides=2, name="xconv4_downsample"),
            gated(4 * width, name="xconv5"),
            gated(4 * width, name="xconv6"),
        ]
        self.dilated = dilated_stack(gated, 4 * width, dilation_rates, "xconv")
        self.attention_encoder = [
            gated(width, kernel_size=5, name="pmconv1"),
            gated(width, strides=2, name="pmconv2_downsample"),
            gated(2 * width, name="pmconv3"),
            gated(4 * width, strides=2, name="pmconv4_downsample"),
            gated(4 * width, name="pmconv5"),
            gated(4 * width, activation="relu", name="pmconv6"),
        ]
        self.attention_tail = [gated(4 * width, name="pmconv9"), gated(4 * width, name="pmconv10")]
        self.decoder = Decoder(width, kernel_initializer, computation, "allconv")

    def call(
        self,
        convolution_input: tf.Tensor,
        attention_input: tf.Tensor,
        mask: tf.Tensor,
        lower_features: RefineFeatures | None = None,
    ) -> tuple[tf.Tensor, RefineFeatures]:
        convolution = self.computation.part(self.convolution_features)(convolution_input)
        encode = self.computation.part(lambda x: run(self.attention_encoder, x))
        attention = self.attend(encode(attention_input), mask)
        if lower_features is not None:
            convolution += lower_features.convolution
            attention += lower_features.attention
        return self.merge(convolution, attention), RefineFeatures(convolution, attention)

    def convolution_features(self, image: tf.Tensor) -> tf.Tensor:
        """The convolution path: `[B, H, W, 3]` to `[B, H/4, W/4, 2 * width]`."""
        return run(self.dilated, run(self.convolution_encoder, image))

    def attend(self, features: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Contextual attention over the attention encoder's features `[B, H/4, W/4, 2 * width]`."""
        mask = nearest_align_corners(mask, *dimensions(features)[1:3])
        max_bytes = self.computation.attention_max_bytes
        return contextual_attention(features, features, mask, max_bytes=max_bytes)

    def prepare_attention(self, features: tf.Tensor, mask: tf.Tensor) -> AttentionInputs:
        """What `attend_region` reads, of one image: features `[1, H/4, W/4, 2 * width]`."""
        mask = nearest_align_corners(mask, *dimensions(features)[1:3])
        return attention_inputs(features[0], features[0], mask[0])

    def attention_specs(self) -> AttentionInputs:
        """Specs of `AttentionInputs` of images of any size, for a graph."""
        channels = self.feature_channels
        return AttentionInputs(
            queries=tf.TensorSpec([None, None, channels]),
            key_patches=tf.TensorSpec([None, 9 * channels]),
            usable=tf.TensorSpec([None, None]),
            blocks=tf.TensorSpec([None, 4 * channels]),
        )

    def attend_region(self, inputs: AttentionInputs, region: Region) -> tf.Tensor:
        """A region of the result of `attend`, `[1, region.height, region.width, 2 * width]`."""
        return PreparedAttention(inputs)(region)[None]

    def merge(self, convolution: tf.Tensor, attention: tf.Tensor) -> tf.Tensor:
        """Merges the features of both paths, each `[B, h, w, 2 * width]`, to `[B, 4h, 4w, 3]`."""
        merged = tf.concat([convolution, run(self.attention_tail, attention)], axis=-1)
        return self.computation.part(self.decoder)(merged)

    @property
    def feature_channels(self) -> int:
        """Channels of either path's features: 2 * width."""
        return int(self.attention_encoder[-1].filters) // 2

    @property
    def merge_reach(self) -> int:
        """Receptive-field radius of `merge`, in features."""
        return reach(self.attention_tail, self.decoder.reach)

    @property
    def convolution_reach(self) -> int:
        """Receptive-field radius of the convolution path, in pixels."""
        return reach([*self.convolution_encoder, *self.dilated])

    @property
    def attention_encoder_reach(self) -> int:
        """Receptive-field radius of the attention encoder, in pixels."""
        return reach(self.attention_encoder)
