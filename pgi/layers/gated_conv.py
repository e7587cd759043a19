"""Gated convolution (DeepFillv2), the building block of the sub-generators."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras


class GatedConv2D(keras.layers.Conv2D):
    """Gated convolution: `activation(features) * sigmoid(gates)`, SAME-padded (DeepFillv2, eq. 2).

    The first half of the convolution's channels are the features, the second half the gates. As in
    DeepFillv2, `filters` counts both: the layer returns `filters // 2` channels.

    Input `[B, H, W, C]`, output `[B, ceil(H / strides), ceil(W / strides), filters // 2]`; with
    `upsample` `[B, 2H, 2W, filters // 2]`.

    Args:
        filters: channels of the convolution, even: features first, gates second.
        kernel_size: side of the kernel in pixels.
        strides: step in pixels.
        dilation_rate: distance of the kernel's elements in pixels. A layer that is not `trainable`
            computes faster, but if dilated has no gradient.
        upsample: whether the input is first doubled by nearest neighbour; `kernel_size` 3 only.
            It is computed on the input as it is, with 2.25 times fewer products.
        activation: of the features, a name or a function.
        kernel_initializer: a name or a `keras.initializers.Initializer`.
        convolution_dtype: "float32", or "bfloat16" for the convolution alone, which processors with
            AVX512-BF16 or AMX compute about 1.7 times as fast. Weights, activation and gate keep
            the layer's type. (Keras's "mixed_bfloat16" changes these too; a CPU computes them more
            slowly in bfloat16 than in float32.)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        strides: int = 1,
        dilation_rate: int = 1,
        upsample: bool = False,
        activation: Any = "elu",
        kernel_initializer: Any = "glorot_uniform",
        convolution_dtype: str = "float32",
        **kwargs: Any,
    ) -> None:
        if filters % 2:
            raise ValueError(f"filters must be even (features and gates), got {filters}")
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            dilation_rate=dilation_rate,
            kernel_initializer=kernel_initializer,
            **kwargs,
        )
        form = self.kernel_size, self.strides, self.dilation_rate
        if upsample and form != ((3, 3), (1, 1), (1, 1)):
            raise ValueError(
                "upsample needs kernel_size 3, strides 1 and dilation_rate 1, "
                f"got {kernel_size}, {strides} and {dilation_rate}"
            )
        self.feature_activation = keras.activations.get(activation)
        self.convolution_dtype = convolution_dtype
        self.upsample = upsample

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # Not Conv2D.call: it checks the result against the shape after gating.
        kernel, bias = self.kernel, self.bias
        if self.upsample:
            kernel, bias = _four_kernels(kernel), _four_biases(bias)
        if self.trainable:
            outputs = tf.nn.bias_add(self.convolution_op(inputs, kernel), bias)
            features, gates = tf.split(outputs, 2, axis=-1)
        else:
            # Without a gradient TensorFlow joins bias and activation to a convolution of their own.
            halves = zip(tf.split(kernel, 2, axis=-1), tf.split(bias, 2))
            features, gates = (
                tf.nn.bias_add(self.convolution_op(inputs, kernel), bias) for kernel, bias in halves
            )
        outputs = self.feature_activation(features) * tf.sigmoid(gates)
        # The first and the last row and column belong to pixels outside of the image.
        return tf.nn.depth_to_space(outputs, 2)[:, 1:-1, 1:-1] if self.upsample else outputs

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.convolution_dtype == "float32":
            return self._convolve(inputs, kernel)
        arguments = (tf.cast(x, self.convolution_dtype) for x in (inputs, kernel))
        return tf.cast(self._convolve(*arguments), inputs.dtype)

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.upsample:
            # The op's own padding by numbers has a gradient 30 times as slow in bfloat16.
            return tf.nn.conv2d(
                tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]]), kernel, 1, "VALID"
            )
        if self.trainable or self.dilation_rate == (1, 1):
            return super().convolution_op(inputs, kernel)
        # Keras splits a dilated convolution's input into many parts and joins the results, because
        # TensorFlow's own op has no gradient on a CPU. The op is faster, and converters know it;
        # but ONNX Runtime has no kernel for a dilation with "SAME".
        sides = zip(self.dilation_rate, self.kernel_size)
        padding = [[0, 0], *([rate * (size // 2)] * 2 for rate, size in sides), [0, 0]]
        return tf.nn.conv2d(inputs, kernel, 1, padding, dilations=self.dilation_rate)

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        batch, height, width, _ = super().compute_output_shape(input_shape).as_list()
        if self.upsample:
            height, width = (None if size is None else 2 * size for size in (height, width))
        return tf.TensorShape([batch, height, width, self.filters // 2])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        arguments = ("filters", "kernel_size", "strides", "dilation_rate", "kernel_initializer")
        return {
            **{key: config[key] for key in ("name", "trainable", "dtype", *arguments)},
            "upsample": self.upsample,
            "activation": keras.activations.serialize(self.feature_activation),
            "convolution_dtype": self.convolution_dtype,
        }


def _four_kernels(kernel: tf.Tensor) -> tf.Tensor:
    """The four kernels that a 3x3 kernel amounts to on pixels doubled by nearest neighbour.

    A doubled image has each pixel twice along an axis. So a kernel's three elements meet two
    pixels: the last two elements meet the same one at even positions, the first two at odd ones.

    `[3, 3, C, 2F]` to `[2, 2, C, 2 * 4 * F]`: features, then gates, each of the four positions in
    the order that `tf.nn.depth_to_space` expects, the odd ones first: they are those of the pixel
    before.
    """
    first, middle, last = tf.unstack(kernel, axis=0)
    rows = tf.stack([tf.stack([first + middle, last]), tf.stack([first, middle + last])])
    first, middle, last = tf.unstack(rows, axis=2)
    # [row of pixel pair, column of pixel pair, row element, column element, C, 2F].
    odd, even = tf.stack([first + middle, last], axis=2), tf.stack([first, middle + last], axis=2)
    positions = tf.stack([odd, even], axis=1)
    channels, filters = kernel.shape[2:]
    kernels = tf.reshape(positions, [4, 2, 2, channels, 2, filters // 2])
    kernels = tf.transpose(kernels, [1, 2, 3, 4, 0, 5])
    return tf.reshape(kernels, [2, 2, channels, 4 * filters])


def _four_biases(bias: tf.Tensor) -> tf.Tensor:
    """A bias for `_four_kernels`: `[2F]` to `[2 * 4 * F]`."""
    return tf.reshape(tf.tile(tf.reshape(bias, [2, 1, -1]), [1, 4, 1]), [-1])
