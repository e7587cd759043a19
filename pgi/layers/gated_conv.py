"""Gated convolution (DeepFillv2), the building block of the sub-generators."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras


class GatedConv2D(keras.layers.Conv2D):
    """Gated convolution: `activation(features) * sigmoid(gates)`, SAME-padded (DeepFillv2, eq. 2).

    The first half of the convolution's channels are the features, the second half the gates. As in
    DeepFillv2, `filters` counts both: the layer returns `filters // 2` channels.

    Input `[B, H, W, C]`, output `[B, ceil(H / strides), ceil(W / strides), filters // 2]`.

    Args:
        filters: channels of the convolution, even: features first, gates second.
        kernel_size: side of the kernel in pixels.
        strides: step in pixels.
        dilation_rate: distance of the kernel's elements in pixels. A layer that is not `trainable`
            computes dilated convolutions faster, but may have no gradient.
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
        self.feature_activation = keras.activations.get(activation)
        self.convolution_dtype = convolution_dtype

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # Not Conv2D.call: it checks the result against the shape after gating.
        outputs = tf.nn.bias_add(self.convolution_op(inputs, self.kernel), self.bias)
        features, gates = tf.split(outputs, 2, axis=-1)
        return self.feature_activation(features) * tf.sigmoid(gates)

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.convolution_dtype == "float32":
            return self._convolve(inputs, kernel)
        arguments = (tf.cast(x, self.convolution_dtype) for x in (inputs, kernel))
        return tf.cast(self._convolve(*arguments), inputs.dtype)

    def _convolve(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.trainable or self.dilation_rate == (1, 1):
            return super().convolution_op(inputs, kernel)
        # Keras splits a dilated convolution's input into many parts and joins the results, because
        # TensorFlow's own op has no gradient on a CPU. The op is faster, and converters know it;
        # but ONNX Runtime has no kernel for a dilation with "SAME".
        sides = zip(self.dilation_rate, self.kernel_size)
        padding = [[0, 0], *([rate * (size // 2)] * 2 for rate, size in sides), [0, 0]]
        return tf.nn.conv2d(inputs, kernel, 1, padding, dilations=self.dilation_rate)

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        shape = super().compute_output_shape(input_shape).as_list()
        return tf.TensorShape([*shape[:-1], self.filters // 2])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        arguments = ("filters", "kernel_size", "strides", "dilation_rate", "kernel_initializer")
        return {
            **{key: config[key] for key in ("name", "trainable", "dtype", *arguments)},
            "activation": keras.activations.serialize(self.feature_activation),
            "convolution_dtype": self.convolution_dtype,
        }
