"""Parts of both the coarse and the refine network: initialiser, dilated stack, decoder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow import keras

from pgi.layers.gated_conv import GatedConv2D
from pgi.rules import INITIALIZERS, check, check_choice, check_width

# DeepFillv2 numbers its dilated layers from here: conv7_atrous, xconv7_atrous.
_FIRST_DILATED = 7


class Computation(NamedTuple):
    """How networks are computed. Neither their weights nor, up to rounding, their results change.

    Attributes:
        precision: Keras's name of the dtype policy of all convolutions but the last of a network:
            "float32", "mixed_bfloat16" or "mixed_float16". Weights, resulting images, scores and
            attention are float32 under each.
        convolution_dtype: of the gated convolutions alone, see `GatedConv2D`.
        attention_max_bytes: `max_bytes` of `contextual_attention`.
        recompute: whether the gradient computes each of a network's parts again, instead of keeping
            all activations from the forward pass: less memory, more time.
    """

    precision: str = "float32"
    convolution_dtype: str = "float32"
    attention_max_bytes: int | None = None
    recompute: bool = False

    def part(self, function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
        """A part of a network, `function` of one tensor, as `recompute` wants it."""
        return tf.recompute_grad(function) if self.recompute else function


PLAIN = Computation()


def check_arguments(width: int, dilation_rates: Sequence[int]) -> None:
    """Raises a RuleError unless a network can be built with this width and these rates."""
    check_width(width)
    holds = len(dilation_rates) > 0 and min(dilation_rates) >= 1
    check("dilation_rates", "one or more rates of at least 1", holds, tuple(dilation_rates))


def initializer(kind: str, gated: bool) -> keras.initializers.Initializer:
    """A new kernel initialiser for one layer.

    Args:
        kind: "glorot_uniform" (DeepFillv2), or "gated_he": normal with standard deviation
            2.3 / sqrt(fan in) for gated convolutions and 1 / sqrt(fan in) for the two output
            layers, which keeps the variance from layer to layer.
        gated: whether the layer is a gated convolution.
    """
    check_choice("kernel_initializer", INITIALIZERS, kind)
    if kind == "glorot_uniform":
        return keras.initializers.GlorotUniform()
    scale = 2.3**2 if gated else 1.0
    return keras.initializers.VarianceScaling(scale, "fan_in", "untruncated_normal")


def gated_layers(kernel_initializer: str, computation: Computation) -> Any:
    """`GatedConv2D` with the initialiser and dtypes of one network, as a function of the rest."""

    def layer(filters: int, **kwargs: Any) -> GatedConv2D:
        return GatedConv2D(
            filters,
            kernel_initializer=initializer(kernel_initializer, gated=True),
            convolution_dtype=computation.convolution_dtype,
            dtype=computation.precision,
            **kwargs,
        )

    return layer


def dilated_stack(gated: Any, filters: int, rates: Sequence[int], prefix: str) -> list[GatedConv2D]:
    """One gated convolution per dilation rate, named as in DeepFillv2."""
    return [
        gated(filters, dilation_rate=rate, name=f"{prefix}{index}_atrous")
        for index, rate in enumerate(rates, _FIRST_DILATED)
    ]


class Decoder(keras.layers.Layer):
    """Decoder of either network: its last seven layers, from quarter-size features to an image.

    Input `[B, H, W, C]` features, output `[B, 4H, 4W, 3]` float32 in (-1, 1).

    Args:
        width: the sub-generator's width.
        kernel_initializer: see `initializer`.
        computation: how it is computed.
        prefix: "conv" or "allconv", as in DeepFillv2.
    """

    def __init__(
        self,
        width: int,
        kernel_initializer: str,
        computation: Computation,
        prefix: str,
        **kwargs: Any,
    ) -> None:
        # The layers cast their inputs themselves.
        super().__init__(dtype="float32", autocast=False, **kwargs)
        gated = gated_layers(kernel_initializer, computation)
        self.conv11 = gated(4 * width, name=f"{prefix}11")
        self.conv12 = gated(4 * width, name=f"{prefix}12")
        self.conv13 = gated(2 * width, upsample=True, name=f"{prefix}13_upsample")
        self.conv14 = gated(2 * width, name=f"{prefix}14")
        self.conv15 = gated(width, upsample=True, name=f"{prefix}15_upsample")
        self.conv16 = gated(width // 2, name=f"{prefix}16")
        self.conv17 = keras.layers.Conv2D(
            3,
            3,
            padding="same",
            activation="tanh",
            kernel_initializer=initializer(kernel_initializer, gated=False),
            dtype="float32",
            name=f"{prefix}17",
        )

    @property
    def reach(self) -> int:
        """Receptive-field radius of the decoder, in features."""
        # Each upsampling halves the radius that its input needs, rounded up.
        full = reach([self.conv15, self.conv16, self.conv17])
        half = reach([self.conv13, self.conv14], -(-full // 2))
        return reach([self.conv11, self.conv12], -(-half // 2))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        layers = self.conv11, self.conv12, self.conv13, self.conv14, self.conv15, self.conv16
        return self.conv17(run(layers, features))


def reach(layers: Sequence[keras.layers.Conv2D], beyond: int = 0) -> int:
    """Receptive-field radius of a stack of convolutions, in pixels of the first layer's input.

    Args:
        layers: convolutions, in order.
        beyond: radius that is needed of the last layer's output, in its pixels.
    """
    for layer in reversed(layers):
        (kernel, _), (stride, _), (rate, _) = layer.kernel_size, layer.strides, layer.dilation_rate
        beyond = beyond * stride + rate * (kernel // 2)
    return beyond


def run(layers: Sequence[keras.layers.Layer], x: tf.Tensor) -> tf.Tensor:
    """Applies layers in order."""
    for layer in layers:
        x = layer(x)
    return x


@contextlib.contextmanager
def frozen(networks: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Computes gated convolutions faster, dilated ones without a gradient; see `GatedConv2D`."""
    before = [network.trainable for network in networks]
    for network in networks:
        network.trainable = False
    try:
        yield
    finally:
        for network, trainable in zip(networks, before):
            network.trainable = trainable
