"""Cases of `experiments.benchmark` about the network: attention, inference, training and export.

Each case is a function that prepares its inputs and returns the function that is measured. The
baseline is a DeepFillv2 of plain TensorFlow operations: one convolution of a layer, after resizing,
and the literal form of contextual attention (`experiments.literal_attention`), whose patches are
convolution kernels, which holds the whole score matrix. The transposed convolution that pastes the
patches takes most of its time in a large image; a matrix product does it faster. So there are two
baselines: DeepFillv2's own operations ("literal"), and the same with that product.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from tensorflow import keras

from experiments.literal_attention import literal_attention
from pgi.export.saved_model import save
from pgi.export.served_model import ServedModel
from pgi.images import pyramids, to_uint8
from pgi.inference import Inpainter, PyramidInpainter, SavedModelInpainter
from pgi.inference.restricted import RestrictedPyramid
from pgi.layers.contextual_attention import (
    PreparedAttention,
    attention_inputs,
    contextual_attention,
)
from pgi.layers.gated_conv import GatedConv2D
from pgi.layers.region import Region
from pgi.layers.resize import double_nearest
from pgi.models import Objective, PyramidGenerator, SubGenerator, refine

Case = Callable[[], Callable[[], tf.Tensor]]

WIDTH = 48  # The paper's.
_CHANNELS = 96  # Of the features that attention works on, at a quarter of the image's side.


def centre_hole(side: int, hole: int) -> tf.Tensor:
    """A mask `[1, side, side, 1]` with a square hole in the centre."""
    mask = np.zeros([1, side, side, 1], np.float32)
    first = (side - hole) // 2
    mask[:, first : first + hole, first : first + hole] = 1
    return tf.constant(mask)


def random_image(side: int, batch: int = 1) -> tf.Tensor:
    """Noise in [-1, 1], `[batch, side, side, 3]`."""
    return tf.random.stateless_uniform([batch, side, side, 3], [0, side], -1, 1)


def _literal(
    foreground: tf.Tensor,
    background: tf.Tensor,
    mask: tf.Tensor,
    max_bytes: int | None = None,
    paste: str = "convolution",
) -> tf.Tensor:
    """Replaces `contextual_attention`; ignores the memory bound."""
    parts = zip(tf.unstack(foreground), tf.unstack(background), tf.unstack(mask))
    return tf.stack([literal_attention(*part, 2, tf.float32, paste=paste) for part in parts])


def _use_literal_layers(paste: str = "convolution") -> None:
    """Replaces our form of layers by DeepFillv2's in this process, which measures nothing else."""
    attention = functools.partial(_literal, paste=paste)
    mock.patch.object(refine, "contextual_attention", attention).start()
    mock.patch.object(GatedConv2D, "call", _literal_gated_convolution).start()


def _literal_gated_convolution(layer: GatedConv2D, x: tf.Tensor) -> tf.Tensor:
    """Replaces `GatedConv2D.call`: resizes before the convolution, splits after it."""
    x = double_nearest(x) if layer.upsample else x
    if layer.trainable or layer.dilation_rate == (1, 1):
        x = keras.layers.Conv2D.convolution_op(layer, x, layer.kernel)
    else:
        x = tf.nn.conv2d(x, layer.kernel, 1, "SAME", dilations=layer.dilation_rate)
    features, gates = tf.split(tf.nn.bias_add(x, layer.bias), 2, axis=-1)
    return layer.feature_activation(features) * tf.sigmoid(gates)


def _attention(side: int, kind: str) -> Callable[[], tf.Tensor]:
    features = tf.random.stateless_normal([1, side // 4, side // 4, _CHANNELS], [0, side])
    mask = centre_hole(side // 4, side // 8)
    # The region that inference of a level needs: the hole and the reach of the layers after it.
    network = refine.RefineNetwork(WIDTH)
    margin = 2 * -(-network.merge_reach // 2)
    region = Region(*[side // 16 - margin] * 2, *[side // 8 + 2 * margin] * 2)

    def attend(x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        if kind == "literal":
            return _literal(x, x, mask)
        if kind == "whole":
            return contextual_attention(x, x, mask)
        return PreparedAttention(attention_inputs(x[0], x[0], mask[0]))(region)

    graph = tf.function(attend).get_concrete_function(features, mask)
    return lambda: graph(features, mask)


def _literal_level(side: int, paste: str) -> Callable[[], tf.Tensor]:
    """DeepFillv2: a pyramid of one level, on the whole image, by DeepFillv2's operations."""
    _use_literal_layers(paste)
    sub_generator = SubGenerator(WIDTH)
    sub_generator.trainable = False
    image, mask = random_image(side), centre_hole(side, side // 2)
    graph = tf.function(lambda *x: sub_generator(*x).completed).get_concrete_function(image, mask)
    return lambda: graph(image, mask)


def _pyramid(side: int, hole: int, whole: bool = False) -> Callable[[], tf.Tensor]:
    keras.utils.set_random_seed(0)
    pyramid = PyramidGenerator([8, 16, 32], WIDTH)
    pyramid.build_networks()
    restricted = RestrictedPyramid(pyramid, compiled=True)
    pyramid.trainable = False
    graph = tf.function(
        lambda image, mask: pyramid(pyramids(image, mask, 3))[-1].completed,
        input_signature=[tf.TensorSpec([1, None, None, 3]), tf.TensorSpec([1, None, None, 1])],
        autograph=False,
    )

    def fill(image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return graph(image, mask) if whole else restricted(image, mask)[-1]

    # The first call compiles, and large sizes run only once.
    fill(random_image(64), centre_hole(64, 32))
    image, mask = random_image(side), centre_hole(side, hole)
    return lambda: fill(image, mask)


def _fill(exported: bool) -> Callable[[], tf.Tensor]:
    """Filling a photograph of 512 px, by the Python model or by its SavedModel."""
    keras.utils.set_random_seed(0)
    pyramid = PyramidGenerator([8, 16, 32], WIDTH)
    pyramid.build_networks()
    inpainter: Inpainter = PyramidInpainter(pyramid)
    if exported:
        with tempfile.TemporaryDirectory() as folder:
            save(ServedModel(pyramid), Path(folder))
            inpainter = SavedModelInpainter(Path(folder))
    image, hole = to_uint8(random_image(512))[0].numpy(), centre_hole(512, 256)[0].numpy() > 0.5
    inpainter(image, hole)
    return lambda: tf.constant(inpainter(image, hole))


class _TwoPasses(PyramidGenerator):
    """A model with two forward passes in each step, one for each update."""

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        images, masks = data
        self._update_discriminators(images, masks, self((images, masks)))
        with tf.GradientTape() as tape:
            outputs = self((images, masks))
            fakes = tf.concat([outputs[0].completed, masks[0]], axis=-1)
            scores = {0: self.discriminators[0](fakes)}
            loss, _ = self.objective.generator_loss(images, outputs, scores, self.steps_taken)
        gradients = tape.gradient(loss, self.generator_variables)
        self.generator_optimizer.apply_gradients(zip(gradients, self.generator_variables))
        return {"loss": loss}


def _training(literal: bool) -> Callable[[], tf.Tensor]:
    if literal:
        _use_literal_layers()
    kind = _TwoPasses if literal else PyramidGenerator
    pyramid = kind([256], WIDTH, dilation="standard", fusion="none")
    adam = keras.optimizers.Adam
    pyramid.compile(adam(1e-4, 0.5), adam(1e-4, 0.5), Objective(coarse_l1_weight=1.0))
    batch = (random_image(256, 4),), (tf.repeat(centre_hole(256, 128), 4, axis=0),)
    graph = tf.function(pyramid.train_step, autograph=False).get_concrete_function(batch)
    return lambda: graph(batch)["loss"]


def _attention_gradient(megabytes: int) -> Callable[[], tf.Tensor]:
    """Forward and backward pass of attention on an image of 512 px, as in training."""
    features = tf.random.stateless_normal([1, 128, 128, _CHANNELS], [0, 1])
    mask = centre_hole(128, 64)

    def gradient(x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = contextual_attention(x, x, mask, max_bytes=megabytes * 2**20)
        return tape.gradient(result, x)

    graph = tf.function(gradient).get_concrete_function(features, mask)
    return lambda: graph(features, mask)


CASES: dict[str, Case] = {
    "attention 1024, literal": lambda: _attention(1024, "literal"),
    "attention 1024, all queries": lambda: _attention(1024, "whole"),
    "attention 1024": lambda: _attention(1024, "hole"),
    "attention 2048": lambda: _attention(2048, "hole"),
    "DeepFillv2 512, literal": lambda: _literal_level(512, "convolution"),
    "DeepFillv2 512, pasting by a product": lambda: _literal_level(512, "product"),
    "pyramid 512": lambda: _pyramid(512, 256),
    "DeepFillv2 1024, literal": lambda: _literal_level(1024, "convolution"),
    "DeepFillv2 1024, pasting by a product": lambda: _literal_level(1024, "product"),
    "pyramid 1024": lambda: _pyramid(1024, 512),
    "pyramid 2048": lambda: _pyramid(2048, 1024),
    "pyramid 4096": lambda: _pyramid(4096, 2048),
    "hole of 300 px in 2048, whole image": lambda: _pyramid(2048, 300, whole=True),
    "hole of 300 px in 2048": lambda: _pyramid(2048, 300),
    "step 256, batch 4, literal, two passes": lambda: _training(literal=True),
    "step 256, batch 4": lambda: _training(literal=False),
    "step 512, attention in tiles": lambda: _attention_gradient(256),
    "step 512, attention at once": lambda: _attention_gradient(1024),
    "export: fill 512, Python": lambda: _fill(exported=False),
    "export: fill 512, SavedModel": lambda: _fill(exported=True),
}
